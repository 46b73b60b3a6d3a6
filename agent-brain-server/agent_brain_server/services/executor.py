"""A thread that a question may borrow, so that it is looked up by words and by meaning at once."""

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class SideThread:
    """One thread, lent to one caller at a time; made when it is first needed.

    Several questions at once keep the cores busy by themselves: with a second thread for each, more threads wait for
    the interpreter lock, and fewer questions are answered.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "side")
        self._lent = threading.Lock()

    def try_submit(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T] | None:
        """Begin some work in the caller's context; None where the thread is at work for another caller."""
        if not self._lent.acquire(blocking=False):
            return None
        context = contextvars.copy_context()

        def run() -> T:
            try:
                return context.run(work, *args, **kwargs)
            finally:
                self._lent.release()

        try:
            return self._pool.submit(run)
        except BaseException:
            self._lent.release()
            raise
