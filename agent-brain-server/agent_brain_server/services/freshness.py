"""What is known to have changed and is not in the index yet, and the barrier that lets a query wait for it.

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

NOISY_GAP_S = 0.5  # shorter than between two saves of a person
NOISY_INTERVAL_S = 2.0
"""A growing file is indexed this often, so that it does not hold up the saves beside it."""

LARGE_BYTES = 100_000
LARGE_INTERVAL_S = 10.0
"""A growing file of at least `LARGE_BYTES` is indexed this often; a query does not wait for it, but counts it."""

MAX_TRACKED_FILES = 1_000


@dataclass(frozen=True, slots=True)
class WatchReport:
    """How the tree is followed.

    Attributes:
        state: `on`; `partial` if some directories can only be compared every few seconds; `off` by the settings.
        directories: Number of watched directories.
        unwatched: Directories that cannot be watched, relative to the root, each with the reason.
        recrawls: How often events were lost, so that every file was compared again.
        last_recrawl: Why that happened last.
    """

    state: WatchState = "off"
    directories: int = 0
    unwatched: Mapping[str, str] = field(default_factory=dict)
    recrawls: int = 0
    last_recrawl: str | None = None


class ChangeSource(Protocol):
    """What a query asks about the changes of the tree."""

    def barrier(self, *, may_wait: bool) -> "Barrier":
        """Return a barrier behind every change made before this call; `may_wait`: the caller will wait for it."""

    def is_rechecking(self) -> bool:
        """Whether every file is being compared, so that the count of pending files is a lower bound."""

    def count_unread(self) -> int:
        """Return how many changed files a running job has not read yet."""

    def report(self) -> WatchReport:
        """Return how the tree is followed now."""


class Unwatched:
    """The changes of a tree that is not watched, by the settings: none is known."""

    def __init__(self, count_unread: Callable[[], int]) -> None:
        self._log = ChangeLog()
        self.count_unread = count_unread

    def barrier(self, *, may_wait: bool) -> "Barrier":
        """Return a barrier that is met."""
        return self._log.barrier()

    def is_rechecking(self) -> bool:
        """Return `False`: nothing is compared unless a job asks for it."""
        return False

    def report(self) -> WatchReport:
        """Return that the tree is not followed."""
        return WatchReport()


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Changes that are indexed together.

    Attributes:
        paths: Files and directories relative to the root, each with its sequence number.
        recheck: Sequence number of a request to compare every file, or `None`.
        rescan: Whether the watched directories are to be computed again.
    """

    paths: dict[bytes, int]
    recheck: int | None
    rescan: bool


class ChangeLog:
    """The outstanding changes of one project. Safe from any thread.

    `on_wanted` is called when a query begins to wait: what would be put off otherwise is due now.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sequence = 0
        self._waiting: dict[bytes, int] = {}
        self._running: list[Batch] = []
        self._recheck: int | None = None
        self._rescan = False
        self._noise = _Noise()
        self._barriers: list[Barrier] = []
        self.on_wanted: Callable[[], object] = lambda: None

    def note(self, paths: Iterable[bytes], *, recheck: bool = False, rescan: bool = False) -> None:
        """Record changes."""
        with self._lock:
            self._sequence += 1
            for path in paths:
                self._waiting.setdefault(path, self._sequence)
            if recheck and self._recheck is None:
                self._recheck = self._sequence
            self._rescan |= rescan

    def barrier(self) -> "Barrier":
        """Return a barrier behind every change recorded so far."""
        with self._lock:
            return Barrier(self, self._sequence)

    def has_waiting(self) -> bool:
        """Whether a change waits to be indexed, growing files aside."""
        with self._lock:
            return self._recheck is not None or any(map(self._is_due, self._waiting))

    def next_due_s(self) -> float | None:
        """Return the seconds until a growing file is due, or `None` if none waits."""
        with self._lock:
            delays = [delay for path in self._waiting if (delay := self._noise.delay_s(path, urgent=False)) > 0]
            return min(delays, default=None)

    def take(self) -> Batch:
        """Begin to index what is due."""
        with self._lock:
            due = {path: number for path, number in self._waiting.items() if self._is_due(path)}
            for path in due:
                del self._waiting[path]
            batch = Batch(due, self._recheck, self._rescan)
            self._recheck, self._rescan = None, False
            self._running.append(batch)
            return batch

    def finish(
        self, batch: Batch, sizes: Iterable[tuple[bytes, int]] = (), *, unfinished: Iterable[bytes] = ()
    ) -> Batch | None:
        """Record that a batch is in the index.

        Args:
            batch: As it was taken, or one that was made without being noted.
            sizes: The files that were read, with their sizes in bytes.
            unfinished: Files that were found in the batch and are not in the index yet.

        Returns:
            The batch of the unfinished files, to be finished later; `None` if there are none.
        """
        with self._lock:
            number = min([*batch.paths.values(), *([batch.recheck] if batch.recheck else [])], default=0)
            rest = Batch({path: batch.paths.get(path, number) for path in unfinished}, None, rescan=False)
            if self._drop(batch) and rest.paths:
                self._running.append(rest)
            self._noise.count(sizes)
            met = self._pop_met()
        for barrier in met:
            barrier.release()
        return rest if rest.paths else None

    def fail(self, batch: Batch) -> None:
        """Record that a batch is not in the index: its changes wait again, under their old numbers."""
        with self._lock:
            if self._drop(batch):
                self._waiting = {**self._waiting, **batch.paths}
                self._recheck = self._recheck if batch.recheck is None else batch.recheck
                self._rescan |= batch.rescan

    def count(self, sequence: int) -> int:
        """Return how many changes up to a number are outstanding; a request to compare every file counts as one."""
        with self._lock:
            paths = {path: number for batch in self._running for path, number in batch.paths.items()}
            for path, number in self._waiting.items():
                paths[path] = min(number, paths.get(path, number))
            is_rechecking = any(number <= sequence for number in self._rechecks())
            return sum(number <= sequence for number in paths.values()) + is_rechecking

    def is_rechecking(self) -> bool:
        """Whether every file is being compared or is to be, so that counts are lower bounds."""
        with self._lock:
            return bool(self._rechecks())

    def is_wanted(self) -> bool:
        """Whether a query waits for a change."""
        return bool(self._barriers)

    def is_met(self, barrier: "Barrier") -> bool:
        """Whether nothing that a query waits for is outstanding."""
        with self._lock:
            return self._is_met(barrier.sequence)

    def add(self, barrier: "Barrier") -> bool:
        """Release a barrier when it is met; returns `False` if it is met now."""
        with self._lock:
            if self._is_met(barrier.sequence):
                return False
            self._barriers.append(barrier)
        self.on_wanted()
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

    def _drop(self, batch: Batch) -> bool:
        if batch not in self._running:
            return False
        self._running.remove(batch)
        return True

    def _is_due(self, path: bytes) -> bool:
        return self._noise.delay_s(path, urgent=bool(self._barriers)) <= 0


class Barrier:
    """The changes that a query must include or count."""

    def __init__(self, log: ChangeLog, sequence: int) -> None:
        self._log = log
        self.sequence = sequence
        self._on_release: Callable[[], object] = lambda: None

    def is_met(self) -> bool:
        """Whether every change before the query is in the index, except for large growing files."""
        return self._log.is_met(self)

    def count_pending(self) -> int:
        """Return how many changes before the query are not in the index."""
        return self._log.count(self.sequence)

    def wait(self, timeout_s: float) -> None:
        """Wait until it is met, or until the time is over."""
        met = threading.Event()
        if self.on_met(met.set):
            met.wait(timeout_s)
            self.cancel()

    def on_met(self, callback: Callable[[], object]) -> bool:
        """Call `callback` from another thread once it is met; returns `False`, without a call, if it is met now."""
        self._on_release = callback
        return self._log.add(self)

    def cancel(self) -> None:
        """Stop waiting."""
        self._log.discard(self)

    def release(self) -> None:
        """Notify the waiter that it is met."""
        self._on_release()


class _Noise:
    """Which files are indexed again and again, as a log is that another program writes."""

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
        """Return the seconds for which a file is left alone; 0 or less if it is due."""
        if path not in self._files or (urgent and not self.is_large(path)):
            return 0.0
        return self._files[path][1] + self._interval_s(path) - time.monotonic()

    def _interval_s(self, path: bytes) -> float:
        times, _, size = self._files.get(path, (0, 0.0, 0))
        if times <= NOISY_SYNCS:
            return 0.0
        return LARGE_INTERVAL_S if size >= LARGE_BYTES else NOISY_INTERVAL_S
