"""Is the server in use? What decides whether an agent's server may end by itself."""

import time
from collections.abc import Callable


class Activity:
    """Remembers the last request and asks whether work is running.

    Args:
        is_working: True while a job is queued or runs.
    """

    def __init__(self, is_working: Callable[[], bool] = lambda: False) -> None:
        self._is_working = is_working
        self.last_active = time.monotonic()

    def touch(self) -> None:
        """Note a request."""
        self.last_active = time.monotonic()

    def busy(self) -> bool:
        """True while a job is queued or runs."""
        return self._is_working()

    def watch(self, is_working: Callable[[], bool]) -> None:
        """Ask `is_working` from now on: the services exist only after the application has started."""
        self._is_working = is_working

    def measure_idle_seconds(self) -> float:
        """Return the seconds since the last request, or since work last ran."""
        if self.busy():
            self.touch()
        return time.monotonic() - self.last_active
