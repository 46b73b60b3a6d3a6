"""The thread beside a question: one caller at a time, in that caller's context, and free again whatever happens."""

import contextvars
import threading

import pytest

from agent_brain_server.services.query_service import SingleSlotExecutor

WAIT_LIMIT_S = 120.0

asked: contextvars.ContextVar[str] = contextvars.ContextVar("asked")


def test_work_is_done_in_another_thread_and_the_callers_context() -> None:
    asked.set("a question")
    work = SingleSlotExecutor().try_submit(lambda: (threading.get_ident(), asked.get()))
    assert work is not None
    thread, context = work.result(WAIT_LIMIT_S)
    assert thread != threading.get_ident()
    assert context == "a question"


def test_a_second_caller_is_sent_away_until_the_first_is_served() -> None:
    side, may_end = SingleSlotExecutor(), threading.Event()
    first = side.try_submit(may_end.wait, WAIT_LIMIT_S)
    assert side.try_submit(int) is None
    may_end.set()
    assert first is not None
    assert first.result(WAIT_LIMIT_S)
    second = side.try_submit(int)
    assert second is not None
    assert second.result(WAIT_LIMIT_S) == 0


def test_failed_work_frees_the_thread() -> None:
    side = SingleSlotExecutor()
    failed = side.try_submit(int, "no number")
    assert failed is not None
    with pytest.raises(ValueError, match="no number"):
        failed.result(WAIT_LIMIT_S)
    assert side.try_submit(int) is not None
