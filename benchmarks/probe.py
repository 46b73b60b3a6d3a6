"""Call a function repeatedly during other work."""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self


class Probe:
    """Calls a function at intervals from a thread during a `with` block.

    Args:
        sample: Called without arguments; what it returns is kept.
        interval: Seconds between the end of one call and the start of the next.

    Attributes:
        samples: What the calls returned, in order.
    """

    def __init__(self, sample: Callable[[], float], interval: float) -> None:
        self.samples: list[float] = []
        self._sample = sample
        self._interval = interval
        self._ended = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        if self._error is not None and error is None:
            raise self._error

    def _run(self) -> None:
        try:
            while not self._ended.wait(self._interval):
                self.samples.append(self._sample())
        except Exception as error:  # noqa: BLE001 -- end of a thread: raised again at the end of the block
            self._error = error
