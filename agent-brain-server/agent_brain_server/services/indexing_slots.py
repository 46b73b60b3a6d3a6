"""How many projects are indexed at the same time, and whose turn is next."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from agent_brain_server.indexing.worker.client import Workers

MIN_TURN_S = 2.0
"""A turn lasts at least this long: each change of project ends the batches on their way and opens stores for it."""


@dataclass(slots=True, eq=False)
class Turn:
    """One project's claim to be indexed: it waits, then holds a slot.

    Attributes:
        nudge: Called, from any thread, when another project begins to wait while this one holds a slot.
        workers: The worker processes that came with the slot, and stay with it; `None` if there are none yet.
        began: When the slot was taken, in seconds of `time.monotonic`.
    """

    nudge: Callable[[], None]
    workers: Workers | None = None
    began: float = field(default=0.0)


class IndexingSlots:
    """Slots that projects take in turns: whoever waits longest is next, and goes to the end of the queue afterwards.

    Worker processes belong to a slot, so there are never more of a kind than slots.

    Args:
        limit: Projects that are indexed at the same time.
    """

    def __init__(self, limit: int) -> None:
        self._free: list[Workers | None] = [None] * limit
        self._waiting: deque[Turn] = deque()
        self._holding: list[Turn] = []
        self._changed = threading.Condition()

    def take(self, turn: Turn, is_stopping: Callable[[], bool]) -> bool:
        """Wait for a slot; False where `is_stopping` said so meanwhile, which `wake` makes it look at."""
        with self._changed:
            self._waiting.append(turn)
            holding = [] if self._can_begin(turn) else list(self._holding)
        for other in holding:
            other.nudge()
        with self._changed:
            try:
                while not self._can_begin(turn):
                    if is_stopping():
                        return False
                    self._changed.wait()
                turn.workers, turn.began = self._pop_free(), time.monotonic()
                self._holding.append(turn)
                return True
            finally:
                self._waiting.remove(turn)
                self._drop_unwanted_workers()
                self._changed.notify_all()

    def give_back(self, turn: Turn, workers: Workers | None) -> None:
        """Free the slot, with the workers that belong to it, if there are any."""
        with self._changed:
            turn.workers = None
            self._holding.remove(turn)
            self._free.append(workers)
            self._drop_unwanted_workers()
            self._changed.notify_all()

    def is_wanted(self) -> bool:
        """Whether a project waits for a slot."""
        return bool(self._waiting)

    def is_over(self, turn: Turn) -> bool:
        """Whether a project that could stop here should, since its turn has lasted and another one waits."""
        return self.is_wanted() and time.monotonic() - turn.began >= MIN_TURN_S

    def wake(self) -> None:
        """Let everybody who waits look whether it is still to wait."""
        with self._changed:
            self._changed.notify_all()

    def _pop_free(self) -> Workers | None:
        warm = next((place for place, workers in enumerate(self._free) if workers is not None), 0)
        return self._free.pop(warm)

    def _drop_unwanted_workers(self) -> None:
        # workers that no project is about to use would hold their memory for nothing
        if self._waiting:
            return
        for workers in self._free:
            if workers is not None:
                workers.end()
        self._free = [None] * len(self._free)

    def _can_begin(self, turn: Turn) -> bool:
        # those in front take what is free first
        return self._waiting.index(turn) < len(self._free)
