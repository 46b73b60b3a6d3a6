"""Runs of the indexing pipeline: requests, progress, and the order in which files are read."""

import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from agent_brain_server.models.index import IndexRequest, JobPhase, JobProgress, JobStatus
from agent_brain_server.services.compare import Difference
from agent_brain_server.support.text import pluralize
from agent_brain_server.types import FileStat, Skip

SLICE_FILES = 64
"""Files of a job after which changes of the tree are synchronized."""

MAX_SYNC_FILES = 300
"""More changed files than this become a job, which reports progress and is resumed after a restart."""

MAX_FIRST_FILES = 16
"""Files modified last are indexed before such a job, while there is time: a query may ask about one of them."""

ORDINARY_BYTES = 64 * 1024
"""Size up to which even hostile content is read in a fraction of a second; longer files are read later."""

MAX_SLICE_S = 1.0
"""A slice with files that take longer than usual ends after this time if other work waits."""


@dataclass(frozen=True, slots=True)
class TreeChanges:
    """A request to synchronize the index with changes of the tree.

    Attributes:
        paths: Changed files and directories relative to the root; a directory includes everything below it.
        everything: Compare every file, not only these.
        polled: Directories among `paths` that are not watched, so that only a comparison can find their changes. Files
            elsewhere in `paths` are read again even if their size and modification time are unchanged.
    """

    paths: frozenset[bytes]
    everything: bool = False
    polled: frozenset[bytes] = frozenset()


@dataclass(slots=True)
class SyncOutcome:
    """The result of a synchronization.

    Attributes:
        ignored: Existing files that the rules leave out of every indexed root.
        sizes: The files that were read, with their sizes in bytes.
        jobs: Ids of the jobs that read the files, if there are too many of them for a synchronization.
        slow: Files that are read after all others; still pending.
    """

    ignored: set[bytes] = field(default_factory=set)
    sizes: list[tuple[bytes, int]] = field(default_factory=list)
    jobs: list[str] = field(default_factory=list)
    slow: set[bytes] = field(default_factory=set)


class SyncSlot:
    """Passes one request at a time from the watcher's thread to the indexing thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._request: TreeChanges | None = None
        self._is_running = False
        self._outcome: SyncOutcome | None = None
        self._done = threading.Event()

    def put(self, changes: TreeChanges) -> None:
        """Offer a request; the previous one must have ended."""
        with self._lock:
            self._done.clear()
            self._outcome = None
            self._request = changes

    def take(self) -> TreeChanges | None:
        """Start the waiting request; return `None` if there is none."""
        with self._lock:
            request, self._request = self._request, None
            self._is_running = request is not None
            return request

    def finish(self, outcome: SyncOutcome | None) -> None:
        """End the request; `None` if it failed."""
        with self._lock:
            self._outcome, self._is_running = outcome, False
        self._done.set()

    def withdraw(self) -> None:
        """Remove a request that has not started."""
        with self._lock:
            self._request = None

    def wait(self, timeout_s: float) -> bool:
        """Wait for the end of the request; return whether it has ended."""
        return self._done.wait(timeout_s)

    @property
    def outcome(self) -> SyncOutcome | None:
        """The outcome of the last request that ended; `None` if it failed."""
        return self._outcome

    def has_request(self) -> bool:
        """Return whether a request waits."""
        return self._request is not None

    def is_busy(self) -> bool:
        """Return whether a request waits or runs."""
        return self._is_running or self._request is not None


@dataclass(slots=True)
class Counters:
    """Progress of one run.

    Only the indexing thread writes the counters. A reader may see counters of slightly different moments.

    Attributes:
        cancelled: Set to end the run at the next batch.
    """

    cancelled: threading.Event = field(default_factory=threading.Event)
    phase: JobPhase = "scanning"
    files_total: int = 0
    files_changed: int = 0
    files_done: int = 0
    files_removed: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    chunks_written: int = 0
    vectors_total: int = 0
    vectors_done: int = 0
    keywords_ready: bool = False

    def count_skips(self, skips: Iterable[Skip]) -> None:
        """Count skipped files, by reason."""
        self.skipped.update(skip.reason for skip in skips)

    def count_unread(self) -> int:
        """Return how many changed files have not been read yet."""
        return max(self.files_changed - self.files_done, 0)

    def progress(self) -> JobProgress:
        """Return a copy of the counters."""
        return JobProgress(
            phase=self.phase,
            files_total=self.files_total,
            files_changed=self.files_changed,
            files_done=self.files_done,
            files_removed=self.files_removed,
            files_skipped=dict(self.skipped),
            chunks_written=self.chunks_written,
            vectors_total=self.vectors_total,
            vectors_done=self.vectors_done,
            keywords_ready=self.keywords_ready,
        )


@dataclass(slots=True, kw_only=True)
class RunningJob(Counters):
    """A job that is running.

    Attributes:
        status: As of its start.
        correlation_id: Id of the HTTP request that submitted it; `None` if a change of the tree did.
    """

    status: JobStatus
    request: IndexRequest
    correlation_id: str | None = None

    def describe(self) -> str:
        """Return a summary of the keyword half, for the log."""
        return f"{pluralize(self.files_total, 'file')}: {self.files_done:,} read, {self.files_removed:,} removed"

    def snapshot(self) -> JobStatus:
        """Return the job's status with its current progress."""
        return self.status.model_copy(update={"progress": self.progress()})


@dataclass(slots=True, kw_only=True)
class Run(ABC):
    """One run of the pipeline.

    Attributes:
        request: The folder, and how to index it.
        counters: Progress.
        should_stop: Returns whether to stop at the next batch.
        changes: Compare only these paths; `None` compares the whole folder.
        known: The difference that an earlier run found and left to this one, which then does not walk the tree.
        unread: The files that have not been read yet.
        late: The files that a synchronization had no time for; they are read after all others.
        ignored: The existing files among the changed paths that the rules leave out; some may be missing.
    """

    request: IndexRequest
    counters: Counters
    should_stop: Callable[[], bool]
    changes: TreeChanges | None = None
    known: Difference | None = None
    unread: list[FileStat] = field(default_factory=list)
    late: list[FileStat] = field(default_factory=list)
    ignored: set[bytes] = field(default_factory=set)

    @abstractmethod
    def slices(self, changed: Sequence[FileStat]) -> Iterator[Sequence[FileStat]]:
        """Yield the changed files in portions; the reader puts those that it does not read into `unread`."""

    @abstractmethod
    def should_yield(self, file: FileStat) -> bool:
        """Return whether other work is more urgent than reading a file."""


@dataclass(slots=True, kw_only=True)
class JobRun(Run):
    """A run of a job: reads every changed file, and synchronizes changes of the tree between two slices.

    Attributes:
        sync: Synchronizes waiting changes of the tree.
        has_sync_request: Returns whether such changes wait.
    """

    sync: Callable[[], object] = lambda: None
    has_sync_request: Callable[[], bool] = lambda: False

    def slices(self, changed: Sequence[FileStat]) -> Iterator[Sequence[FileStat]]:
        """Yield ordinary files first, then longer ones, until all have been read."""
        self.counters.phase = "chunking"
        ordinary, longer = split_by_length(changed)
        self.unread = ordinary + longer
        while self.unread:
            part, self.unread = self.unread[:SLICE_FILES], self.unread[SLICE_FILES:]
            yield part
            self.sync()

    def should_yield(self, file: FileStat) -> bool:
        """Return whether a change of the tree waits."""
        return self.has_sync_request()


@dataclass(slots=True, kw_only=True)
class SyncRun(Run):
    """A run that synchronizes changes of the tree: short, so that a query can wait for it.

    After it, `unread` contains the files that need a job.

    Attributes:
        is_partial: Too many files changed, and one of those modified last has been read: each other one may have to
            wait.
    """

    is_partial: bool = False

    def slices(self, changed: Sequence[FileStat]) -> Iterator[Sequence[FileStat]]:
        """Yield ordinary files, then longer ones; if there are too many, only those that were modified last."""
        ordinary, longer = split_by_length(changed)
        if len(changed) <= MAX_SYNC_FILES:
            yield ordinary
            yield longer
            self.late, self.unread = self.unread, []
            return
        newest = sorted(ordinary, key=lambda file: file.mtime_ns, reverse=True)[:MAX_FIRST_FILES]
        until = time.monotonic() + MAX_SLICE_S
        read: set[FileStat] = set()
        for file in newest:
            if time.monotonic() > until:
                break
            yield [file]  # one by one, so that the first one is read completely, also by a reader that is starting
            read.add(file)
            self.is_partial = True
        self.unread = [file for file in changed if file not in read]

    def should_yield(self, file: FileStat) -> bool:
        """Return whether reading a file may be given up because it takes too long."""
        return self.is_partial or file.size > ORDINARY_BYTES


def split_by_length(files: Sequence[FileStat]) -> tuple[list[FileStat], list[FileStat]]:
    """Return the files of at most `ORDINARY_BYTES`, and the longer ones."""
    ordinary = [file for file in files if file.size <= ORDINARY_BYTES]
    return ordinary, [file for file in files if file.size > ORDINARY_BYTES]
