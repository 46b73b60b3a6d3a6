"""A request to bring the index in step with changes of the tree, and its outcome."""

import threading
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class TreeChanges:
    """What may have changed.

    Attributes:
        paths: Files and directories relative to the root; a directory stands for everything below it.
        everything: Compare every file, not only these.
        polled: Of the paths, directories of which only a comparison can tell whether anything changed. Files elsewhere
            in `paths` were written to, whatever their size and modification time say.
    """

    paths: frozenset[bytes]
    everything: bool = False
    polled: frozenset[bytes] = frozenset()


@dataclass(slots=True)
class SyncOutcome:
    """What became of the changes.

    Attributes:
        ignored: Files that exist and that no indexed folder wants, by the rules in force.
        sizes: The files that were read, with their sizes in bytes.
        jobs: Ids of the jobs that do the work, if there is more of it than fits between two queries.
        slow: The files that are read after all others, since they are large or took too long; still pending.
        has_changed: Whether the index changed.
    """

    ignored: set[bytes] = field(default_factory=set)
    sizes: list[tuple[bytes, int]] = field(default_factory=list)
    jobs: list[str] = field(default_factory=list)
    slow: set[bytes] = field(default_factory=set)
    has_changed: bool = False


class SyncSlot:
    """Hands one request at a time from the watcher's thread to the indexing thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._request: TreeChanges | None = None
        self._is_running = False
        self._outcome: SyncOutcome | None = None
        self._done = threading.Event()

    def put(self, changes: TreeChanges) -> None:
        """Offer a request; the previous one has ended."""
        with self._lock:
            self._done.clear()
            self._outcome = None
            self._request = changes

    def take(self) -> TreeChanges | None:
        """Begin the request that waits, if one does."""
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
        """Take back a request that has not begun."""
        with self._lock:
            self._request = None

    def wait(self, timeout_s: float) -> bool:
        """Wait for the end of the request; return whether it has ended."""
        return self._done.wait(timeout_s)

    @property
    def outcome(self) -> SyncOutcome | None:
        """The outcome of the request that ended last; `None` if it failed."""
        return self._outcome

    def has_request(self) -> bool:
        """Whether a request waits to be begun."""
        return self._request is not None

    def is_busy(self) -> bool:
        """Whether a request waits or runs."""
        return self._is_running or self._request is not None
