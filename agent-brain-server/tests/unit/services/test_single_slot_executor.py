"""Run one task at a time, in the context of its caller."""

import contextvars
import threading

import pytest

from agent_brain_server.services.query_service import SingleSlotExecutor

WAIT_LIMIT_S = 600.0

asked: contextvars.ContextVar[str] = contextvars.ContextVar("asked")


def test_try_submit_runs_in_a_thread_with_callers_context() -> None:
    asked.set("a query")
    work = SingleSlotExecutor().try_submit(lambda: (threading.get_ident(), asked.get()))
    assert work is not None
    thread, context = work.result(WAIT_LIMIT_S)
    assert thread != threading.get_ident()
    assert context == "a query"


def test_try_submit_returns_none_while_a_task_runs() -> None:
    side, may_end = SingleSlotExecutor(), threading.Event()
    first = side.try_submit(may_end.wait, WAIT_LIMIT_S)
    assert side.try_submit(int) is None
    may_end.set()
    assert first is not None
    assert first.result(WAIT_LIMIT_S)
    second = side.try_submit(int)
    assert second is not None
    assert second.result(WAIT_LIMIT_S) == 0


def test_try_submit_works_after_a_failed_task() -> None:
    side = SingleSlotExecutor()
    failed = side.try_submit(int, "no number")
    assert failed is not None
    with pytest.raises(ValueError, match="no number"):
        failed.result(WAIT_LIMIT_S)
    assert side.try_submit(int) is not None
