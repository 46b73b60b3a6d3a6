"""Answers of the product, and their candidates, kept to rank them with other weights."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from agent_brain_server.indexing.chunking.source_lines import estimate_tokens
from agent_brain_server.models.query import QueryRequest
from agent_brain_server.project.services import ProjectServices
from agent_brain_server.search.fusion import COVERED_ALPHA
from agent_brain_server.search.qualified_name import NameMatch
from agent_brain_server.search.ranking import DEFAULT_WEIGHTS, RankingWeights, rank_candidates
from agent_brain_server.services.name_lookup import find_defining, find_phrases
from agent_brain_server.services.query_service import POOL_SIZE, weigh_vectors
from agent_brain_server.types import ChunkMetadata, Hit, SearchMode, SourceType
from benchmarks.retrieval.scoring import DEPTH, Passage

MODES: tuple[SearchMode, ...] = ("hybrid", "bm25", "vector")


@dataclass(frozen=True, slots=True)
class Answer:
    """Ten results, the best first.

    Attributes:
        passages: Lines of each result.
        tokens: Number of tokens of each result.
        copies: Lines elsewhere with the text of a result.
    """

    passages: tuple[Passage, ...]
    tokens: tuple[int, ...]
    copies: tuple[Passage, ...] = ()


@dataclass(frozen=True, slots=True)
class Candidates:
    """Everything that the ranking of a query depends on.

    Attributes:
        alpha: The weight of the vectors that the product chooses.
    """

    query: str
    bm25_hits: tuple[Hit, ...]
    vector_hits: tuple[Hit, ...]
    metadata: Mapping[int, ChunkMetadata]
    defining: Mapping[int, NameMatch] = field(default_factory=dict)
    phrases: Mapping[int, float] = field(default_factory=dict)
    alpha: float = COVERED_ALPHA


@dataclass(frozen=True, slots=True)
class Setting:
    """A way of ranking.

    Attributes:
        names_first: Whether the definitions of a name come first.
    """

    mode: SearchMode = "hybrid"
    alpha: float | None = None
    weights: RankingWeights = DEFAULT_WEIGHTS
    names_first: bool = True


def ask(bundle: ProjectServices, query: str, mode: SearchMode, source_types: tuple[SourceType, ...] = ()) -> Answer:
    """Query the product as a client does, but without HTTP."""
    request = QueryRequest(query=query, mode=mode, top_k=DEPTH, source_types=list(source_types))
    results = bundle.queries.answer(request).results
    return Answer(
        tuple(Passage(result.source, result.start_line, result.end_line) for result in results),
        tuple(estimate_tokens(result.text) for result in results),
        tuple(Passage(copy.source, copy.start_line, copy.end_line) for result in results for copy in result.copies),
    )


def gather_candidates(bundle: ProjectServices, query: str) -> Candidates:
    """Retrieve as the product does without filter and threshold."""
    bm25 = bundle.bm25.search(query, POOL_SIZE)
    nearest = bundle.vectors.search(bundle.embedder.embed(query), POOL_SIZE)
    vector = tuple(hit for hit in nearest if hit.score >= 0)
    defining = find_defining(bundle.documents, query, None)
    metadata = bundle.documents.metadata_by_keys({*defining, *(hit.key for hit in (*bm25, *vector))})
    phrases = find_phrases(bundle.documents, query, bm25)
    alpha = weigh_vectors(bundle.documents, query, bm25)
    return Candidates(query, tuple(bm25), vector, metadata, defining, phrases, alpha)


def rank(candidates: Candidates, setting: Setting) -> tuple[Passage, ...]:
    """Return the ten best candidates, ranked by the product with the weights of a setting."""
    ranked = rank_candidates(
        candidates.query,
        candidates.bm25_hits,
        candidates.vector_hits,
        candidates.metadata,
        alpha=candidates.alpha if setting.alpha is None else setting.alpha,
        mode=setting.mode,
        weights=setting.weights,
        defining=candidates.defining if setting.names_first else {},
        phrases=candidates.phrases if setting.mode != "vector" else {},
    )
    return tuple(Passage(r.metadata.path, r.metadata.start_line, r.metadata.end_line) for r in ranked[:DEPTH])


def require_agreement(candidates: Candidates, answers: Mapping[SearchMode, Answer]) -> None:
    """Check that the answer of the product shows the candidates that are ranked best here.

    The product joins results that touch and lists equal texts once, so it may return fewer and longer ones.

    Raises:
        ValueError: The rankings differ: the product does something that this module lacks.
    """
    for mode, answer in answers.items():
        shown = (*answer.passages, *answer.copies)
        if not all(any(is_inside(each, other) for other in shown) for each in rank(candidates, Setting(mode))):
            raise ValueError(f"{candidates.query!r} has another answer than its ranked candidates, in mode {mode}")


def is_inside(inner: Passage, outer: Passage) -> bool:
    """Return whether a passage is part of another one."""
    return inner.path == outer.path and outer.start_line <= inner.start_line and inner.end_line <= outer.end_line
