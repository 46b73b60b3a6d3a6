"""From two lists of hits to one answer: scores are fused, signals added, and a file's further chunks held back.

Everything here is a pure function of its arguments: the same index and query give the same answer.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from agent_brain_server.search import signals
from agent_brain_server.search.fusion import fuse_scores, normalize_bm25, normalize_cosines
from agent_brain_server.search.question import Question, read_question
from agent_brain_server.types import ChunkFacts, Hit, RankedChunk, SearchMode, Signal

SignalFunction = Callable[[Question, ChunkFacts], float]

SIGNALS: tuple[tuple[str, SignalFunction], ...] = (
    ("defines_name", signals.defines_name),
    ("defines_words", signals.defines_words),
    ("matches_stem", signals.matches_stem),
    ("matches_directory", signals.matches_directory),
    ("matches_heading", signals.matches_heading),
)
"""Names are fields of `RankingWeights`, too."""


@dataclass(frozen=True, slots=True)
class RankingWeights:
    """How much each signal counts, beside a fused score of 1 for the best hit; 0 turns a signal off.

    Attributes:
        defines_name: The chunk defines a name that the question spells out.
        defines_words: A name that the chunk defines is made of the question's words.
        matches_stem: So is the file's name.
        matches_directory: The question's words are directories on the path.
        matches_heading: The question's words stand in the section's or enclosing definition's name.
        file_evidence: What the other chunks of the file add up to.
        test_factor: What is left of a test's score where the question does not speak of tests.
        doc_factor: What is left of a document's score where the question does not speak of documentation.
        decay: What is left of the score of a file's second chunk; of its third, that of this, and so on.
    """

    defines_name: float = 1.0
    defines_words: float = 0.3
    matches_stem: float = 0.4
    matches_directory: float = 0.1
    matches_heading: float = 0.1
    file_evidence: float = 0.3
    test_factor: float = 0.6
    doc_factor: float = 0.7
    decay: float = 0.7


DEFAULT_WEIGHTS = RankingWeights()


@dataclass(slots=True)
class _Candidate:
    facts: ChunkFacts
    fused: float
    score: float
    trace: list[Signal]


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
        alpha: Weight of the vector side in hybrid mode, between 0 and 1.
        mode: With "bm25" or "vector" only that side counts.
        weights: Of the signals.
        explain: Say of each result what its score is made of.
    """
    question = read_question(query)
    bm25 = {hit.key: hit.score for hit in bm25_hits if hit.key in facts}
    vector = {hit.key: hit.score for hit in vector_hits if hit.key in facts}
    share = {"bm25": 0.0, "vector": 1.0, "hybrid": alpha if vector else 0.0}[mode]
    fused = fuse_scores(
        normalize_bm25([hit for hit in bm25_hits if hit.key in facts]) if share < 1 else {},
        normalize_cosines([hit for hit in vector_hits if hit.key in facts]) if share > 0 else {},
        share,
    )
    candidates = [_score(question, facts[key], score, weights) for key, score in fused.items()]
    _add_file_evidence(candidates, weights)
    for candidate in candidates:
        _demote(question, candidate, weights)
    return [
        RankedChunk(
            facts=candidate.facts,
            score=candidate.score,
            vector_score=vector.get(candidate.facts.key),
            bm25_score=bm25.get(candidate.facts.key),
            signals=tuple(candidate.trace) if explain else (),
        )
        for candidate in _hold_back_further_chunks(candidates, weights)
    ]


def _score(question: Question, facts: ChunkFacts, fused: float, weights: RankingWeights) -> _Candidate:
    """Add the signals of a chunk to its fused score."""
    trace = [Signal("fused", fused, fused)]
    for name, function in SIGNALS:
        weight: float = getattr(weights, name)
        value = function(question, facts) if weight else 0.0
        if value:
            trace.append(Signal(name, value, weight * value))
    return _Candidate(facts, fused, sum(signal.contribution for signal in trace), trace)


def _add_file_evidence(candidates: Sequence[_Candidate], weights: RankingWeights) -> None:
    """Add to each chunk what the chunks of its file add up to, as a share of the file with the most."""
    total: dict[str, float] = defaultdict(float)
    for candidate in candidates:
        total[candidate.facts.path] += candidate.fused
    most = max(total.values(), default=0.0)
    if most <= 0:
        return
    for candidate in candidates:
        value = total[candidate.facts.path] / most
        _note(candidate, "file_evidence", value, weights.file_evidence * value)


def _demote(question: Question, candidate: _Candidate, weights: RankingWeights) -> None:
    """Lower tests and documents that were not asked for."""
    kind = candidate.facts.source_type
    if kind == "test" and not question.asks_tests:
        _note(candidate, "test", 1.0, candidate.score * (weights.test_factor - 1))
    elif kind == "doc" and not question.asks_docs:
        _note(candidate, "document", 1.0, candidate.score * (weights.doc_factor - 1))


def _hold_back_further_chunks(candidates: Sequence[_Candidate], weights: RankingWeights) -> list[_Candidate]:
    """Sort, and lower each chunk by how many better ones its file has: an answer names more than one file."""
    seen: dict[str, int] = defaultdict(int)
    for candidate in sorted(candidates, key=_order):
        earlier = seen[candidate.facts.path]
        seen[candidate.facts.path] += 1
        if earlier:
            _note(candidate, "further_chunk", earlier, candidate.score * (weights.decay**earlier - 1))
    return sorted(candidates, key=_order)


def _note(candidate: _Candidate, name: str, value: float, contribution: float) -> None:
    candidate.score += contribution
    candidate.trace.append(Signal(name, value, contribution))


def _order(candidate: _Candidate) -> tuple[float, str, int, int]:
    return (-candidate.score, candidate.facts.path, candidate.facts.start_line, candidate.facts.key)
