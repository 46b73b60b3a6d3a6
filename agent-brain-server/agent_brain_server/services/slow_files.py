"""Files that take long to read: they wait until all others are indexed, and what exceeds a limit is remembered.

A file that may exceed a limit must not delay others, so it is read when no job waits, alone, and is interrupted when
one comes. Content that exceeded a limit is remembered by its hash and only cut by lines from then on.
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from agent_brain_server.indexing.reading.limits import FIRST_TRY_CPU_S, FULL_CPU_S, LIMITS_VERSION
from agent_brain_server.indexing.worker.client import (
    ChunkOptions,
    DeathReason,
    InterruptedReadError,
    ReadOutcome,
    ReadRequest,
    WorkerClient,
)
from agent_brain_server.services.progress import Counters
from agent_brain_server.storage.document_store import DocumentStore
from agent_brain_server.storage.schema import LIMITED_CONTENTS_META
from agent_brain_server.types import FileStat, LimitReason, Skip

logger = logging.getLogger(__name__)

LARGE_FILE_BYTES = 256 * 1024
"""Bytes; files above this are read after all others."""

MAX_REMEMBERED = 2_000
"""Contents that exceeded a limit; the oldest is forgotten, and tried again."""

MAX_CRASHES = 2
"""Ends of the reader at one file; the first may be the system's lack of memory, or a user's kill."""

MAX_INTERRUPTIONS = 3
"""Times that reading a file is given up for another job; then it is read to the end, for at most `FULL_CPU_S`."""


def is_suspect(file: FileStat) -> bool:
    """Return whether a file is likely to take long, so that it is not tried among the others."""
    return file.size > LARGE_FILE_BYTES or file.path.lower().endswith(".pdf")


class LimitedContents:
    """Contents that exceeded a limit, by hash, kept in the document store. For one thread at a time."""

    def __init__(self, documents: DocumentStore) -> None:
        self._documents = documents
        self._by_hash: dict[str, tuple[int, LimitReason]] = self._load()

    def find(self, size: int) -> Mapping[str, LimitReason]:
        """Return the remembered contents of a size, with the limit that each exceeded."""
        return {content: reason for content, (known, reason) in self._by_hash.items() if known == size}

    def remember(self, content_hash: str, size: int, reason: LimitReason) -> None:
        """Remember that a content exceeded a limit."""
        self._by_hash[content_hash] = (size, reason)
        while len(self._by_hash) > MAX_REMEMBERED:
            del self._by_hash[next(iter(self._by_hash))]
        document = json.dumps({"version": LIMITS_VERSION, "contents": self._by_hash})
        self._documents.set_meta(LIMITED_CONTENTS_META, document)

    def forget(self) -> None:
        """Forget everything, so that all files are tried again."""
        if self._by_hash:
            self._by_hash.clear()
            self._documents.set_meta(LIMITED_CONTENTS_META, None)

    def _load(self) -> dict[str, tuple[int, LimitReason]]:
        try:
            document = json.loads(self._documents.get_meta(LIMITED_CONTENTS_META) or "{}")
            if document.get("version") != LIMITS_VERSION:
                return {}
            return {str(content): (int(size), reason) for content, (size, reason) in document["contents"].items()}
        except (ValueError, TypeError, KeyError, AttributeError):  # damaged; it is found out again
            return {}


@dataclass(slots=True, eq=False)
class SlowFile:
    """A file that waits to be read alone.

    Attributes:
        file: As walked last.
        options: Of the job that found it.
        job: Counts the file.
        crashes: How often the reader ended at it.
        interruptions: How often reading it was given up for another job.
    """

    file: FileStat
    options: ChunkOptions
    job: Counters
    crashes: int = 0
    interruptions: int = 0


class SlowFiles:
    """The queue of slow files of one project. For one thread at a time."""

    def __init__(self, project_root: Path, documents: DocumentStore, worker: WorkerClient) -> None:
        self._root = project_root
        self._documents = documents
        self._worker = worker
        self._waiting: dict[str, SlowFile] = {}
        self.limited = LimitedContents(documents)

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, path: str) -> bool:
        return path in self._waiting

    def add(self, file: FileStat, options: ChunkOptions, job: Counters, failure: DeathReason | None = None) -> None:
        """Queue a file; it counts as pending from now on.

        Args:
            file: As walked.
            options: How it is read and chunked.
            job: The job that found it.
            failure: Why it could not be read among the others, `None` if it was not tried.
        """
        known = self._waiting.get(file.path)
        if known is not None and known.file == file and known.options == options:
            return
        crashes = int(failure is not None and failure != "cpu_limit")
        self._waiting[file.path] = SlowFile(file, options, job, crashes)
        self._documents.mark_pending([file.path])

    def discard(self, paths: Iterator[str] | tuple[str, ...]) -> None:
        """Remove files that are gone."""
        for path in paths:
            self._waiting.pop(path, None)

    def drop_cancelled(self) -> None:
        """Remove the files of jobs that were cancelled; they stay pending for the next job."""
        self._waiting = {path: slow for path, slow in self._waiting.items() if not slow.job.cancelled.is_set()}

    def make_request(self, file: FileStat) -> ReadRequest:
        """Return the request that reads a file among others."""
        return ReadRequest(file, FIRST_TRY_CPU_S, known_limits=self.limited.find(file.size))

    def read(self, should_pause: Callable[[], bool]) -> Iterator[tuple[Counters, ReadOutcome]]:
        """Read waiting files, smallest first, until none is left or the caller has something else to do."""
        while self._waiting and not should_pause():
            slow = min(self._waiting.values(), key=lambda waiting: (waiting.crashes, waiting.file.size))
            try:
                outcome = self._read_one(slow, should_pause)
            except InterruptedReadError:
                slow.interruptions += 1
                return
            if outcome is not None:
                del self._waiting[slow.file.path]
                yield slow.job, outcome
        if not self._waiting:
            self._worker.release("slow_reader")

    def _read_one(self, slow: SlowFile, should_pause: Callable[[], bool]) -> ReadOutcome | None:
        """Read one file; `None` if it is to be tried again."""
        request = ReadRequest(slow.file, FULL_CPU_S, known_limits=self.limited.find(slow.file.size))
        may_interrupt = slow.interruptions < MAX_INTERRUPTIONS
        outcome = self._ask(request, slow.options, should_pause if may_interrupt else None)
        if outcome.failure is None:
            return outcome
        if outcome.failure != "cpu_limit":
            slow.crashes += 1
            if slow.crashes < MAX_CRASHES:
                return None
        if outcome.failure == "killed":
            return ReadOutcome(slow.file, skip=Skip(slow.file.path, "unreadable"))
        return self._cut_by_lines(slow, outcome.failure)

    def _cut_by_lines(self, slow: SlowFile, reason: LimitReason) -> ReadOutcome:
        """Read a file that exceeds a limit without parsing it; one that still fails is left out until it changes."""
        file = slow.file
        logger.warning("%s exceeds a limit (%s): it is only cut by lines until it changes", file.path, reason)
        outcome = self._ask(ReadRequest(file, FULL_CPU_S, by_lines=reason), slow.options, None)
        if outcome.failure is not None:
            return ReadOutcome(file, skip=Skip(file.path, reason))
        record = outcome.chunks.record if outcome.chunks else None
        if record is not None and (record.size, record.mtime_ns) == (file.size, file.mtime_ns):
            self.limited.remember(record.content_hash, record.size, reason)
        return outcome

    def _ask(self, request: ReadRequest, options: ChunkOptions, should_pause: Callable[[], bool] | None) -> ReadOutcome:
        (outcome,) = self._worker.read_files(self._root, [request], options, should_pause, "slow_reader")
        return outcome
