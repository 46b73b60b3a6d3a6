"""Whether the server is in use: decides when it may stop by itself and when it may be replaced."""

import contextlib
import time
from collections.abc import Callable, Iterator

OBSERVING_PATHS = frozenset({"/health", "/health/status", "/metrics", "/projects"})
"""Requests to these look at the server and do not use it: discovery, `status` and `start` send them."""


class Activity:
    """Records when requests arrive and asks whether work is running.

    Args:
        is_working: Returns whether a job is queued or running.
    """

    def __init__(self, is_working: Callable[[], bool] = lambda: False) -> None:
        self._is_working = is_working
        self._in_progress = 0
        self.last_active = time.monotonic()
        self.last_used = self.last_active

    def touch(self) -> None:
        """Record a request."""
        self.last_active = time.monotonic()

    @contextlib.contextmanager
    def track(self, path: str) -> Iterator[None]:
        """Record a request from its arrival to the end of its answer; called on the event loop.

        Args:
            path: The path of the request.
        """
        self.touch()
        if path in OBSERVING_PATHS:
            yield
            return
        self.last_used = self.last_active
        self._in_progress += 1
        try:
            yield
        finally:
            self._in_progress -= 1
            self.last_used = time.monotonic()

    def busy(self) -> bool:
        """Return whether a job is queued or running."""
        return self._is_working()

    def watch(self, is_working: Callable[[], bool]) -> None:
        """Set the function that tells whether work is running; the services exist only after startup."""
        self._is_working = is_working

    def measure_idle_seconds(self) -> float:
        """Return the seconds since the last request, or since work last ran."""
        if self.busy():
            self.touch()
        return time.monotonic() - self.last_active

    def measure_unused_seconds(self) -> float:
        """Return the seconds since the server last did something for a client; 0 while it does.

        Requests that only look at the server (`OBSERVING_PATHS`) do not count.
        """
        if self._in_progress or self.busy():
            return 0.0
        return time.monotonic() - self.last_used
