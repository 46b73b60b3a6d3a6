"""Outstanding changes of a tree, and the barrier with which a query waits for them to be indexed.

Every change gets a sequence number when its event is read. A query reads all events that were queued before it, takes
the newest number, and is fresh once no change up to that number is outstanding. A change stays outstanding until the
run that indexes it has committed the keyword index.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from agent_brain_server.models.query import WatchState

NOISY_SYNCS = 10
"""A file that was indexed this often without a pause of `NOISY_GAP_S` is treated as a growing log."""

NOISY_GAP_S = 0.5  # shorter than the time between two saves by a user
NOISY_INTERVAL_S = 2.0
"""Interval at which a growing file is indexed, so that it does not delay other files."""

LARGE_BYTES = 100_000
LARGE_INTERVAL_S = 10.0
"""Interval for a growing file of at least `LARGE_BYTES`. A query does not wait for it, but counts it."""

MAX_TRACKED_FILES = 1_000


@dataclass(frozen=True, slots=True)
class WatchReport:
    """Report on how the tree is watched.

    Attributes:
        state: `on`; `partial` if some directories can only be compared every few seconds; `off` by the settings.
        directories: Number of watched directories.
        unwatched: Directories that cannot be watched, relative to the root, each with the reason.
        recrawls: How often events were lost, so that every file was compared again.
        last_recrawl: Reason of the last recrawl.
    """

    state: WatchState = "off"
    directories: int = 0
    unwatched: Mapping[str, str] = field(default_factory=dict)
    recrawls: int = 0
    last_recrawl: str | None = None


class ChangeSource(Protocol):
    """Reports changes of the tree to queries."""

    def barrier(self, *, may_wait: bool) -> "Barrier":
        """Return a barrier after every change made before this call; `may_wait`: the caller will wait for it."""

    def is_rechecking(self) -> bool:
        """Return whether every file is being compared, so that the count of pending files is a lower bound."""

    def report(self) -> WatchReport:
        """Return how the tree is watched."""


class Unwatched:
    """The change source of a tree that is not watched: it reports no change."""

    def __init__(self) -> None:
        self._log = ChangeLog()

    def barrier(self, *, may_wait: bool) -> "Barrier":
        """Return a barrier that is met."""
        return self._log.barrier()

    def is_rechecking(self) -> bool:
        """Return `False`: files are only compared by jobs."""
        return False

    def report(self) -> WatchReport:
        """Return that the tree is not watched."""
        return WatchReport()


@dataclass(frozen=True, slots=True, eq=False)
class ChangeBatch:
    """Changes that are indexed together.

    Attributes:
        paths: Files and directories relative to the root, each with its sequence number.
        recheck: Sequence number of a request to compare every file, or `None`.
        rescan: Whether to compute the set of watched directories again.
    """

    paths: dict[bytes, int]
    recheck: int | None
    rescan: bool


class ChangeLog:
    """The outstanding changes of one project. Safe from any thread.

    `on_waiter` is called when a query starts to wait, which makes postponed changes due.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sequence = 0
        self._waiting: dict[bytes, int] = {}
        self._running: list[ChangeBatch] = []
        self._recheck: int | None = None
        self._rescan = False
        self._noise = _Noise()
        self._barriers: list[Barrier] = []
        self.on_waiter: Callable[[], object] = lambda: None

    def record(self, paths: Iterable[bytes], *, recheck: bool = False, rescan: bool = False) -> None:
        """Record changes."""
        with self._lock:
            self._sequence += 1
            for path in paths:
                self._waiting.setdefault(path, self._sequence)
            if recheck and self._recheck is None:
                self._recheck = self._sequence
            self._rescan |= rescan

    def barrier(self) -> "Barrier":
        """Return a barrier after every change recorded so far."""
        with self._lock:
            return Barrier(self, self._sequence)

    def has_waiting(self) -> bool:
        """Return whether a change is due; growing files are not due before their interval has passed."""
        with self._lock:
            return self._recheck is not None or any(map(self._is_due, self._waiting))

    def next_due_s(self) -> float | None:
        """Return the seconds until a growing file is due, or `None` if none waits."""
        with self._lock:
            delays = [delay for path in self._waiting if (delay := self._noise.delay_s(path, urgent=False)) > 0]
            return min(delays, default=None)

    def take(self) -> ChangeBatch:
        """Return the changes that are due, and start to index them."""
        with self._lock:
            due = {path: number for path, number in self._waiting.items() if self._is_due(path)}
            for path in due:
                del self._waiting[path]
            batch = ChangeBatch(due, self._recheck, self._rescan)
            self._recheck, self._rescan = None, False
            self._running.append(batch)
            return batch

    def finish(
        self, batch: ChangeBatch, sizes: Iterable[tuple[bytes, int]] = (), *, unfinished: Iterable[bytes] = ()
    ) -> ChangeBatch | None:
        """Record that a batch is in the index.

        Args:
            batch: A batch from `take`, or one that the caller made without recording it.
            sizes: The files that were read, with their sizes in bytes.
            unfinished: Files of the batch that are not in the index yet.

        Returns:
            The batch of the unfinished files, to be finished later; `None` if there are none.
        """
        with self._lock:
            number = min([*batch.paths.values(), *([batch.recheck] if batch.recheck else [])], default=0)
            rest = ChangeBatch({path: batch.paths.get(path, number) for path in unfinished}, None, rescan=False)
            if self._drop(batch) and rest.paths:
                self._running.append(rest)
            self._noise.count(sizes)
            met = self._pop_met()
        for barrier in met:
            barrier.release()
        return rest if rest.paths else None

    def fail(self, batch: ChangeBatch) -> None:
        """Record that a batch could not be indexed: its changes wait again, with their old numbers."""
        with self._lock:
            if self._drop(batch):
                self._waiting = {**self._waiting, **batch.paths}
                self._recheck = self._recheck if batch.recheck is None else batch.recheck
                self._rescan |= batch.rescan

    def count(self, sequence: int) -> int:
        """Return the number of outstanding changes up to a sequence number; a recheck counts as one."""
        with self._lock:
            paths = {path: number for batch in self._running for path, number in batch.paths.items()}
            for path, number in self._waiting.items():
                paths[path] = min(number, paths.get(path, number))
            is_rechecking = any(number <= sequence for number in self._rechecks())
            return sum(number <= sequence for number in paths.values()) + is_rechecking

    def is_rechecking(self) -> bool:
        """Return whether a recheck runs or waits, so that counts are lower bounds."""
        with self._lock:
            return bool(self._rechecks())

    def has_waiters(self) -> bool:
        """Return whether a query waits for a change."""
        return bool(self._barriers)

    def is_met(self, barrier: "Barrier") -> bool:
        """Return whether no change that the barrier waits for is outstanding."""
        with self._lock:
            return self._is_met(barrier.sequence)

    def add(self, barrier: "Barrier") -> bool:
        """Release a barrier when it is met; return `False` if it is met already."""
        with self._lock:
            if self._is_met(barrier.sequence):
                return False
            self._barriers.append(barrier)
        self.on_waiter()
        return True

    def discard(self, barrier: "Barrier") -> None:
        """Stop waiting."""
        with self._lock:
            if barrier in self._barriers:
                self._barriers.remove(barrier)

    def _pop_met(self) -> list["Barrier"]:
        met = [barrier for barrier in self._barriers if self._is_met(barrier.sequence)]
        self._barriers = [barrier for barrier in self._barriers if barrier not in met]
        return met

    def _is_met(self, sequence: int) -> bool:
        outstanding = [
            *(number for path, number in self._waiting.items() if not self._noise.is_large(path)),
            *(number for batch in self._running for number in batch.paths.values()),
            *self._rechecks(),
        ]
        return all(number > sequence for number in outstanding)

    def _rechecks(self) -> list[int]:
        numbers = [self._recheck, *(batch.recheck for batch in self._running)]
        return [number for number in numbers if number is not None]

    def _drop(self, batch: ChangeBatch) -> bool:
        if batch not in self._running:
            return False
        self._running.remove(batch)
        return True

    def _is_due(self, path: bytes) -> bool:
        return self._noise.delay_s(path, urgent=bool(self._barriers)) <= 0


class Barrier:
    """All changes up to a sequence number, which a query must include or count."""

    def __init__(self, log: ChangeLog, sequence: int) -> None:
        self._log = log
        self.sequence = sequence
        self._on_release: Callable[[], object] = lambda: None

    def is_met(self) -> bool:
        """Return whether every change before the query is in the index, except for large growing files."""
        return self._log.is_met(self)

    def count_pending(self) -> int:
        """Return the number of changes before the query that are not in the index."""
        return self._log.count(self.sequence)

    def wait(self, timeout_s: float) -> None:
        """Wait until the barrier is met, or until the time is over."""
        met = threading.Event()
        if self.on_met(met.set):
            met.wait(timeout_s)
            self.cancel()

    def on_met(self, callback: Callable[[], object]) -> bool:
        """Call `callback` from another thread when the barrier is met.

        Returns:
            `False`, without a call, if it is met already.
        """
        self._on_release = callback
        return self._log.add(self)

    def cancel(self) -> None:
        """Stop waiting."""
        self._log.discard(self)

    def release(self) -> None:
        """Notify the waiter that the barrier is met."""
        self._on_release()


class _Noise:
    """Tracks files that are indexed again and again, such as a log that another program writes."""

    def __init__(self) -> None:
        self._files: dict[bytes, tuple[int, float, int]] = {}

    def count(self, sizes: Iterable[tuple[bytes, int]]) -> None:
        now = time.monotonic()
        for path, size in sizes:
            times, last, _ = self._files.get(path, (0, now, 0))
            interval = self._interval_s(path)
            self._files[path] = (times + 1 if now - last < NOISY_GAP_S + interval else 1, now, size)
        if len(self._files) > MAX_TRACKED_FILES:
            self._files = {path: seen for path, seen in self._files.items() if now - seen[1] < LARGE_INTERVAL_S}

    def is_large(self, path: bytes) -> bool:
        times, _, size = self._files.get(path, (0, 0.0, 0))
        return times > NOISY_SYNCS and size >= LARGE_BYTES

    def delay_s(self, path: bytes, *, urgent: bool) -> float:
        """Return the seconds until a file is due; 0 or less if it is due now."""
        if path not in self._files or (urgent and not self.is_large(path)):
            return 0.0
        return self._files[path][1] + self._interval_s(path) - time.monotonic()

    def _interval_s(self, path: bytes) -> float:
        times, _, size = self._files.get(path, (0, 0.0, 0))
        if times <= NOISY_SYNCS:
            return 0.0
        return LARGE_INTERVAL_S if size >= LARGE_BYTES else NOISY_INTERVAL_S
