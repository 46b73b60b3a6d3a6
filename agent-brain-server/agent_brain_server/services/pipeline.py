"""Bring the documents and the keyword index of a project up to date with its tree.

`Pipeline.index` is the whole pipeline, for jobs and for changes that the watcher found alike.
"""

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from agent_brain_server.config.settings import ProjectConfig
from agent_brain_server.errors import AgentBrainError, InvalidRequestError, StoreError
from agent_brain_server.indexing.bm25_index import BM25IndexManager
from agent_brain_server.indexing.files.walker import (
    GitUnavailableError,
    Walk,
    WalkOptions,
    WalkTargets,
    is_bare_repository,
    is_excluded,
    resolve_start,
    walk_files,
)
from agent_brain_server.indexing.worker.client import ChunkOptions, InterruptedReadError, ReadOutcome, WorkerClient
from agent_brain_server.models.index import IndexRequest
from agent_brain_server.project_root import describe_large_project
from agent_brain_server.services.compare import Difference, IndexScope, compare, is_current
from agent_brain_server.services.metrics import Metrics
from agent_brain_server.services.runs import MAX_SLICE_S, Counters, Run, TreeChanges
from agent_brain_server.services.slow_files import SlowFiles, is_suspect
from agent_brain_server.storage.document_store import DocumentStore
from agent_brain_server.storage.vector_store import VectorStoreManager
from agent_brain_server.support.globs import compile_globs, compile_selection
from agent_brain_server.types import FileChunks, FileRecord, FileStat, ReplacedFiles, Skip

logger = logging.getLogger(__name__)

MAX_CHECKED_IGNORED = 10
"""Files that git is asked about after a run, whether it ignores them: each takes a process."""

BATCH_FILES = 16
"""Files written at a time: some 150 chunks, a few hundredths of a second of writing."""

BATCH_BYTES = 256 * 1024
"""Bytes of source written at a time, so that a batch of large files takes no longer than one of small files."""

TRANSIENT_SKIPS = frozenset({"missing", "unreadable"})
"""Reasons that may end without a change of the file: such a file is tried again by the next job."""

COMMIT_INTERVAL_S = 1.0
"""A commit of the keyword index waits 0.1 s for the disk; once a second makes early answers possible at low cost."""


class JobCancelledError(AgentBrainError):
    """The job was cancelled, or the server stops."""

    default_code = "job_cancelled"


@dataclass(slots=True)
class Batch:
    """Files that were read and chunked, and are written together."""

    files: list[FileChunks] = field(default_factory=list)
    skipped: list[tuple[FileStat, Skip]] = field(default_factory=list)
    size: int = 0

    def add(self, outcome: ReadOutcome) -> None:
        """Add a file; one that could not be read adds nothing."""
        self.size += outcome.file.size
        if outcome.chunks is not None:
            self.files.append(outcome.chunks)
        if outcome.skip is not None:
            self.skipped.append((outcome.file, outcome.skip))

    def is_full(self) -> bool:
        """Return whether to write the batch now."""
        return len(self.files) + len(self.skipped) >= BATCH_FILES or self.size >= BATCH_BYTES


class IndexWriter:
    """Write to the three stores in an order that makes a kill at any moment harmless. For one thread at a time.

    New content: documents first (the files become `pending`), then the keyword index, then the files are marked
    `indexed`. After a kill in between they are still `pending`, and the next job reads them again. Removal has the
    opposite order, also for a file that has nothing to index any longer: as long as it is in the documents, the next
    job removes it again. Vectors may lag behind, since a vector without a chunk is dropped.
    """

    def __init__(self, documents: DocumentStore, bm25: BM25IndexManager, vectors: VectorStoreManager) -> None:
        self._documents = documents
        self._bm25 = bm25
        self._vectors = vectors
        self._uncommitted: list[str] = []
        self._skipped: list[tuple[FileRecord, str]] = []
        self._committed_at = time.monotonic()

    def write_documents(self, batch: Batch) -> ReplacedFiles:
        """Replace the chunks of the files in the document store; the files are `pending` then."""
        self.remove([skip.path for _, skip in batch.skipped if skip.reason in TRANSIENT_SKIPS])
        return self._documents.replace_files(batch.files)

    def write_keywords(self, stored: ReplacedFiles, batch: Batch) -> None:
        """Add the files to the keyword index; they are found after the next commit."""
        skipped = [(skipped_record(file), skip.reason) for file, skip in batch.skipped]
        lasting = [(record, reason) for record, reason in skipped if reason not in TRANSIENT_SKIPS]
        with self._changing_keywords():
            self._bm25.index_files(stored.files)
            self._bm25.delete_paths(record.path for record, _ in lasting)
        self._uncommitted.extend(path for path, _ in stored.files)
        self._skipped.extend(lasting)
        self._vectors.delete(stored.removed)

    def is_commit_due(self) -> bool:
        """Return whether the last commit was long enough ago."""
        return time.monotonic() - self._committed_at >= COMMIT_INTERVAL_S

    def commit_keywords(self) -> None:
        """Make the written files visible to keyword searches."""
        with self._changing_keywords():
            self._bm25.commit()
        self._committed_at = time.monotonic()

    def mark_indexed(self) -> None:
        """Mark the committed files `indexed` or `skipped` in the document store."""
        if self._uncommitted:
            self._documents.mark_indexed(self._uncommitted)
            self._uncommitted.clear()
        if self._skipped:
            self._vectors.delete(self._documents.remember_skipped(self._skipped))
            self._skipped.clear()

    def remove(self, paths: Sequence[str]) -> None:
        """Remove files from all stores."""
        if not paths:
            return
        with self._changing_keywords():
            self._bm25.delete_paths(paths)
            self._bm25.commit()
        self._vectors.delete(self._documents.remove_files(paths))

    def clear(self) -> None:
        """Remove everything: documents first, since entries of the other stores without a document are dropped."""
        self._forget_uncommitted()
        self._documents.clear()
        self._bm25.clear()
        self._vectors.clear()

    def release(self) -> None:
        """Free what only writing needs, some 15 MB and a few threads, until the next write."""
        self._bm25.release_writer()

    @contextmanager
    def _changing_keywords(self) -> Iterator[None]:
        """After a failure, leave uncommitted files `pending`: the keyword index has dropped them."""
        try:
            yield
        except StoreError:
            self._forget_uncommitted()
            raise

    def _forget_uncommitted(self) -> None:
        self._uncommitted.clear()
        self._skipped.clear()


class Pipeline:
    """The indexing pipeline of one project. For one thread at a time.

    Args:
        project_root: Canonical root.
        own_dirs: Agent Brain's own directories, which are never indexed.
        settings: Chunk sizes and limits that the request does not set.
        documents: The document store.
        writer: Writes to the stores.
        worker: Reads and chunks files.
        metrics: Counts files and chunks.
        queue_embedding: Called with each complete run; embeds the new chunks later.
    """

    def __init__(
        self,
        project_root: Path,
        own_dirs: Sequence[Path],
        settings: ProjectConfig,
        *,
        documents: DocumentStore,
        writer: IndexWriter,
        worker: WorkerClient,
        metrics: Metrics,
        queue_embedding: Callable[[Run, Difference], object] = lambda _run, _difference: None,
    ) -> None:
        self._root = project_root
        self._own_dirs = tuple(own_dirs)
        self._settings = settings
        self._documents = documents
        self._writer = writer
        self._worker = worker
        self._metrics = metrics
        self._queue_embedding = queue_embedding
        self._uses_git: dict[str, bool] = {}
        self.slow = SlowFiles(project_root, documents, worker)

    def index(self, run: Run) -> Difference:
        """Run the pipeline: index the difference between a folder and its index.

        Slow files are left to `index_slow_files`.

        Returns:
            The difference that was found.

        Raises:
            NotFoundError: The folder does not exist.
            JobCancelledError: The run was stopped; what was written is committed.
            AgentBrainError: A store cannot be written.
        """
        difference = self._compare(run)
        self._remove_missing(difference, run.counters)
        if run.request.force:
            self.slow.limited.forget()
        try:
            for files in run.slices(difference.changed):
                for batch in self._read_and_chunk(files, run):
                    stored = self._writer.write_documents(batch)
                    self._writer.write_keywords(stored, batch)
                    if self._writer.is_commit_due():
                        self._writer.commit_keywords()
                        self._writer.mark_indexed()
                    self._count(batch, run.counters)
                    if run.should_stop():
                        raise JobCancelledError("The job was cancelled.")
        finally:
            self._writer.commit_keywords()
            self._writer.mark_indexed()
        for file in run.late:
            self.slow.add(file, self.chunk_options(run.request), run.counters)
        self._queue_embedding(run, difference)
        return difference

    def index_slow_files(self, should_pause: Callable[[], bool]) -> None:
        """Index slow files one at a time, until none is left or other work waits.

        Args:
            should_pause: Returns whether other work waits; called several times a second, also while a file is read.

        Raises:
            AgentBrainError: A store cannot be written.
        """
        self.slow.drop_cancelled()
        try:
            for counters, outcome in self.slow.read(should_pause):
                batch = Batch()
                batch.add(outcome)
                stored = self._writer.write_documents(batch)
                self._writer.write_keywords(stored, batch)
                if self._writer.is_commit_due():
                    self._writer.commit_keywords()
                    self._writer.mark_indexed()
                self._count(batch, counters)
        finally:
            self._writer.commit_keywords()
            self._writer.mark_indexed()

    def check(self, request: IndexRequest) -> None:
        """Check whether a request can be served.

        Raises:
            NotFoundError: Its folder does not exist.
            InvalidRequestError: Its folder is outside the project, or a glob or number is not allowed.
        """
        resolve_start(self._root, Path(request.folder_path))
        compile_selection(tuple(request.include_patterns), "include_patterns")
        compile_globs(tuple(request.exclude_patterns), "exclude_patterns")
        self.chunk_options(request)

    def normalize(self, request: IndexRequest) -> IndexRequest:
        """Return the request with its folder relative to the root.

        Raises:
            NotFoundError: The folder does not exist.
            InvalidRequestError: It is outside the project.
        """
        start = resolve_start(self._root, Path(request.folder_path))
        return request.model_copy(update={"folder_path": start.relative_to(self._root).as_posix()})

    def chunk_options(self, request: IndexRequest) -> ChunkOptions:
        """Return the chunk sizes of a request, or of the settings.

        Raises:
            InvalidRequestError: The overlap is not smaller than the chunk.
        """
        settings = self._settings
        size = request.chunk_size or settings.chunk_size
        overlap = settings.chunk_overlap if request.chunk_overlap is None else request.chunk_overlap
        if overlap >= size and request.chunk_overlap is not None:
            raise InvalidRequestError(
                f"chunk_overlap: {overlap} is not smaller than the chunk size {size}.",
                hint="Use an overlap of about a tenth of the chunk size.",
            )
        return ChunkOptions(
            size,
            min(overlap, size - 1),
            settings.max_file_bytes,
            index_secrets=settings.index_secrets,
            index_generated=settings.index_generated,
        )

    def _compare(self, run: Run) -> Difference:
        """Walk the folder, or only the paths that changed, and compare the files with their records."""
        if run.known is not None:
            return self._update(run.known)
        changes = run.changes
        paths = None if changes is None or self._needs_full_walk(run.request, changes) else changes.paths
        written = changes.paths - changes.polled if changes is not None else frozenset()
        try:
            walk, difference = self._compare_paths(run.request, paths, written)
        except GitUnavailableError:
            paths = None
            walk, difference = self._compare_paths(run.request, None, written)
        if changes is None and (remark := describe_large_project(difference.files_total)):
            logger.warning("%s", remark)
        if paths is not None:
            run.ignored = self._find_ignored(run.request, paths, walk)
        return difference

    def _update(self, known: Difference) -> Difference:
        """Return an earlier difference without the files that have been indexed since."""
        records = self._documents.file_records()
        left = tuple(f for f in known.changed if (record := records.get(f.path)) is None or not is_current(f, record))
        unchanged = known.unchanged + len(known.changed) - len(left)
        return replace(known, changed=left, removed=(), unchanged=unchanged, skipped=None)

    def _needs_full_walk(self, request: IndexRequest, changes: TreeChanges) -> bool:
        """Return whether the changes cannot be compared path by path."""
        if changes.everything or request.folder_path not in self._uses_git:
            return True
        return self._uses_git[request.folder_path] and any(
            _is_in_nested_repository(self._root, path) for path in changes.paths
        )

    def _compare_paths(
        self, request: IndexRequest, paths: frozenset[bytes] | None, written: frozenset[bytes]
    ) -> tuple[Walk, Difference]:
        """Walk the folder of a request, or only these paths of it, and compare the files with their records."""
        start = resolve_start(self._root, Path(request.folder_path))
        options = self._walk_options(request)
        only = None if paths is None else frozenset(map(_to_name, paths))
        records = self._documents.file_records(only)
        walk = walk_files(self._root, start, options, self._targets(request, paths, records))
        if paths is None:
            self._uses_git[request.folder_path] = walk.uses_git
        include = compile_selection(options.include_patterns, "include_patterns")
        prefix = start.relative_to(self._root).as_posix()
        scope = IndexScope(
            prefix="" if prefix == "." else prefix,
            recursive=request.recursive,
            is_included=lambda path: include is None or include.match_file(path),
            only=only,
        )
        names = frozenset(map(_to_name, written))
        difference = compare(walk.files, records, scope, force=request.force, written=names)
        return walk, replace(difference, skipped=walk.skipped)

    def _targets(
        self, request: IndexRequest, paths: frozenset[bytes] | None, records: Mapping[str, FileRecord]
    ) -> WalkTargets | None:
        if paths is None:
            return None
        known = frozenset(path for path in paths if _to_name(path) in records)
        return WalkTargets(paths, known, self._uses_git[request.folder_path])

    def _walk_options(self, request: IndexRequest) -> WalkOptions:
        return WalkOptions(
            include_patterns=tuple(request.include_patterns),
            exclude_patterns=tuple(request.exclude_patterns),
            recursive=request.recursive,
            max_file_bytes=self._settings.max_file_bytes,
            index_secrets=self._settings.index_secrets,
            own_dirs=self._own_dirs,
        )

    def _find_ignored(self, request: IndexRequest, paths: frozenset[bytes], walk: Walk) -> set[bytes]:
        """Return the files among the paths that a rule or a glob leaves out; some may be missing."""
        found = {file.path for file in walk.files} | {skip.path for skip in walk.skipped}
        base, options = os.fsencode(self._root), self._walk_options(request)
        unlisted = [p for p in paths if _to_name(p) not in found and os.path.isfile(os.path.join(base, p))]
        uses_git = self._uses_git[request.folder_path]
        return {p for p in unlisted[:MAX_CHECKED_IGNORED] if is_excluded(self._root, p, options, uses_git=uses_git)}

    def _remove_missing(self, difference: Difference, counters: Counters) -> None:
        """Remove files that are gone, and record the files that the walk skipped."""
        self._writer.remove(difference.removed)
        self.slow.discard(difference.removed)
        if difference.skipped is not None:
            counters.count_skips(difference.skipped)
            scope = difference.scope
            self._documents.record_skips(difference.skipped, below=scope.prefix, only=scope.only)
        counters.files_removed = len(difference.removed)
        counters.files_total, counters.files_changed = difference.files_total, len(difference.changed)

    def _read_and_chunk(self, files: Sequence[FileStat], run: Run) -> Iterator[Batch]:
        """Read files in the worker, and yield them in batches.

        Slow files are queued, and the files that there is no time for are put back into `run.unread`.
        """
        options = self.chunk_options(run.request)
        unread = deque(self._queue_slow(files, options, run.counters))
        yield_at = time.monotonic() + MAX_SLICE_S
        batch = Batch()
        try:
            requests = map(self.slow.make_request, tuple(unread))
            for outcome in self._worker.read_files(
                self._root, requests, options, lambda: bool(unread) and run.should_yield(unread[0])
            ):
                unread.popleft()
                if outcome.failure is not None:
                    self.slow.add(outcome.file, options, run.counters, outcome.failure)
                batch.add(outcome)
                if batch.is_full():
                    yield batch
                    batch = Batch()
                if unread and time.monotonic() > yield_at and run.should_yield(unread[0]):
                    break
        except InterruptedReadError:  # the file takes longer than usual
            self.slow.add(unread.popleft(), options, run.counters)
        if batch.files or batch.skipped:
            yield batch
        run.unread[:0] = unread

    def _queue_slow(self, files: Sequence[FileStat], options: ChunkOptions, counters: Counters) -> list[FileStat]:
        """Queue large files and files that are known to be slow; return the others."""
        others = []
        for file in files:
            is_counted = file.path in self.slow
            if is_counted or is_suspect(file):
                self.slow.add(file, options, counters)
                counters.files_changed -= is_counted
            else:
                others.append(file)
        return others

    def _count(self, batch: Batch, counters: Counters) -> None:
        chunks = sum(len(file.chunks) for file in batch.files)
        counters.count_skips(skip for _, skip in batch.skipped)
        counters.count_skips(Skip(file.record.path, file.limit) for file in batch.files if file.limit is not None)
        counters.files_total -= len(batch.skipped)
        counters.files_done += len(batch.files) + len(batch.skipped)
        counters.chunks_written += chunks
        self._metrics.files_indexed.inc(len(batch.files))
        self._metrics.chunks_indexed.inc(chunks)


def skipped_record(file: FileStat) -> FileRecord:
    """Return the record of a file that was read and contains nothing to index."""
    return FileRecord(file.path, file.size, file.mtime_ns, content_hash="", state="skipped")


def _to_name(path: bytes) -> str:
    """Return a path as records and skips name it; no record has a name that is not UTF-8."""
    return path.decode("utf-8", "backslashreplace")


def _is_in_nested_repository(root: Path, path: bytes) -> bool:
    """Return whether a path is, or is inside, a repository inside the project."""
    inner = path
    while inner:
        directory = os.path.join(os.fsencode(root), inner)
        if os.path.lexists(os.path.join(directory, b".git")) or is_bare_repository(directory):
            return True
        inner = os.path.dirname(inner)
    return False
