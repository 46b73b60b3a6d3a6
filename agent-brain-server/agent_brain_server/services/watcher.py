"""Watch the tree of a project, and synchronize the index with its changes.

An event is only a hint: the files that it names are compared with the index. After a start, an overflow of the event
queue, a changed ignore rule or an error, every file is compared. No error ends watching: the directories are listed
again and everything is compared again.
"""

import contextlib
import logging
import os
import select
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from agent_brain_server.lifecycle.log import project_id
from agent_brain_server.project_root import generate_project_id
from agent_brain_server.services.freshness import Barrier, ChangeBatch, ChangeLog, WatchReport
from agent_brain_server.services.jobs import JobQueue
from agent_brain_server.services.platform_watch import PlatformWatch
from agent_brain_server.services.runs import SyncOutcome, TreeChanges
from agent_brain_server.services.tree_watch import HAS_INOTIFY, ROOT, TreeWatch
from agent_brain_server.storage.document_store import DocumentStore

logger = logging.getLogger(__name__)

SETTLE_S = 0.05
"""A save by an editor causes several events within a few milliseconds; after this pause they are one change."""

MAX_DELAY_S = 0.4
"""Longest delay of a change in a constant stream of changes."""

FULL_CHECK_S = 300.0
"""Interval at which every file is compared, for changes that cause no event, such as writes through a mapping."""

POLL_S = 3.0
"""Interval at which directories that cannot be watched are compared."""

RETRY_S = 2.0
"""Pause after a failure, such as a full disk."""

MAX_RETRY_S = 10.0
"""Longest pause after repeated failures."""

STOP_LIMIT_S = 5.0

WAKEUP_BYTES = 4096

DELEGATED_CHECK_S = 0.05
"""Interval at which jobs and slow files of a batch are checked."""

MAX_PATHS = 200
"""With more changed paths than this, comparing every file costs less than passing the paths to git."""

MAX_IGNORED = 10_000
"""Ignored paths that are remembered, so that an ignored log causes no work."""


class Indexer(Protocol):
    """The part of the indexing service that the watcher uses."""

    @property
    def jobs(self) -> JobQueue:
        """The queue of jobs."""

    @property
    def rules_generation(self) -> int:
        """Increases when the rules about ignored files may have changed."""

    def sync(self, changes: TreeChanges, should_stop: Callable[[], bool]) -> SyncOutcome | None:
        """Synchronize the index with changes of the tree, and wait for the end; return `None` if that failed."""

    def is_slow(self, path: str) -> bool:
        """Return whether a file is waiting to be read after all others."""


class TreeWatcher:
    """Watch the tree of one project in a separate thread.

    Args:
        root: Canonical root of the project.
        documents: The indexed files; their directories are watched even if a rule ignores them.
        indexing: Compares and indexes changed files.
        is_excluded: Returns whether a directory, relative to the root, belongs to Agent Brain and is never watched.
    """

    def __init__(
        self,
        root: Path,
        documents: DocumentStore,
        indexing: Indexer,
        is_excluded: Callable[[bytes], bool],
    ) -> None:
        self._root = root
        self._documents = documents
        self._indexing = indexing
        self._watch = TreeWatch(root, is_excluded)
        self._log = ChangeLog()
        self._stopping = threading.Event()
        self._platform = None if HAS_INOTIFY else PlatformWatch(root, is_excluded, self._take_report)
        self._wakeup, self._wake_end = os.pipe()  # macOS has no eventfd
        os.set_blocking(self._wakeup, False)
        os.set_blocking(self._wake_end, False)
        self._drain_lock = threading.Lock()
        self._ignored: set[bytes] = set()
        self._rules_generation = -1
        self._delegated: list[tuple[ChangeBatch, list[str]]] = []
        self._log.on_waiter = self._wake
        self._compared_at = self._polled_at = time.monotonic()
        self._failures = 0
        self._recrawls = 0
        self._last_recrawl: str | None = None
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def start(self) -> None:
        """Start to watch; first, changes made while no server ran are compared."""
        self._log.record((), recheck=True, rescan=True)
        if self._platform is not None:
            self._platform.start()
        self._thread.start()

    def close(self) -> None:
        """Stop watching."""
        self._stopping.set()
        if self._platform is not None:
            self._platform.close()
        self._wake()
        if self._thread.is_alive():
            self._thread.join(STOP_LIMIT_S)
        if not self._thread.is_alive():  # otherwise the thread still polls the descriptors
            self._watch.close()
            os.close(self._wakeup)
            os.close(self._wake_end)

    def barrier(self, *, may_wait: bool) -> Barrier:
        """Return a barrier after every change made before this call.

        Args:
            may_wait: Whether the caller will wait; then directories that cannot be watched are compared.
        """
        self._drain()
        if may_wait and (polled := self._watch.polled()):
            self._log.record(polled)
        barrier = self._log.barrier()
        if not barrier.is_met():
            self._wake()
        return barrier

    def is_rechecking(self) -> bool:
        """Return whether every file is being compared, so that the count of pending files is a lower bound."""
        return self._log.is_rechecking()

    def report(self) -> WatchReport:
        """Return how the tree is watched."""
        unwatched = {os.fsdecode(path) or ".": reason for path, reason in self._watch.unwatched().items()}
        return WatchReport(
            "partial" if unwatched else "on", self._watch.count(), unwatched, self._recrawls, self._last_recrawl
        )

    def _run(self) -> None:
        project_id.set(generate_project_id(self._root))
        while not self._stopping.is_set():
            try:
                self._watch_tree()
            except Exception as error:  # noqa: BLE001 - boundary: no error may end watching
                self._count_recrawl(f"{type(error).__name__}: {error}", error)
                self._log.record((), recheck=True, rescan=True)
                self._stopping.wait(RETRY_S)

    def _watch_tree(self) -> None:
        while not self._stopping.is_set():
            self._drain()
            self._check_delegated()
            if not self._log.has_waiting():
                self._wait(self._idle_s())
                self._note_due_checks()
                continue
            self._settle()
            self._index(self._log.take())

    def _idle_s(self) -> float:
        now = time.monotonic()
        times = [self._compared_at + FULL_CHECK_S - now]
        if self._delegated:
            times.append(DELEGATED_CHECK_S)
        if self._watch.polled():
            times.append(self._polled_at + POLL_S - now)
        if (noisy := self._log.next_due_s()) is not None:
            times.append(noisy)
        return max(min(times), 0.0)

    def _note_due_checks(self) -> None:
        """Compare every file, or the unwatched directories, if their interval has passed."""
        now = time.monotonic()
        polled = self._watch.polled()
        if polled and now - self._polled_at >= POLL_S:
            self._index(ChangeBatch(dict.fromkeys(polled, 0), None, rescan=False))
            self._polled_at = time.monotonic()
        if now - self._compared_at >= FULL_CHECK_S:
            with self._drain_lock:
                self._forget_ignored()
            self._index(ChangeBatch({}, 0, rescan=True))

    def _settle(self) -> None:
        """Wait for the end of a burst of events, unless a query waits."""
        deadline = time.monotonic() + MAX_DELAY_S
        while not self._log.has_waiters() and time.monotonic() < deadline and not self._stopping.is_set():
            if not self._wait(SETTLE_S):
                return
            self._drain()

    def _wait(self, timeout_s: float) -> bool:
        """Wait for an event or a wake-up; return whether there was one."""
        poll = select.poll()
        poll.register(self._wakeup, select.POLLIN)
        if (fd := self._watch.fileno()) is not None:
            poll.register(fd, select.POLLIN)
        ready = poll.poll(timeout_s * 1000)
        if any(descriptor == self._wakeup for descriptor, _ in ready):
            with contextlib.suppress(BlockingIOError):
                os.read(self._wakeup, WAKEUP_BYTES)
        return bool(ready)

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # the pipe is full, so a wake-up is already pending
            os.write(self._wake_end, b"\0")

    def _take_report(self, paths: set[bytes], is_rule_changed: bool) -> None:
        """Record what the platform reports, except ignored files."""
        with self._drain_lock:
            if is_rule_changed or self._rules_generation != self._indexing.rules_generation:
                self._forget_ignored()
            known = {path for path in paths if path not in self._ignored}
        if known or is_rule_changed:
            self._log.record(known, recheck=is_rule_changed, rescan=is_rule_changed)
            self._wake()

    def _drain(self) -> None:
        """Read all queued events and record their changes, in the same order."""
        with self._drain_lock:
            events = self._watch.drain()
            if not events:
                return
            if self._rules_generation != self._indexing.rules_generation:
                self._forget_ignored()
            if events.recheck:
                self._forget_ignored()
            if events.is_recrawl:
                self._count_recrawl(str(events.recheck))
            paths = {path for path in events.paths if path not in self._ignored} | events.directories
            if not paths and not events.recheck:
                return
            self._log.record(paths, recheck=bool(events.recheck), rescan=events.rescan)
        self._wake()

    def _forget_ignored(self) -> None:
        self._rules_generation = self._indexing.rules_generation
        self._ignored = set()

    def _count_recrawl(self, reason: str, error: Exception | None = None) -> None:
        if reason != self._last_recrawl:  # a missing project root fails many times
            logger.warning("comparing the whole tree of %s again: %s", self._root, reason, exc_info=error)
        self._recrawls += 1
        self._last_recrawl = reason

    def _index(self, batch: ChangeBatch) -> None:
        """Synchronize a batch; if that fails it stays outstanding and is tried again."""
        everything = batch.recheck is not None or len(batch.paths) > MAX_PATHS or ROOT in batch.paths
        with self._drain_lock:
            ignored = self._ignored
        try:
            if batch.rescan or ROOT in batch.paths:
                self._watch.rescan(self._indexed_directories())
            self._watch.watch_below(sorted(self._existing_directories(batch)))
            polled = frozenset(self._watch.unwatched()) & batch.paths.keys()
            changes = TreeChanges(frozenset(batch.paths), everything=everything, polled=polled)
            outcome = self._indexing.sync(changes, self._stopping.is_set)
        except BaseException:
            self._log.fail(batch)
            raise
        if outcome is None:
            self._retry_later(batch)
            return
        if everything:
            self._compared_at = time.monotonic()
            # files in these directories may have changed before they were watched
            self._log.record(self._watch.watch_with_parents(self._indexed_directories()))
        with self._drain_lock:
            if ignored is self._ignored:  # no rule changed meanwhile
                self._ignored |= outcome.ignored if len(ignored) < MAX_IGNORED else set()
        if outcome.jobs:
            self._delegated.append((batch, outcome.jobs))
            return
        self._failures = 0
        slow = self._log.finish(batch, outcome.sizes, unfinished=outcome.slow)
        if slow is not None:
            self._delegated.append((slow, []))

    def _check_delegated(self) -> None:
        """Finish the batches whose jobs have ended, or whose slow files have been read."""
        for item in self._delegated.copy():
            batch, jobs = item
            is_slow = not jobs and any(self._indexing.is_slow(os.fsdecode(path)) for path in batch.paths)
            if is_slow or not all(map(self._indexing.jobs.is_settled, jobs)):
                continue
            self._delegated.remove(item)
            if all(map(self._indexing.jobs.is_indexed, jobs)):
                self._failures = 0
                self._log.finish(batch)
            else:
                self._retry_later(batch)

    def _retry_later(self, batch: ChangeBatch) -> None:
        """Queue a failed batch again, and pause, longer after each repeated failure."""
        self._log.fail(batch)
        self._failures += 1
        self._stopping.wait(min(RETRY_S * 2 ** (self._failures - 1), MAX_RETRY_S))

    def _existing_directories(self, batch: ChangeBatch) -> set[bytes]:
        base = os.fsencode(self._root)
        return {path for path in batch.paths if path and _is_directory(os.path.join(base, path))}

    def _indexed_directories(self) -> set[bytes]:
        return {os.path.dirname(os.fsencode(path)) for path in self._documents.file_records()}


def _is_directory(path: bytes) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)
