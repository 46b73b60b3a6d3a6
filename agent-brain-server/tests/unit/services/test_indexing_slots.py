"""Slots limit how many projects index at once, in the order of their requests; workers stay with their slot."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agent_brain_server.indexing.worker.client import WorkerProcess, Workers
from agent_brain_server.services import jobs
from agent_brain_server.services.jobs import IndexingSlots, Turn

WAIT_LIMIT_S = 600.0


def never() -> bool:
    return False


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_LIMIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[WorkerProcess]:
    process = WorkerProcess("reader", tmp_path / "worker.log")
    yield process
    process.end()


@pytest.mark.parametrize("limit", [1, 2])
def test_slots_limit_concurrent_projects(limit: int) -> None:
    slots, working, most, turns = IndexingSlots(limit), [], [0], dict.fromkeys(range(6), 0)

    def index(project: int) -> None:
        turn = Turn(lambda: None)
        for _ in range(20):
            assert slots.take(turn, never)
            working.append(project)
            most[0] = max(most[0], len(working))
            turns[project] += 1
            time.sleep(0.001)
            working.remove(project)
            slots.give_back(turn, None)

    with ThreadPoolExecutor(6) as threads:
        for done in [threads.submit(index, project) for project in range(6)]:
            done.result(WAIT_LIMIT_S)
    assert most == [limit]
    assert set(turns.values()) == {20}


def test_slots_are_taken_in_order() -> None:
    slots, order = IndexingSlots(1), []
    first = Turn(lambda: None)
    assert slots.take(first, never)

    def index(project: int) -> None:
        turn = Turn(lambda: None)
        for _ in range(3):
            assert slots.take(turn, never)
            order.append(project)
            wait_until(lambda: len(slots._waiting) == 2 or len(order) > 6)
            slots.give_back(turn, None)

    with ThreadPoolExecutor(3) as threads:
        started = []
        for project in range(3):
            started.append(threads.submit(index, project))
            wait_until(lambda: len(slots._waiting) == len(started))
        slots.give_back(first, None)
        for done in started:
            done.result(WAIT_LIMIT_S)
    assert order[:6] == [0, 1, 2, 0, 1, 2]


@pytest.mark.process
def test_contention_calls_holder_and_passes_the_worker_on(worker: WorkerProcess) -> None:
    slots, contended = IndexingSlots(1), threading.Event()
    holder, other = Turn(contended.set), Turn(lambda: None)
    assert slots.take(holder, never)
    assert not slots.has_waiters()
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(slots.take, other, never)
        assert contended.wait(WAIT_LIMIT_S)
        assert slots.has_waiters()
        workers = Workers({"reader": worker})
        slots.give_back(holder, workers)
        assert waiting.result(WAIT_LIMIT_S)
    assert other.workers is workers
    assert worker.is_alive()
    slots.give_back(other, None)


def test_turn_is_over_only_if_another_project_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "MIN_TURN_S", 0.1)
    slots, holder, stopping = IndexingSlots(1), Turn(lambda: None), threading.Event()
    assert slots.take(holder, never)
    time.sleep(0.15)
    assert not slots.is_over(holder)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(slots.take, Turn(lambda: None), stopping.is_set)
        wait_until(slots.has_waiters)
        assert slots.is_over(holder)
        stopping.set()
        slots.wake()
        assert waiting.result(WAIT_LIMIT_S) is False
    assert not slots.has_waiters()


@pytest.mark.process
def test_give_back_ends_workers_if_no_project_waits(worker: WorkerProcess) -> None:
    slots, turn = IndexingSlots(2), Turn(lambda: None)
    assert slots.take(turn, never)
    slots.give_back(turn, Workers({"reader": worker}))
    assert not worker.is_alive()
