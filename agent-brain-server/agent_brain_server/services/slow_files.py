"""Read slow files after all others, and remember content that exceeds a limit.

A file that may exceed a limit must not delay others. It is read alone when no job waits, and interrupted when one is
submitted. Content that exceeded a limit is remembered by its hash, and only cut by lines from then on.
"""

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from agent_brain_server.indexing.worker.client import (
    ChunkOptions,
    DeathReason,
    InterruptedReadError,
    ReadOutcome,
    ReadRequest,
    WorkerClient,
)
from agent_brain_server.services.runs import Counters
from agent_brain_server.storage.document_store import LIMITED_CONTENTS_META, DocumentStore
from agent_brain_server.support.limits import FIRST_TRY_CPU_S, FULL_CPU_S, LIMITS_VERSION
from agent_brain_server.types import FileStat, LimitReason, Skip

logger = logging.getLogger(__name__)

LARGE_FILE_BYTES = 256 * 1024
"""Longer files are read after all others."""

MAX_REMEMBERED = 2_000
"""Remembered contents that exceeded a limit; the oldest is dropped, and parsed again."""

MAX_CRASHES = 2
"""Crashes of the reader on one file; the first may be due to a lack of memory, or to a kill by the user."""

MAX_INTERRUPTIONS = 3
"""Times that reading a file is interrupted for other work; then it is read completely, for at most `FULL_CPU_S`."""


def is_suspect(file: FileStat) -> bool:
    """Return whether a file is likely to be slow, so that it is not read with the others."""
    return file.size > LARGE_FILE_BYTES or file.path.lower().endswith(".pdf")


class LimitedContents:
    """Hashes of contents that exceeded a limit, in the document store. For one thread at a time."""

    def __init__(self, documents: DocumentStore) -> None:
        self._documents = documents
        self._by_hash: dict[str, tuple[int, LimitReason]] = self._load()

    def find(self, size: int) -> Mapping[str, LimitReason]:
        """Return the remembered hashes of contents of a size, each with the limit that it exceeded."""
        return {content: reason for content, (known, reason) in self._by_hash.items() if known == size}

    def remember(self, content_hash: str, size: int, reason: LimitReason) -> None:
        """Record that a content exceeded a limit."""
        self._by_hash[content_hash] = (size, reason)
        while len(self._by_hash) > MAX_REMEMBERED:
            del self._by_hash[next(iter(self._by_hash))]
        document = json.dumps({"version": LIMITS_VERSION, "contents": self._by_hash})
        self._documents.set_meta(LIMITED_CONTENTS_META, document)

    def forget(self) -> None:
        """Delete all hashes, so that all files are parsed again."""
        if self._by_hash:
            self._by_hash.clear()
            self._documents.set_meta(LIMITED_CONTENTS_META, None)

    def _load(self) -> dict[str, tuple[int, LimitReason]]:
        try:
            document = json.loads(self._documents.get_meta(LIMITED_CONTENTS_META) or "{}")
            if document.get("version") != LIMITS_VERSION:
                return {}
            return {str(content): (int(size), reason) for content, (size, reason) in document["contents"].items()}
        except (ValueError, TypeError, KeyError, AttributeError):  # damaged: the contents are parsed again
            return {}


@dataclass(slots=True, eq=False)
class SlowFile:
    """A file that waits to be read alone.

    Attributes:
        file: As of the last walk.
        options: Chunk sizes of the run that found it.
        counters: Progress of that run.
        crashes: How often the reader crashed on it.
        interruptions: How often reading it was interrupted for other work.
    """

    file: FileStat
    options: ChunkOptions
    counters: Counters
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

    def add(
        self, file: FileStat, options: ChunkOptions, counters: Counters, failure: DeathReason | None = None
    ) -> None:
        """Queue a file, and mark it `pending`.

        Args:
            file: The file.
            options: Chunk sizes.
            counters: Progress of the run that found it.
            failure: Why it could not be read with the others; `None` if it was not tried.
        """
        known = self._waiting.get(file.path)
        if known is not None and known.file == file and known.options == options:
            return
        crashes = int(failure is not None and failure != "cpu_limit")
        self._waiting[file.path] = SlowFile(file, options, counters, crashes)
        self._documents.mark_pending([file.path])

    def discard(self, paths: Iterable[str]) -> None:
        """Remove files from the queue."""
        for path in paths:
            self._waiting.pop(path, None)

    def drop_cancelled(self) -> None:
        """Remove the files of cancelled jobs; they stay `pending` for the next job."""
        self._waiting = {path: slow for path, slow in self._waiting.items() if not slow.counters.cancelled.is_set()}

    def make_request(self, file: FileStat) -> ReadRequest:
        """Return the request to read a file with the others."""
        return ReadRequest(file, FIRST_TRY_CPU_S, known_limits=self.limited.find(file.size))

    def read(self, should_pause: Callable[[], bool]) -> Iterator[tuple[Counters, ReadOutcome]]:
        """Read the queued files, smallest first, until none is left or `should_pause` returns `True`.

        `should_pause` may queue and discard files. What was read of a file that changed meanwhile is dropped.
        """
        while self._waiting and not should_pause():
            slow = min(self._waiting.values(), key=lambda waiting: (waiting.crashes, waiting.file.size))
            try:
                outcome = self._read_one(slow, should_pause)
            except InterruptedReadError:
                slow.interruptions += 1
                return
            if outcome is not None and self._waiting.get(slow.file.path) is slow:
                del self._waiting[slow.file.path]
                yield slow.counters, outcome
        if not self._waiting:
            self._worker.release("slow_reader")

    def _read_one(self, slow: SlowFile, should_pause: Callable[[], bool]) -> ReadOutcome | None:
        """Read one file; return `None` if it has to be tried again."""
        request = ReadRequest(slow.file, FULL_CPU_S, known_limits=self.limited.find(slow.file.size))
        may_interrupt = slow.interruptions < MAX_INTERRUPTIONS
        outcome = self._ask(request, slow.options, lambda: should_pause() and may_interrupt)
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
        """Read a file that exceeds a limit without parsing it; if that fails too, skip it until it changes."""
        file = slow.file
        logger.warning("%s exceeds a limit (%s): cut by lines until it changes", file.path, reason)
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
