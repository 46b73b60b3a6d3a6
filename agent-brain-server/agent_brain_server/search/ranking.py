"""From two lists of hits to one answer: scores are fused, signals added, and a file's further chunks held back.

Everything here is a pure function of its arguments: the same index and query give the same answer.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from agent_brain_server.search import signals
from agent_brain_server.search.fusion import fuse_scores, normalize_bm25, normalize_cosines
from agent_brain_server.search.parsed_query import ParsedQuery, parse_query
from agent_brain_server.types import ChunkMetadata, Hit, RankedChunk, SearchMode, Signal, SourceType


@dataclass(frozen=True, slots=True)
class RankingWeights:
    """How much each signal counts, beside a fused score of 1 for the best hit; see `NEUTRAL_WEIGHTS` for none at all.

    The figures in brackets are what NDCG@10 loses without the signal, on 600 labelled questions about 30 repositories:
    in hybrid mode, and with keywords alone. Each curve is flat around the value that was chosen; weights fitted to some
    of the repositories do no better on the others.

    Attributes:
        defines_name: The chunk defines a name that the question spells out (0.005, 0.002).
        defines_bare_name: The same once more where the question is that name and nothing else (0.000, 0.001; of the
            questions that are names, 0.001 and 0.005).
        filename_match: The file's name is made of the question's words (0.009, 0.011).
        heading_match: The headings above a section of a document have the question's words; nothing for questions
            about code, and 0.035 for those about documentation.
        path_depth: The file lies deeper than others; negative, as details do (0.007, 0.005).
        file_evidence: What all the chunks of the file that were found add up to (0.020, 0.016).
        test_factor: What is left of a test's score where the question does not speak of tests (0.005, 0.011).
        doc_factor: What is left of a document's score where the question does not speak of documentation (0.005,
            0.004). Less would serve questions about code as well, and hide the sections that explain it.
        peripheral_factor: Score multiplier for peripheral files: examples, foreign and superseded code (0.002, 0.003).
        name_vector_factor: What is left of the vector side's weight where the question is a name and nothing else: a
            name means little to a model of prose (0.001; of the questions that are names, 0.004).
        decay: What is left of the score of a file's second chunk; of its third, that of this, and so on (0.061, 0.064).
            Less would serve questions about files, and hide the second function of one.
    """

    defines_name: float = 0.3
    defines_bare_name: float = 0.5
    filename_match: float = 0.1
    heading_match: float = 0.2
    path_depth: float = -0.4
    file_evidence: float = 0.3
    test_factor: float = 0.3
    doc_factor: float = 0.85
    peripheral_factor: float = 0.5
    name_vector_factor: float = 0.2
    decay: float = 0.5


DEFAULT_WEIGHTS = RankingWeights()

NEUTRAL_WEIGHTS = RankingWeights(
    defines_name=0,
    defines_bare_name=0,
    filename_match=0,
    heading_match=0,
    path_depth=0,
    file_evidence=0,
    test_factor=1,
    doc_factor=1,
    peripheral_factor=1,
    name_vector_factor=1,
    decay=1,
)
"""The fused scores as they are."""


_Weighted = tuple[str, float, float]
"""A signal's name, value and weight."""

_Place = tuple[float, str, int, int, int]
"""Where a chunk stands: its score, negative, so that the best comes first; path, line and key, which break ties; how
many better chunks its file has."""


class _FileWeight(NamedTuple):
    """What all chunks of a file have in common: the signals, what they add together, and what is left of the sum."""

    signals: tuple[_Weighted, ...]
    total: float
    factor: float


def rank_candidates(
    query: str,
    bm25_hits: Sequence[Hit],
    vector_hits: Sequence[Hit],
    facts: Mapping[int, ChunkMetadata],
    *,
    alpha: float,
    mode: SearchMode,
    weights: RankingWeights = DEFAULT_WEIGHTS,
    explain: bool = False,
    limit: int | None = None,
) -> list[RankedChunk]:
    """Return the candidates, the best first; ties are broken by path and line.

    Args:
        query: What was asked.
        bm25_hits: From the keyword index, with its scores.
        vector_hits: From the vector index, with cosines.
        facts: Of every hit that still exists; others are dropped.
        alpha: Weight of the vector side in hybrid mode, between 0 and 1; without vector hits keywords count alone.
        mode: With "bm25" or "vector" only that side counts.
        weights: Of the signals.
        explain: Say of each result what its score is made of.
        limit: Most to return; None for all.
    """
    bm25 = _scores_by_key(bm25_hits, facts) if mode != "vector" else {}
    vector = _scores_by_key(vector_hits, facts) if mode != "bm25" else {}
    question = parse_query(query)
    if question.is_symbol:
        alpha = _lessen(alpha, weights.name_vector_factor)
    fused = _fuse(bm25, vector, alpha if mode == "hybrid" else float(mode == "vector"))
    scorer = _Scorer(question, fused, facts, weights)
    return [
        RankedChunk(
            metadata=facts[key],
            score=-negative,
            vector_score=vector.get(key),
            bm25_score=bm25.get(key),
            signals=tuple(scorer.explain(key, earlier)) if explain else (),
        )
        for negative, _, _, key, earlier in sorted(scorer.place_all())[:limit]
    ]


class _Scorer:
    """Scores the candidates of one question.

    Args:
        question: What was asked.
        fused: Both sides' scores together, by key.
        facts: Of each of these keys.
        weights: Of the signals.
    """

    def __init__(
        self,
        question: ParsedQuery,
        fused: Mapping[int, float],
        facts: Mapping[int, ChunkMetadata],
        weights: RankingWeights,
    ) -> None:
        self._question = question
        self._fused = fused
        self._facts = facts
        self._weights = weights
        self._files, evidence = _gather_files(fused, facts)
        self._of_files = _weigh_files(question, self._files, evidence, weights)
        self._factors: dict[SourceType, tuple[str, float]] = {
            "code": ("is_code", 1.0),
            "test": ("is_test", 1.0 if question.asks_tests else weights.test_factor),
            "doc": ("is_document", 1.0 if question.asks_docs else weights.doc_factor),
        }

    def place_all(self) -> Iterator[_Place]:
        """Yield where each chunk stands; `explain` says the same in terms.

        A file's better chunks hold the others back, so that an answer names more than one file.
        """
        fused, decay = self._fused, self._weights.decay
        has_names = bool(self._question.names)
        for path, chunks in self._files.items():
            of_file = self._of_files[path]
            source_type = chunks[0].source_type  # all chunks of a file have one
            factor = self._factors[source_type][1] * of_file.factor
            scored = []
            for facts in chunks:  # hundreds for each question: a call less is worth a line more
                score = fused[facts.key] + of_file.total
                if has_names or source_type == "doc":
                    for _, value, weight in self._weigh_chunk(facts):
                        score += weight * value
                scored.append((-score * factor if score > 0 else -score, facts.start_line, facts.key))
            scored.sort()
            for earlier, (negative, start_line, key) in enumerate(scored):
                held_back = negative * decay**earlier if negative < 0 else negative
                yield (held_back, path, start_line, key, earlier)

    def explain(self, key: int, earlier: int) -> Iterator[Signal]:
        """Yield the terms that a chunk's score is the sum of; those that add nothing are left out."""
        facts, score = self._facts[key], self._fused[key]
        of_file = self._of_files[facts.path]
        yield Signal("fused", score, score)
        for name, value, weight in (*self._weigh_chunk(facts), *of_file.signals):
            if value and weight:
                yield Signal(name, value, weight * value)
                score += weight * value
        further = ("is_further_chunk", self._weights.decay**earlier)
        for name, factor in (self._factors[facts.source_type], ("is_peripheral", of_file.factor), further):
            scaled = _scale(score, factor)
            if scaled != score:
                yield Signal(name, 1.0, scaled - score)
            score = scaled

    def _weigh_chunk(self, facts: ChunkMetadata) -> tuple[_Weighted, ...]:
        """Return the signals of a chunk alone: of the sort that its file and the question can have."""
        if facts.source_type == "doc":
            value = signals.heading_match(self._question, facts.heading)
            return (("heading_match", value, self._weights.heading_match),)
        value = signals.defines_name(self._question, facts)
        if not value:
            return ()
        defines = ("defines_name", value, self._weights.defines_name)
        return (defines, ("defines_bare_name", value * self._question.is_symbol, self._weights.defines_bare_name))


def _scores_by_key(hits: Iterable[Hit], facts: Mapping[int, ChunkMetadata]) -> dict[int, float]:
    """Return the scores of the hits that still exist."""
    scores = dict(hits)
    return scores if scores.keys() <= facts.keys() else {key: scores[key] for key in scores if key in facts}


def _lessen(share: float, factor: float) -> float:
    """Return the share of one of two sides after its weight beside the other's is lowered; all or nothing stays so."""
    return factor * share / (factor * share + 1 - share) if share < 1 else share


def _fuse(bm25: Mapping[int, float], vector: Mapping[int, float], alpha: float) -> dict[int, float]:
    """Fuse what both sides found; a side that found nothing has no weight."""
    share = 0.0 if not vector else 1.0 if not bm25 else alpha
    return fuse_scores(normalize_bm25(bm25), normalize_cosines(vector), share)


def _gather_files(
    fused: Mapping[int, float], facts: Mapping[int, ChunkMetadata]
) -> tuple[dict[str, list[ChunkMetadata]], dict[str, float]]:
    """Return each file's candidates, and what their scores add up to as a share of the file with the most."""
    files: dict[str, list[ChunkMetadata]] = defaultdict(list)
    total: dict[str, float] = defaultdict(float)
    for key in sorted(fused):  # floating-point sums depend on the order
        chunk = facts[key]
        files[chunk.path].append(chunk)
        total[chunk.path] += fused[key]
    most = max(total.values(), default=0.0)
    return files, {path: score / most if most > 0 else 0.0 for path, score in total.items()}


def _weigh_files(
    question: ParsedQuery,
    files: Mapping[str, Sequence[ChunkMetadata]],
    evidence: Mapping[str, float],
    weights: RankingWeights,
) -> dict[str, _FileWeight]:
    """Return the signals of each file, which all of its chunks share."""
    least_depth = min(map(signals.count_directories, files), default=0)
    found: dict[str, _FileWeight] = {}
    for path, chunks in files.items():
        weighted = (
            ("filename_match", signals.filename_match(question, path), weights.filename_match),
            ("path_depth", signals.path_depth(path, least_depth), weights.path_depth),
            ("file_evidence", evidence[path], weights.file_evidence),
        )
        is_document = chunks[0].source_type == "doc"  # as all of its chunks are
        aside = signals.is_peripheral(question, path, is_document=is_document, others=files)
        total = 0.0
        for _, signal, weight in weighted:
            total += weight * signal
        found[path] = _FileWeight(weighted, total, weights.peripheral_factor if aside else 1.0)
    return found


def _scale(score: float, factor: float) -> float:
    """Lower a score to a share of itself; a score below zero, which signals can make, is left where it is."""
    return score * factor if score > 0 else score
