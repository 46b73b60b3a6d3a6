"""From two lists of hits to one answer: scores are fused, signals added, and a file's further chunks held back.

Everything here is a pure function of its arguments: the same index and query give the same answer.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from agent_brain_server.search import signals
from agent_brain_server.search.fusion import fuse_scores, normalize_bm25, normalize_cosines
from agent_brain_server.search.question import Question, read_question
from agent_brain_server.types import ChunkFacts, Hit, RankedChunk, SearchMode, Signal


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


@dataclass(slots=True)
class _Candidate:
    facts: ChunkFacts
    fused: float
    score: float
    trace: list[Signal] | None


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
    """
    bm25 = [hit for hit in bm25_hits if hit.key in facts and mode != "vector"]
    vector = [hit for hit in vector_hits if hit.key in facts and mode != "bm25"]
    candidates = [
        _Candidate(facts[key], score, score, [Signal("fused", score, score)] if explain else None)
        for key, score in _fuse(bm25, vector, alpha if mode == "hybrid" else float(mode == "vector")).items()
    ]
    _add_signals(read_question(query), candidates, weights)
    bm25_scores = {hit.key: hit.score for hit in bm25}
    vector_scores = {hit.key: hit.score for hit in vector}
    return [
        RankedChunk(
            facts=candidate.facts,
            score=candidate.score,
            vector_score=vector_scores.get(candidate.facts.key),
            bm25_score=bm25_scores.get(candidate.facts.key),
            signals=tuple(candidate.trace or ()),
        )
        for candidate in _hold_back_further_chunks(candidates, weights)
    ]


def _fuse(bm25: Sequence[Hit], vector: Sequence[Hit], alpha: float) -> dict[int, float]:
    """Fuse what both sides found; a side that found nothing has no weight."""
    share = 0.0 if not vector else 1.0 if not bm25 else alpha
    return fuse_scores(normalize_bm25(bm25), normalize_cosines(vector), share)


def _add_signals(question: Question, candidates: Sequence[_Candidate], weights: RankingWeights) -> None:
    of_files = _weigh_files(question, candidates, weights)
    for candidate in candidates:
        facts = candidate.facts
        _add(candidate, ("defines_name", signals.defines_name(question, facts), weights.defines_name))
        for weighted in of_files[facts.path]:
            _add(candidate, weighted)
        if facts.source_type == "test" and not question.asks_tests:
            _scale(candidate, "is_test", weights.test_factor)
        elif facts.source_type == "doc" and not question.asks_docs:
            _scale(candidate, "is_document", weights.doc_factor)


def _weigh_files(
    question: Question, candidates: Sequence[_Candidate], weights: RankingWeights
) -> dict[str, tuple[_Weighted, ...]]:
    """Return the signals of each file, which all of its chunks share."""
    evidence = _gather_file_evidence(candidates)
    least_depth = min(map(signals.depth_of, evidence), default=0)
    return {
        path: (
            ("spells_file_name", signals.spells_file_name(question, path), weights.spells_file_name),
            ("lies_deeper", signals.lies_deeper(path, least_depth), weights.lies_deeper),
            ("file_evidence", value, weights.file_evidence),
        )
        for path, value in evidence.items()
    }


def _gather_file_evidence(candidates: Iterable[_Candidate]) -> dict[str, float]:
    """Return for each file what its chunks add up to, as a share of the file with the most."""
    total: dict[str, float] = defaultdict(float)
    for candidate in candidates:
        total[candidate.facts.path] += candidate.fused
    most = max(total.values(), default=0.0)
    return {path: score / most if most > 0 else 0.0 for path, score in total.items()}


def _hold_back_further_chunks(candidates: Sequence[_Candidate], weights: RankingWeights) -> list[_Candidate]:
    """Sort, and lower each chunk by how many better ones its file has: an answer names more than one file."""
    seen: dict[str, int] = defaultdict(int)
    for candidate in sorted(candidates, key=_order):
        earlier = seen[candidate.facts.path]
        seen[candidate.facts.path] += 1
        if earlier:
            _scale(candidate, "is_further_chunk", weights.decay**earlier)
    return sorted(candidates, key=_order)


def _add(candidate: _Candidate, weighted: _Weighted) -> None:
    name, value, weight = weighted
    if value and weight:
        candidate.score += weight * value
        if candidate.trace is not None:
            candidate.trace.append(Signal(name, value, weight * value))


def _scale(candidate: _Candidate, name: str, factor: float) -> None:
    """Lower a score to a share of itself; a score below zero, which signals can make, is left where it is."""
    if factor != 1 and candidate.score > 0:
        if candidate.trace is not None:
            candidate.trace.append(Signal(name, 1.0, candidate.score * (factor - 1)))
        candidate.score *= factor


def _order(candidate: _Candidate) -> tuple[float, str, int, int]:
    return (-candidate.score, candidate.facts.path, candidate.facts.start_line, candidate.facts.key)
