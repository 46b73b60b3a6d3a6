"""The keyword half of an indexing job: walk, compare, read and chunk what changed, write."""

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agent_brain_server.config.settings import ProjectConfig
from agent_brain_server.errors import AgentBrainError, InvalidRequestError
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
from agent_brain_server.services.change_plan import ChangePlan, IndexScope, plan_changes
from agent_brain_server.services.freshness import SyncOutcome, TreeChanges
from agent_brain_server.services.index_writer import IndexWriter
from agent_brain_server.services.metrics import Metrics
from agent_brain_server.services.progress import Counters, RunningJob
from agent_brain_server.services.slow_files import SlowFiles, is_suspect
from agent_brain_server.storage.document_store import DocumentStore
from agent_brain_server.support.globs import compile_choice, compile_globs
from agent_brain_server.types import FileChunks, FileRecord, FileStat, Skip

logger = logging.getLogger(__name__)

MAX_SYNC_FILES = 300
"""More changed files than this are a job, whose progress can be followed and which a restart resumes."""

MAX_FIRST_FILES = 16
"""Files modified last are indexed before such a job, while there is time: a query may ask about one of them."""

MAX_JUDGED = 10
"""Files of which git is asked, after a sync, whether it ignores them: a process each, and once for a growing log."""

SLICE_FILES = 64
"""Files of a job after which a save beside it may be indexed."""

ORDINARY_BYTES = 64 * 1024
"""Bytes of source up to which even hostile content is read in a fraction of a second; longer files come later."""

MAX_SLICE_S = 1.0
"""Files that take longer than others make a slice shorter if a save waits."""

BATCH_FILES = 16
"""Files written at a time: some 150 chunks, a few hundredths of a second of writing."""

TRANSIENT_SKIPS = frozenset({"missing", "unreadable"})
"""Skips that may end without the file being changed: such a file is tried again by the next job."""

BATCH_BYTES = 256 * 1024
"""Bytes of source written at a time: a batch of large files is as short a wait as one of small ones."""


class JobCancelledError(AgentBrainError):
    """Somebody cancelled the job, or the server stops."""

    default_code = "job_cancelled"


@dataclass(slots=True)
class _Batch:
    """Files that were read and wait to be written together."""

    files: list[FileChunks] = field(default_factory=list)
    skipped: list[tuple[FileStat, Skip]] = field(default_factory=list)
    size: int = 0

    def add(self, outcome: ReadOutcome) -> None:
        self.size += outcome.file.size
        if outcome.chunks is not None:
            self.files.append(outcome.chunks)
        if outcome.skip is not None:
            self.skipped.append((outcome.file, outcome.skip))

    def is_full(self) -> bool:
        return len(self.files) + len(self.skipped) >= BATCH_FILES or self.size >= BATCH_BYTES


class FileIndexer:
    """Brings the documents and the keyword index of one project up to date with its tree. For one thread at a time.

    Args:
        project_root: Canonical root.
        own_dirs: Agent Brain's own directories, which are never indexed.
        settings: Chunk sizes and limits where the request sets none.
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
    ) -> None:
        self._root = project_root
        self._own_dirs = tuple(own_dirs)
        self._settings = settings
        self._documents = documents
        self._writer = writer
        self._worker = worker
        self._metrics = metrics
        self._slow = SlowFiles(project_root, documents, worker)
        self._uses_git: dict[str, bool] = {}

    def index(
        self,
        job: RunningJob,
        should_stop: Callable[[], bool],
        between: Callable[[], None] = lambda: None,
        should_yield: Callable[[], bool] = lambda: False,
    ) -> None:
        """Run the job until every file is answered from by keyword, except slow ones; counts as it goes.

        Args:
            job: What to do, and the counters.
            should_stop: Whether to stop at the next batch.
            between: Called now and then between two batches, so that a save need not wait for the end of the job.
            should_yield: Whether to call `between` soon, and not after so many files as usual.

        Raises:
            JobCancelledError: `should_stop` said so; what was written is committed.
            AgentBrainError: The folder is gone, or a store cannot be written.
        """
        plan = self._plan(job)
        job.phase = "chunking"
        options = self.chunk_options(job.request)
        if job.request.force:
            self._slow.limited.forget()
        try:
            unread = [*_ordinary(plan.changed), *_longer(plan.changed)]
            while True:
                part, unread = unread[:SLICE_FILES], unread[SLICE_FILES:]
                unread[:0] = self._index_changed(job, part, options, should_stop, should_yield)
                between()
                if not unread:
                    break
        finally:
            self._writer.commit()

    def sync(self, request: IndexRequest, changes: TreeChanges, should_stop: Callable[[], bool]) -> SyncOutcome | None:
        """Index what changed of one indexed folder, without a job.

        Args:
            request: How the folder was indexed.
            changes: What may have changed.
            should_stop: Whether to stop at the next batch.

        Returns:
            `None` if so much changed that a job has to do it; only the files modified last are indexed then.

        Raises:
            NotFoundError: The folder does not exist.
            JobCancelledError: `should_stop` said so; what was written is committed.
        """
        paths = None if self._needs_full_walk(request, changes) else changes.paths
        written = frozenset(map(_to_name, changes.paths - changes.polled))
        try:
            walk, scope, plan = self._compare(request, paths, written)
        except GitUnavailableError:
            paths = None
            walk, scope, plan = self._compare(request, paths, written)
        if len(plan.changed) > MAX_SYNC_FILES:
            self._index_newest(plan.changed, self.chunk_options(request), should_stop)
            return None
        counters = Counters()
        self._apply_removals(counters, walk, scope, plan)
        try:
            self._index_in_time(counters, plan.changed, self.chunk_options(request), should_stop)
        finally:
            self._writer.commit()
        return SyncOutcome(
            ignored=set() if paths is None else self._find_ignored(request, paths, walk),
            sizes=[(os.fsencode(file.path), file.size) for file in plan.changed],
            slow={os.fsencode(file.path) for file in plan.changed if file.path in self._slow},
            has_changed=bool(plan.changed or plan.removed),
        )

    def has_slow_files(self) -> bool:
        """Return whether files wait for `index_slow_files`, as they are large or took too long among the others."""
        return bool(self._slow)

    def is_slow(self, path: str) -> bool:
        """Return whether a file waits for `index_slow_files`."""
        return path in self._slow

    def count_slow(self) -> int:
        """Return how many files wait for `index_slow_files`."""
        return len(self._slow)

    def index_slow_files(self, should_pause: Callable[[], bool]) -> None:
        """Index slow files one at a time until none is left.

        Args:
            should_pause: Asked several times a second, also while a file is read.

        Raises:
            AgentBrainError: A store cannot be written.
        """
        self._slow.drop_cancelled()
        try:
            for job, outcome in self._slow.read(should_pause):
                batch = _Batch()
                batch.add(outcome)
                self._write(batch, job)
        finally:
            self._writer.commit()

    def chunk_options(self, request: IndexRequest) -> ChunkOptions:
        """Return how this request's files are cut: its own numbers, or the settings'.

        Raises:
            InvalidRequestError: The overlap is not smaller than the chunk.
        """
        size = request.chunk_size or self._settings.chunk_size
        overlap = self._settings.chunk_overlap if request.chunk_overlap is None else request.chunk_overlap
        if overlap >= size and request.chunk_overlap is not None:
            raise InvalidRequestError(
                f"chunk_overlap: {overlap} is not smaller than the chunk size {size}.",
                hint="Use an overlap of about a tenth of the chunk size.",
            )
        settings = self._settings
        return ChunkOptions(size, min(overlap, size - 1), settings.max_file_bytes, settings.index_secrets)

    def check(self, request: IndexRequest) -> None:
        """Find out whether a request can be served, before it is queued.

        Raises:
            NotFoundError: Its folder does not exist.
            InvalidRequestError: Its folder is outside the project, or a glob or number is not allowed.
        """
        resolve_start(self._root, Path(request.folder_path))
        compile_choice(tuple(request.include_patterns), "include_patterns")
        compile_globs(tuple(request.exclude_patterns), "exclude_patterns")
        self.chunk_options(request)

    def normalize(self, request: IndexRequest) -> IndexRequest:
        """Return the request with its folder relative to the root, however it was named.

        Raises:
            NotFoundError: The folder does not exist.
            InvalidRequestError: It is outside the project.
        """
        start = resolve_start(self._root, Path(request.folder_path))
        return request.model_copy(update={"folder_path": start.relative_to(self._root).as_posix()})

    def _plan(self, job: RunningJob) -> ChangePlan:
        """Find out what there is to do; remove what has to go, before the reasons are recorded."""
        walk, scope, plan = self._compare(job.request)
        self._apply_removals(job, walk, scope, plan)
        if remark := describe_large_project(job.files_total):
            logger.warning("%s", remark)
        return plan

    def _apply_removals(self, counters: Counters, walk: Walk, scope: IndexScope, plan: ChangePlan) -> None:
        self._writer.remove(plan.removed)
        self._slow.discard(plan.removed)
        counters.files_removed = len(plan.removed)
        counters.count_skips(walk.skipped)
        self._documents.record_skips(walk.skipped, below=scope.prefix, only=scope.only)
        counters.files_total, counters.files_changed = len(walk.files) - plan.still_skipped, len(plan.changed)

    def _needs_full_walk(self, request: IndexRequest, changes: TreeChanges) -> bool:
        """Whether the changes cannot be judged file by file."""
        if changes.everything or request.folder_path not in self._uses_git:
            return True
        return self._uses_git[request.folder_path] and any(
            _is_in_nested_repository(self._root, path) for path in changes.paths
        )

    def _compare(
        self, request: IndexRequest, paths: frozenset[bytes] | None = None, written: frozenset[str] = frozenset()
    ) -> tuple[Walk, IndexScope, ChangePlan]:
        """Walk what the request is about, or these paths of it, and compare it with the documents."""
        start = resolve_start(self._root, Path(request.folder_path))
        options = self._walk_options(request)
        only = None if paths is None else frozenset(map(_to_name, paths))
        records = self._documents.file_records(only)
        targets = None if paths is None else self._targets(request, paths, records)
        walk = walk_files(self._root, start, options, targets)
        if targets is None:
            self._uses_git[request.folder_path] = walk.uses_git
        include = compile_choice(options.include_patterns, "include_patterns")
        prefix = start.relative_to(self._root).as_posix()
        scope = IndexScope(
            prefix="" if prefix == "." else prefix,
            recursive=request.recursive,
            is_included=lambda path: include is None or include.match_file(path),
            only=only,
        )
        plan = plan_changes(walk.files, records, scope, force=request.force, written=written)
        return walk, scope, plan

    def _targets(
        self, request: IndexRequest, paths: frozenset[bytes], records: Mapping[str, FileRecord]
    ) -> WalkTargets:
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
        return {p for p in unlisted[:MAX_JUDGED] if is_excluded(self._root, p, options, uses_git=uses_git)}

    def _index_newest(
        self, changed: Iterable[FileStat], options: ChunkOptions, should_stop: Callable[[], bool]
    ) -> None:
        """Index the files modified last; a job that indexes the others first could take minutes."""
        newest = sorted(_ordinary(changed), key=lambda file: file.mtime_ns, reverse=True)[:MAX_FIRST_FILES]
        until = time.monotonic() + MAX_SLICE_S
        try:
            for file in newest:
                self._index_changed(Counters(), [file], options, should_stop)
                if time.monotonic() > until:
                    break
        finally:
            self._writer.commit()

    def _index_in_time(
        self, job: Counters, changed: Sequence[FileStat], options: ChunkOptions, should_stop: Callable[[], bool]
    ) -> None:
        """Index files of ordinary length, and longer ones while there is time; the rest waits as slow files."""
        self._index_changed(job, _ordinary(changed), options, should_stop)
        if longer := _longer(changed):
            self._writer.commit()
            for file in self._index_changed(job, longer, options, should_stop, should_yield=lambda: True):
                self._slow.add(file, options, job)

    def _index_changed(
        self,
        job: Counters,
        changed: Iterable[FileStat],
        options: ChunkOptions,
        should_stop: Callable[[], bool],
        should_yield: Callable[[], bool] = lambda: False,
    ) -> list[FileStat]:
        """Read and write files; return those that were left, as the time is wanted for something else."""
        unread = deque(self._defer_slow(job, changed, options))
        yield_at = time.monotonic() + MAX_SLICE_S
        batch = _Batch()
        try:
            requests = map(self._slow.make_request, tuple(unread))
            for outcome in self._worker.read_files(self._root, requests, options, should_yield):
                unread.popleft()
                if outcome.failure is not None:
                    self._slow.add(outcome.file, options, job, outcome.failure)
                batch.add(outcome)
                if batch.is_full():
                    self._write(batch, job)
                    batch = _Batch()
                    if should_stop():
                        raise JobCancelledError("The job was cancelled.")
                if time.monotonic() > yield_at and should_yield():
                    break
        except InterruptedReadError:  # it takes longer than a file should
            self._slow.add(unread.popleft(), options, job)
        self._write(batch, job)
        return list(unread)

    def _defer_slow(self, job: Counters, changed: Iterable[FileStat], options: ChunkOptions) -> list[FileStat]:
        """Queue large files and those that are known to be slow; return the others."""
        first = []
        for file in changed:
            is_counted = file.path in self._slow
            if is_counted or is_suspect(file):
                self._slow.add(file, options, job)
                job.files_changed -= is_counted
            else:
                first.append(file)
        return first

    def _write(self, batch: _Batch, job: Counters) -> None:
        lasting = [
            (skipped_record(file), skip.reason) for file, skip in batch.skipped if skip.reason not in TRANSIENT_SKIPS
        ]
        self._writer.remove([skip.path for _, skip in batch.skipped if skip.reason in TRANSIENT_SKIPS])
        written = self._writer.write(batch.files, lasting)
        job.count_skips(skip for _, skip in batch.skipped)
        job.count_skips(Skip(file.record.path, file.limit) for file in batch.files if file.limit is not None)
        job.files_total -= len(batch.skipped)
        job.files_done += len(batch.files) + len(batch.skipped)
        job.chunks_written += written
        self._metrics.files_indexed.inc(len(batch.files))
        self._metrics.chunks_indexed.inc(written)


def _ordinary(files: Iterable[FileStat]) -> list[FileStat]:
    """Return the files that are certainly read quickly, in order."""
    return [file for file in files if file.size <= ORDINARY_BYTES]


def _longer(files: Iterable[FileStat]) -> list[FileStat]:
    """Return the files that `_ordinary` leaves out, in order."""
    return [file for file in files if file.size > ORDINARY_BYTES]


def _to_name(path: bytes) -> str:
    """Return a path as records and skips name it; no record has a name that is not UTF-8."""
    return path.decode("utf-8", "backslashreplace")


def _is_in_nested_repository(root: Path, path: bytes) -> bool:
    """Whether a path is, or is inside, a repository inside the project."""
    inner = path
    while inner:
        directory = os.path.join(os.fsencode(root), inner)
        if os.path.lexists(os.path.join(directory, b".git")) or is_bare_repository(directory):
            return True
        inner = os.path.dirname(inner)
    return False


def skipped_record(file: FileStat) -> FileRecord:
    """Return the record of a file that was read and holds nothing to index."""
    return FileRecord(file.path, file.size, file.mtime_ns, content_hash="", state="skipped")
