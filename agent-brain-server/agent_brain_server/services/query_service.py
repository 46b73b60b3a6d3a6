"""Answers a question: retrieve by words and by meaning, rank, and fetch the text of the best."""

import os
import time
from pathlib import Path

from agent_brain_server.errors import NotFoundError
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
from agent_brain_server.services.executor import SideThread
from agent_brain_server.services.freshness import Barrier, ChangeSource, WatchReport
from agent_brain_server.services.metrics import Metrics
from agent_brain_server.services.query_embedder import QueryEmbedder
from agent_brain_server.storage.document_store import DocumentStore
from agent_brain_server.storage.schema import LAST_INDEXED_META
from agent_brain_server.support.text import count_hidden
from agent_brain_server.types import AllowedChunks, Chunk, Hit, QueryFilter, RankedChunk

POOL_SIZE = 150
"""Candidates from each side: far more than are answered, since ranking moves files up that have many fair chunks."""

MAX_RANKED = 2 * POOL_SIZE
"""All candidates of both sides."""


class QueryService:
    """Answers questions about one project, from any thread.

    Args:
        documents: Filters are resolved and texts are read here.
        keywords: The keyword index.
        vectors: The vector index.
        embedder: Makes the question's vector.
        metrics: Latency by mode and stage is noted here.
        side_thread: Runs the vector search of a hybrid query beside its keyword search.
        root: Canonical root of the project.
        changes: Tells which changes of the tree are not in the index yet.
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
        root: Path,
        changes: ChangeSource,
    ) -> None:
        self._documents = documents
        self._side_thread = side_thread
        self._root = root
        self._changes = changes
        self._keywords = keywords
        self._vectors = vectors
        self._embedder = embedder
        self._metrics = metrics

    def barrier(self, request: QueryRequest) -> Barrier:
        """Return the barrier behind every change that was made before the request."""
        return self._changes.barrier(may_wait=request.wait_ms > 0)

    def answer(self, request: QueryRequest, barrier: Barrier | None = None) -> QueryResponse:
        """Return the best chunks for a request.

        Args:
            request: What to search for.
            barrier: Taken when the request arrived, and waited for; `None` takes one and waits for it here.

        Raises:
            InvalidRequestError: A glob of the filter is invalid.
            StoreError: A store cannot be read.
        """
        began = time.perf_counter()
        if barrier is None:
            barrier = self.barrier(request)
            if request.wait_ms and not barrier.is_met():
                barrier.wait(request.wait_ms / 1000)
        # before retrieval: a change that is indexed in between is counted although the answer may have it
        freshness = self.freshness(barrier)
        allowed = self._documents.resolve_filter(
            QueryFilter(tuple(request.source_types), tuple(request.languages), tuple(request.file_paths))
        )
        results = self._retrieve(request, allowed)
        elapsed = time.perf_counter() - began
        self._metrics.query_seconds.labels(request.mode).observe(elapsed)
        return QueryResponse(
            results=results,
            total_results=len(results),
            query_time_ms=round(elapsed * 1000, 3),
            mode=request.mode,
            index=freshness,
        )

    def _retrieve(self, request: QueryRequest, allowed: AllowedChunks | None) -> list[QueryResult]:
        """Rank, fetch the texts, and leave out what has been deleted since it was indexed."""
        limit = request.top_k
        while True:
            ranked = self._rank(request, allowed, limit)
            with self._metrics.time_stage("fetch"):
                chunks = self._documents.chunks_by_keys(item.metadata.key for item in ranked)
            found = [item for item in ranked if item.metadata.key in chunks]  # others were replaced a moment ago
            existing = self._existing({chunks[item.metadata.key].path for item in found})
            kept = [item for item in found if chunks[item.metadata.key].path in existing]
            # a deleted file may have crowded out another one: rank again, with room for both
            if len(kept) == len(found) or len(ranked) < limit or limit >= MAX_RANKED:
                return [
                    _result(item, chunks[item.metadata.key], explain=request.explain) for item in kept[: request.top_k]
                ]
            limit = min(limit + len(found) - len(kept), MAX_RANKED)

    def _existing(self, paths: set[str]) -> set[str]:
        return {path for path in paths if os.path.lexists(os.path.join(self._root, path))}

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

    def watch_report(self) -> WatchReport:
        """Return how the tree is followed now."""
        return self._changes.report()

    def freshness(self, barrier: Barrier | None = None) -> IndexFreshness:
        """Return how fresh the index is.

        Args:
            barrier: Count the changes before it; `None`: all changes until now.
        """
        counts = self._documents.counts()
        barrier = barrier or self._changes.barrier(may_wait=False)
        report = self._changes.report()
        return IndexFreshness(
            last_indexed_at=self._documents.get_meta(LAST_INDEXED_META),
            files_pending=max(counts.files_pending, barrier.count_pending(), self._changes.count_unread()),
            vector_coverage=counts.embedded / counts.chunks if counts.chunks else 1.0,
            checking=self._changes.is_rechecking(),
            watch=report.state,
            unwatched_directories=len(report.unwatched),
        )

    def _rank(self, request: QueryRequest, allowed: AllowedChunks | None, limit: int) -> list[RankedChunk]:
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
                limit=limit,
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
