"""From two lists of hits to one answer: scores are fused, signals added, and a file's further chunks held back.

Everything here is a pure function of its arguments: the same index and query give the same answer.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from agent_brain_server.search import signals
from agent_brain_server.search.fusion import fuse_scores, normalize_bm25, normalize_cosines
from agent_brain_server.search.question import Question, read_question
from agent_brain_server.types import ChunkFacts, Hit, RankedChunk, SearchMode, Signal, SourceType


@dataclass(frozen=True, slots=True)
class RankingWeights:
    """How much each signal counts, beside a fused score of 1 for the best hit; see `NEUTRAL_WEIGHTS` for none at all.

    The figures in brackets are what NDCG@10 loses without the signal, on labelled questions about 27 repositories in
    hybrid mode. Each curve is flat around the value that was chosen; weights fitted to some of the repositories do no
    better on the others.

    Attributes:
        defines_name: The chunk defines a name that the question spells out (0.004).
        spells_file_name: The file's name is made of the question's words (0.008).
        lies_deeper: The file lies deeper than others; negative, as details do (0.003).
        file_evidence: What all the chunks of the file that were found add up to (0.012).
        test_factor: What is left of a test's score where the question does not speak of tests (0.005).
        doc_factor: What is left of a document's score where the question does not speak of documentation (0.005).
        decay: What is left of the score of a file's second chunk; of its third, that of this, and so on (0.068).
    """

    defines_name: float = 0.4
    spells_file_name: float = 0.2
    lies_deeper: float = -0.2
    file_evidence: float = 0.3
    test_factor: float = 0.5
    doc_factor: float = 0.7
    decay: float = 0.5


DEFAULT_WEIGHTS = RankingWeights()

NEUTRAL_WEIGHTS = RankingWeights(0, 0, 0, 0, 1, 1, 1)
"""The fused scores as they are."""


_Weighted = tuple[str, float, float]
"""A signal's name, value and weight."""

_Place = tuple[float, str, int, int]
"""Where a chunk stands: its score, negative, so that the best comes first; path and line, which break ties; its key."""


@dataclass(frozen=True, slots=True)
class _FileWeight:
    """What all chunks of a file have in common: the signals, and what they add together."""

    signals: tuple[_Weighted, ...]
    total: float


def rank_candidates(
    query: str,
    bm25_hits: Sequence[Hit],
    vector_hits: Sequence[Hit],
    facts: Mapping[int, ChunkFacts],
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
    bm25 = {hit.key: hit.score for hit in bm25_hits if hit.key in facts and mode != "vector"}
    vector = {hit.key: hit.score for hit in vector_hits if hit.key in facts and mode != "bm25"}
    fused = _fuse(bm25, vector, alpha if mode == "hybrid" else float(mode == "vector"))
    scorer = _Scorer(read_question(query), fused, facts, weights)
    ordered = sorted(map(scorer.place, fused))
    earlier = _count_earlier_chunks(ordered)
    best = sorted(scorer.hold_back(place, earlier[place[-1]]) for place in ordered)[:limit]
    return [
        RankedChunk(
            facts=facts[key],
            score=-negative,
            vector_score=vector.get(key),
            bm25_score=bm25.get(key),
            signals=tuple(scorer.explain(key, earlier[key])) if explain else (),
        )
        for negative, _, _, key in best
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
        self, question: Question, fused: Mapping[int, float], facts: Mapping[int, ChunkFacts], weights: RankingWeights
    ) -> None:
        self._question = question
        self._fused = fused
        self._facts = facts
        self._weights = weights
        self._of_files = _weigh_files(question, _gather_file_evidence(fused, facts), weights)
        self._factors: dict[SourceType, tuple[str, float]] = {
            "code": ("is_code", 1.0),
            "test": ("is_test", 1.0 if question.asks_tests else weights.test_factor),
            "doc": ("is_document", 1.0 if question.asks_docs else weights.doc_factor),
        }

    def place(self, key: int) -> _Place:
        """Return where a chunk stands before its file's better chunks count; `explain` says the same in terms."""
        facts = self._facts[key]
        score = self._fused[key] + self._of_files[facts.path].total
        if self._question.names:
            score += self._weights.defines_name * signals.defines_name(self._question, facts)
        return (-_scale(score, self._factors[facts.source_type][1]), facts.path, facts.start_line, key)

    def hold_back(self, place: _Place, earlier: int) -> _Place:
        """Lower a chunk by how many better ones its file has: an answer names more than one file."""
        return (-_scale(-place[0], self._weights.decay**earlier), *place[1:]) if earlier else place

    def explain(self, key: int, earlier: int) -> Iterator[Signal]:
        """Yield the terms that a chunk's score is the sum of; those that add nothing are left out."""
        facts, score = self._facts[key], self._fused[key]
        yield Signal("fused", score, score)
        defines = ("defines_name", signals.defines_name(self._question, facts), self._weights.defines_name)
        for name, value, weight in (defines, *self._of_files[facts.path].signals):
            if value and weight:
                yield Signal(name, value, weight * value)
                score += weight * value
        for name, factor in (self._factors[facts.source_type], ("is_further_chunk", self._weights.decay**earlier)):
            scaled = _scale(score, factor)
            if scaled != score:
                yield Signal(name, 1.0, scaled - score)
            score = scaled


def _fuse(bm25: Mapping[int, float], vector: Mapping[int, float], alpha: float) -> dict[int, float]:
    """Fuse what both sides found; a side that found nothing has no weight."""
    share = 0.0 if not vector else 1.0 if not bm25 else alpha
    return fuse_scores(normalize_bm25(bm25), normalize_cosines(vector), share)


def _gather_file_evidence(fused: Mapping[int, float], facts: Mapping[int, ChunkFacts]) -> dict[str, float]:
    """Return for each file what its chunks add up to, as a share of the file with the most."""
    total: dict[str, float] = defaultdict(float)
    for key in sorted(fused):  # floating-point sums depend on the order
        total[facts[key].path] += fused[key]
    most = max(total.values(), default=0.0)
    return {path: score / most if most > 0 else 0.0 for path, score in total.items()}


def _weigh_files(question: Question, evidence: Mapping[str, float], weights: RankingWeights) -> dict[str, _FileWeight]:
    """Return the signals of each file, which all of its chunks share."""
    least_depth = min(map(signals.depth_of, evidence), default=0)
    found: dict[str, _FileWeight] = {}
    for path, value in evidence.items():
        weighted = (
            ("spells_file_name", signals.spells_file_name(question, path), weights.spells_file_name),
            ("lies_deeper", signals.lies_deeper(path, least_depth), weights.lies_deeper),
            ("file_evidence", value, weights.file_evidence),
        )
        found[path] = _FileWeight(weighted, sum(weight * value for _, value, weight in weighted))
    return found


def _count_earlier_chunks(ordered: Iterable[_Place]) -> dict[int, int]:
    """Return of each chunk how many better ones its file has."""
    seen: dict[str, int] = defaultdict(int)
    earlier: dict[int, int] = {}
    for _, path, _, key in ordered:
        earlier[key] = seen[path]
        seen[path] += 1
    return earlier


def _scale(score: float, factor: float) -> float:
    """Lower a score to a share of itself; a score below zero, which signals can make, is left where it is."""
    return score * factor if score > 0 else score
