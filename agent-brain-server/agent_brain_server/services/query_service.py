"""Answers a question: retrieve by words and by meaning, rank, and fetch the text of the best."""

import time
from collections.abc import Callable

from agent_brain_server.errors import NotFoundError
from agent_brain_server.hidden_text import count_hidden
from agent_brain_server.models.query import (
    ChunkResponse,
    IndexFreshness,
    QueryRequest,
    QueryResponse,
    QueryResult,
    SignalModel,
)
from agent_brain_server.search.ranking import rank_candidates
from agent_brain_server.search.retrievers import KeywordIndex, VectorIndex
from agent_brain_server.services.metrics import Metrics
from agent_brain_server.services.query_embedder import QueryEmbedder
from agent_brain_server.services.side_thread import SideThread
from agent_brain_server.storage.document_store import DocumentStore
from agent_brain_server.storage.schema import LAST_INDEXED_META
from agent_brain_server.types import AllowedChunks, Chunk, Hit, QueryFilter, RankedChunk

POOL_SIZE = 150
"""Candidates from each side: far more than are answered, since ranking moves files up that have many fair chunks."""


class QueryService:
    """Answers questions about one project, from any thread.

    Args:
        documents: Filters are resolved and texts are read here.
        keywords: The keyword index.
        vectors: The vector index.
        embedder: Makes the question's vector.
        metrics: Latency by mode and stage is noted here.
        side_thread: Looks a hybrid question up by meaning while that is done by words.
        count_changed: Tells how many files are known to have changed since they were indexed.
    """

    def __init__(
        self,
        documents: DocumentStore,
        keywords: KeywordIndex,
        vectors: VectorIndex,
        embedder: QueryEmbedder,
        metrics: Metrics,
        *,
        side_thread: SideThread,
        count_changed: Callable[[], int],
    ) -> None:
        self._documents = documents
        self._side_thread = side_thread
        self._count_changed = count_changed
        self._keywords = keywords
        self._vectors = vectors
        self._embedder = embedder
        self._metrics = metrics

    def answer(self, request: QueryRequest) -> QueryResponse:
        """Return the best chunks for a request.

        Raises:
            InvalidRequestError: A glob of the filter is none.
            StoreError: A store cannot be read.
        """
        began = time.perf_counter()
        last_indexed_at = self._documents.get_meta(LAST_INDEXED_META)  # before the search: a first index may end in it
        allowed = self._documents.resolve_filter(
            QueryFilter(tuple(request.source_types), tuple(request.languages), tuple(request.file_paths))
        )
        ranked = self._rank(request, allowed)
        with self._metrics.time_stage("fetch"):
            chunks = self._documents.chunks_by_keys(item.facts.key for item in ranked)
        results = [
            _result(item, chunks[item.facts.key], explain=request.explain)
            for item in ranked
            if item.facts.key in chunks  # replaced by the indexer a moment ago
        ]
        elapsed = time.perf_counter() - began
        self._metrics.query_seconds.labels(request.mode).observe(elapsed)
        return QueryResponse(
            results=results,
            total_results=len(results),
            query_time_ms=round(elapsed * 1000, 3),
            mode=request.mode,
            index=self.freshness().model_copy(update={"last_indexed_at": last_indexed_at}),
        )

    def get_chunk(self, chunk_id: str) -> ChunkResponse:
        """Return one chunk whole.

        Raises:
            NotFoundError: There is no such chunk (any more).
        """
        chunk = self._documents.get_chunk(chunk_id)
        if chunk is None:
            raise NotFoundError(
                f"There is no chunk {chunk_id[:40]!r}.", code="unknown_chunk", hint="Ask again: its file has changed."
            )
        return ChunkResponse(chunk_id=chunk.id, **_described(chunk))

    def freshness(self) -> IndexFreshness:
        """Say how fresh the index is."""
        counts = self._documents.counts()
        return IndexFreshness(
            last_indexed_at=self._documents.get_meta(LAST_INDEXED_META),
            files_pending=max(counts.files_pending, self._count_changed()),
            vector_coverage=counts.embedded / counts.chunks if counts.chunks else 1.0,
        )

    def _rank(self, request: QueryRequest, allowed: AllowedChunks | None) -> list[RankedChunk]:
        vector_side = None
        if request.mode == "hybrid" and self._vectors.count():
            # both sides spend their time outside of the interpreter lock: together they take as long as the longer one
            vector_side = self._side_thread.try_submit(self._search_vectors, request, allowed)
        bm25_hits = self._search_keywords(request, allowed) if request.mode != "vector" else []
        if vector_side is not None:
            self._documents.facts_by_keys([hit.key for hit in bm25_hits])  # remembered when they are asked for below
            vector_hits = vector_side.result()
        else:
            vector_hits = self._search_vectors(request, allowed) if request.mode != "bm25" else []
        with self._metrics.time_stage("facts"):
            facts = self._documents.facts_by_keys({hit.key for hit in (*bm25_hits, *vector_hits)})
        with self._metrics.time_stage("rank"):
            return rank_candidates(
                request.query,
                bm25_hits,
                vector_hits,
                facts,
                alpha=request.alpha,
                mode=request.mode,
                explain=request.explain,
                limit=request.top_k,
            )

    def _search_keywords(self, request: QueryRequest, allowed: AllowedChunks | None) -> list[Hit]:
        with self._metrics.time_stage("bm25"):
            return self._keywords.search(request.query, POOL_SIZE, allowed)

    def _search_vectors(self, request: QueryRequest, allowed: AllowedChunks | None) -> list[Hit]:
        if not self._vectors.count():
            return []
        with self._metrics.time_stage("embed"):
            vector = self._embedder.embed(request.query)
        with self._metrics.time_stage("vector"):
            hits = self._vectors.search(vector, POOL_SIZE, allowed)
        return [hit for hit in hits if hit.score >= request.similarity_threshold]


def _result(item: RankedChunk, chunk: Chunk, *, explain: bool) -> QueryResult:
    signals = [SignalModel(name=s.name, value=s.value, contribution=s.contribution) for s in item.signals]
    return QueryResult(
        chunk_id=chunk.id,
        score=item.score,
        vector_score=item.vector_score,
        bm25_score=item.bm25_score,
        explanation=signals if explain else None,
        **_described(chunk),
    )


def _described(chunk: Chunk) -> dict[str, object]:
    return {
        "text": chunk.text,
        "source": chunk.path,
        "start_line": chunk.start_line,
        "end_line": chunk.end_line,
        "language": chunk.language,
        "source_type": chunk.source_type,
        "symbols": list(chunk.symbols),
        "heading": chunk.heading,
        "hidden_characters": sum(map(count_hidden, (chunk.text, chunk.path, *chunk.symbols, chunk.heading or ""))),
    }
