"""Answer a query: search keywords and vectors, rank the hits, fetch the text of the best."""

import contextvars
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt

from agent_brain_server.errors import NotFoundError, StoreError
from agent_brain_server.models.query import (
    ChunkResponse,
    ContextLineModel,
    IndexFreshness,
    QueryRequest,
    QueryResponse,
    QueryResult,
    SignalModel,
)
from agent_brain_server.models.structure import StructureAnswer
from agent_brain_server.search.budget import CountTokens
from agent_brain_server.search.fusion import choose_alpha, measure_coverage
from agent_brain_server.search.merging import interleave_results, merge_results
from agent_brain_server.search.parsed_query import parse_query
from agent_brain_server.search.phrases import find_phrase_line
from agent_brain_server.search.ranking import rank_candidates
from agent_brain_server.services.answer_format import write_answer
from agent_brain_server.services.freshness import Barrier, ChangeSource
from agent_brain_server.services.metrics import Metrics
from agent_brain_server.services.name_lookup import find_defining, find_phrases
from agent_brain_server.services.structural_answers import StructuralAnswers
from agent_brain_server.storage.document_store import LAST_INDEXED_META, DocumentStore
from agent_brain_server.support.text import count_hidden
from agent_brain_server.support.tokens import find_subject
from agent_brain_server.types import (
    AllowedChunks,
    Chunk,
    Embedder,
    Hit,
    KeywordIndex,
    QueryFilter,
    RankedChunk,
    SearchMode,
    StoreCounts,
    VectorIndex,
)

P = ParamSpec("P")
T = TypeVar("T")

POOL_SIZE = 150
"""Candidates from each index: far more than `top_k`, since ranking promotes files with many fair chunks."""

MAX_RANKED = 2 * POOL_SIZE
"""All candidates of both indexes."""

CACHED_QUERIES = 256
"""Agents repeat and page their queries; 256 vectors of 384 floats take 400 KB."""


class SingleSlotExecutor:
    """Run one task at a time in a second thread, and refuse another while that one runs.

    A hybrid query searches both indexes at once with it. Several concurrent queries keep the cores busy without it:
    with a second thread for each, more threads would wait for the interpreter lock.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "search")
        self._slot = threading.Lock()

    def try_submit(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T] | None:
        """Start a task in the caller's context; return `None` if another task runs."""
        if not self._slot.acquire(blocking=False):
            return None
        context = contextvars.copy_context()

        def run() -> T:
            try:
                return context.run(work, *args, **kwargs)
            finally:
                self._slot.release()

        try:
            return self._pool.submit(run)
        except BaseException:
            self._slot.release()
            raise


class QueryEmbedder:
    """Embed queries, from any thread. The model is opened by the first query; recent vectors are cached.

    Args:
        model: Name of the embedding model, as in the settings.
    """

    def __init__(self, model: str) -> None:
        self._model = model
        self._opening = threading.Lock()
        self._embedder: Embedder | None = None
        self._recent: OrderedDict[str, npt.NDArray[np.float32]] = OrderedDict()
        self._recent_lock = threading.Lock()

    def embed(self, query: str) -> npt.NDArray[np.float32]:
        """Return the unit vector of a query, shape (dimension,).

        The vector of a query of several lines is the mean of that of the whole query and that of its subject line.

        Raises:
            ConfigError: The model cannot be opened.
        """
        with self._recent_lock:
            known = self._recent.get(query)
            if known is not None:
                self._recent.move_to_end(query)
                return known
        vector = self._embed_lines(query)
        with self._recent_lock:
            self._recent[query] = vector
            while len(self._recent) > CACHED_QUERIES:
                self._recent.popitem(last=False)
        return vector

    def open(self) -> Embedder:
        """Return the model; loading it takes a third of a second and some 80 MB the first time."""
        with self._opening:
            if self._embedder is None:
                from agent_brain_server.embedding.embedders import open_embedder  # noqa: PLC0415 - only with vectors

                self._embedder = open_embedder(self._model)
            return self._embedder

    def _embed_lines(self, query: str) -> npt.NDArray[np.float32]:
        subject = find_subject(query)
        vectors = self.open().embed_queries([query] if subject is None else [query, subject])
        vector: npt.NDArray[np.float32] = vectors.sum(axis=0)
        return vector if subject is None else vector / np.linalg.norm(vector)


class QueryService:
    """Answer queries about one project, from any thread.

    Args:
        documents: Resolves filters and holds the texts.
        keywords: The keyword index.
        vectors: The vector index.
        embedder: Embeds the query.
        metrics: Records the latency of each mode and stage.
        executor: Runs the vector search of a hybrid query in parallel with its keyword search.
        root: Canonical root of the project.
        changes: The changes of the tree that are not in the index yet.
        count_unread: Returns how many changed files a running job has not read yet.
        count_tokens: Counts the tokens of a text, for answers with a budget.
        structure: Answers questions about the structure.
    """

    def __init__(
        self,
        documents: DocumentStore,
        keywords: KeywordIndex,
        vectors: VectorIndex,
        embedder: QueryEmbedder,
        metrics: Metrics,
        *,
        executor: SingleSlotExecutor,
        root: Path,
        changes: ChangeSource,
        count_unread: Callable[[], int],
        count_tokens: CountTokens,
        structure: StructuralAnswers,
    ) -> None:
        self._documents = documents
        self._executor = executor
        self._root = root
        self.changes = changes
        self._count_unread = count_unread
        self._count_tokens = count_tokens
        self._structure = structure
        self._keywords = keywords
        self._vectors = vectors
        self._embedder = embedder
        self._metrics = metrics

    def barrier(self, request: QueryRequest) -> Barrier:
        """Return a barrier after every change that was made before the request."""
        return self.changes.barrier(may_wait=request.wait_ms > 0)

    def answer(self, request: QueryRequest, barrier: Barrier | None = None) -> QueryResponse:
        """Return the best chunks for a request.

        Args:
            request: The query.
            barrier: Taken when the request arrived, and already waited for; `None` takes one and waits for it here.

        Raises:
            InvalidRequestError: A glob of the filter is invalid.
            StoreError: A store cannot be read.
        """
        began = time.perf_counter()
        if barrier is None:
            barrier = self.barrier(request)
            if request.wait_ms and not barrier.is_met():
                barrier.wait(request.wait_ms / 1000)
        # counted before retrieval: a change that is indexed in between is reported, although the answer may have it
        freshness = self.freshness(barrier)
        allowed = self._documents.resolve_filter(
            QueryFilter(tuple(request.source_types), tuple(request.languages), tuple(request.file_paths))
        )
        structure = self._answer_structure(request)
        results = merge_results(self._retrieve_all(request, allowed, structure), self._is_blank)
        if structure is None:
            structure = self._follow_phrase(request, results)
        elapsed = time.perf_counter() - began
        self._metrics.query_seconds.labels(request.mode).observe(elapsed)
        return QueryResponse(
            results=results,
            total_results=len(results),
            query_time_ms=round(elapsed * 1000, 3),
            mode=request.mode,
            structure=structure,
            index=freshness,
        )

    def answer_body(self, request: QueryRequest, barrier: Barrier | None = None) -> str:
        """Return the answer to a request as JSON, in the format and within the budget that it asks for."""
        return write_answer(request, self.answer(request, barrier), self._root, self._count_tokens)

    def _answer_structure(self, request: QueryRequest) -> StructureAnswer | None:
        """Return the answer from the structure, if the only query of an unfiltered request asks about it."""
        is_required = request.mode == "structure"
        is_other = request.mode != "hybrid" or bool({*request.source_types} - {"code"} or request.languages)
        if not is_required and (is_other or len(request.all_queries()) > 1):
            return None
        answer = self._structure.answer(request.query, request.file_paths, required=is_required)
        if answer is not None and request.source_types and answer.question != "values":
            return None  # only values are of code alone
        return answer

    def _follow_phrase(self, request: QueryRequest, results: Sequence[QueryResult]) -> StructureAnswer | None:
        """Return the uses of the name that stands for an exact text, such as an error message, in the best result."""
        if not results or request.mode != "hybrid" or len(request.all_queries()) > 1:
            return None
        best = results[0]
        line = None if best.source_type != "code" else find_phrase_line(request.query, best.text)
        return None if line is None else self._structure.follow_phrase(best.source, best.start_line + line)

    def _retrieve_all(
        self, request: QueryRequest, allowed: AllowedChunks | None, structure: StructureAnswer | None
    ) -> list[QueryResult]:
        """Return the results of all queries of a request; those from the structure come first."""
        queries = request.all_queries()
        if structure is not None and not structure.is_partial:
            chunks = self._documents.chunks_at((line.source, line.line) for line in structure.lines)
            first = [_structural_result(chunk) for chunk in chunks[: request.top_k]]
            known = {result.chunk_id for result in first}
            found = [] if request.mode == "structure" else self._retrieve(request, allowed)
            return [*first, *(result for result in found if result.chunk_id not in known)][: request.top_k]
        if len(queries) == 1:
            return self._retrieve(request, allowed)
        requests = (request.model_copy(update={"query": query, "queries": []}) for query in queries)
        return interleave_results([self._retrieve(each, allowed) for each in requests])

    def _retrieve(self, request: QueryRequest, allowed: AllowedChunks | None) -> list[QueryResult]:
        """Rank, fetch the texts, and leave out files that were deleted since they were indexed."""
        limit = request.top_k
        while True:
            ranked = self._rank(request, allowed, limit)
            with self._metrics.time_stage("fetch"):
                chunks = self._documents.chunks_by_keys(item.metadata.key for item in ranked)
            found = [item for item in ranked if item.metadata.key in chunks]  # the others were replaced meanwhile
            existing = self._existing({chunks[item.metadata.key].path for item in found})
            kept = [item for item in found if chunks[item.metadata.key].path in existing]
            # a deleted file may have displaced another one: rank again, with room for both
            if len(kept) == len(found) or len(ranked) < limit or limit >= MAX_RANKED:
                return [
                    _result(item, chunks[item.metadata.key], explain=request.explain) for item in kept[: request.top_k]
                ]
            limit = min(limit + len(found) - len(kept), MAX_RANKED)

    def _is_blank(self, path: str, first: int, last: int) -> bool:
        return not self._documents.has_lines(path, first, last)

    def _existing(self, paths: set[str]) -> set[str]:
        return {path for path in paths if os.path.lexists(os.path.join(self._root, path))}

    def get_chunk(self, chunk_id: str) -> ChunkResponse:
        """Return one chunk with its whole text.

        Raises:
            NotFoundError: There is no such chunk, or its file has changed.
        """
        chunk = self._documents.get_chunk(chunk_id)
        if chunk is None:
            raise NotFoundError(
                f"There is no chunk {chunk_id[:40]!r}.", code="unknown_chunk", hint="Query again: its file has changed."
            )
        return ChunkResponse(chunk_id=chunk.id, **_described(chunk))

    def freshness(self, barrier: Barrier | None = None, *, counts: StoreCounts | None = None) -> IndexFreshness:
        """Return how fresh the index is.

        Args:
            barrier: Count the changes before it; `None`: all changes until now.
            counts: Counts to report with it, so that both come from one moment; `None`: count now.
        """
        counts = counts or self._documents.counts()
        barrier = barrier or self.changes.barrier(may_wait=False)
        report = self.changes.report()
        return IndexFreshness(
            last_indexed_at=self._documents.get_meta(LAST_INDEXED_META),
            files_pending=max(counts.files_pending, barrier.count_pending(), self._count_unread()),
            vector_coverage=self._measure_coverage(counts),
            checking=self.changes.is_rechecking(),
            watch=report.state,
            unwatched_directories=len(report.unwatched),
        )

    def _measure_coverage(self, counts: StoreCounts) -> float:
        """Return the share of chunks that a vector search finds now."""
        if not counts.chunks:
            return 1.0
        return 0.0 if self._vectors.fault is not None else counts.embedded / counts.chunks

    def _rank(self, request: QueryRequest, allowed: AllowedChunks | None, limit: int) -> list[RankedChunk]:
        vector_search = None
        if request.mode == "hybrid" and self._documents.counts().embedded:
            # both searches release the interpreter lock, so in parallel they take as long as the longer one
            vector_search = self._executor.try_submit(self._search_vectors, request, allowed)
        bm25_hits = self._search_keywords(request, allowed) if request.mode != "vector" else []
        if vector_search is not None:
            self._documents.metadata_by_keys([hit.key for hit in bm25_hits])  # fills the cache for the call below
            vector_hits = vector_search.result()
        else:
            vector_hits = self._search_vectors(request, allowed) if request.mode != "bm25" else []
        with self._metrics.time_stage("facts"):
            defining = find_defining(self._documents, request.query, allowed)
            phrases = find_phrases(self._documents, request.query, bm25_hits)
            metadata = self._documents.metadata_by_keys({*defining, *(hit.key for hit in (*bm25_hits, *vector_hits))})
            alpha = request.alpha
            if alpha is None:  # without vectors the weight is not used
                alpha = weigh_vectors(self._documents, request.query, bm25_hits) if vector_hits else 0.0
        mode: SearchMode = "hybrid" if request.mode == "structure" else request.mode
        with self._metrics.time_stage("rank"):
            return rank_candidates(
                request.query,
                bm25_hits,
                vector_hits,
                metadata,
                alpha=alpha,
                mode=mode,
                source_types=request.source_types,
                defining=defining,
                phrases=phrases,
                explain=request.explain,
                limit=limit,
            )

    def _search_keywords(self, request: QueryRequest, allowed: AllowedChunks | None) -> list[Hit]:
        with self._metrics.time_stage("bm25"):
            return self._keywords.search(request.query, POOL_SIZE, allowed)

    def _search_vectors(self, request: QueryRequest, allowed: AllowedChunks | None) -> list[Hit]:
        if not self._documents.counts().embedded:
            return []
        with self._metrics.time_stage("embed"):
            vector = self._embedder.embed(request.query)
        with self._metrics.time_stage("vector"):
            try:
                hits = self._vectors.search(vector, POOL_SIZE, allowed)
            except StoreError:
                if request.mode == "vector":
                    raise
                return []  # keywords answer alone; `/health/status` reports the fault
        return [hit for hit in hits if hit.score >= request.similarity_threshold]


def weigh_vectors(documents: DocumentStore, query: str, bm25_hits: Sequence[Hit]) -> float:
    """Choose the weight of the vectors by how much of the query the best keyword hit contains."""
    best = documents.chunks_by_keys([hit.key for hit in bm25_hits[:1]]).values()
    return choose_alpha(max((measure_coverage(parse_query(query), chunk.text) for chunk in best), default=0.0))


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


def _structural_result(chunk: Chunk) -> QueryResult:
    """Return the result for a chunk with a line that answers a question about the structure."""
    return QueryResult(chunk_id=chunk.id, score=1.0, vector_score=None, bm25_score=None, **_described(chunk))


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
        "context": [ContextLineModel(line=line, text=text) for line, text in chunk.context],
        "part": chunk.part,
        "parts": chunk.parts,
        "hidden_characters": _count_hidden(chunk),
    }


def _count_hidden(chunk: Chunk) -> int:
    shown = (chunk.text, chunk.path, *chunk.symbols, chunk.heading or "", *(line.text for line in chunk.context))
    return sum(map(count_hidden, shown))
