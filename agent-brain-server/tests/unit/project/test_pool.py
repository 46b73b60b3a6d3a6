"""The pool opens indexes once, never closes leased ones, and stays within its limit."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent_brain_server.errors import (
    AgentBrainError,
    ConfigError,
    InvalidRequestError,
    NotFoundError,
    StoreError,
    UnavailableError,
)
from agent_brain_server.lifecycle.registry import RegisteredProject, make_registration
from agent_brain_server.project import pool as pool_module
from agent_brain_server.project.pool import PoolEntry, ProjectPool, describe_failure, is_busy

WAIT_LIMIT_S = 600.0


class Index:
    """An open index that records calls."""

    def __init__(self, project: RegisteredProject) -> None:
        self.project = project
        self.busy = False
        self.retired = False
        self.closed = False

    def is_busy(self) -> bool:
        return self.busy

    def retire(self) -> None:
        self.retired = True

    def close(self) -> None:
        assert not self.closed
        self.closed = True


class Opener:
    """Opens indexes; can be made to wait or to fail."""

    def __init__(self) -> None:
        self.opened: list[Index] = []
        self.gate = threading.Event()
        self.gate.set()
        self.waiting = threading.Event()
        self.failure: Exception | None = None

    def __call__(self, project: RegisteredProject) -> Index:
        self.waiting.set()
        assert self.gate.wait(WAIT_LIMIT_S)
        if self.failure is not None:
            raise self.failure
        self.opened.append(Index(project))
        return self.opened[-1]

    def list_open(self) -> list[Index]:
        return [index for index in self.opened if not index.closed]


@pytest.fixture
def opener() -> Opener:
    return Opener()


@pytest.fixture
def make_pool(opener: Opener) -> Iterator[Callable[..., ProjectPool[Index]]]:
    pools: list[ProjectPool[Index]] = []

    def make(max_open: int = 2, idle_s: float = 600) -> ProjectPool[Index]:
        pools.append(ProjectPool(opener, max_open=max_open, idle_s=idle_s))
        return pools[-1]

    yield make
    opener.gate.set()
    for pool in pools:
        pool.close()
    assert opener.list_open() == []


@pytest.fixture
def ids(tmp_path: Path) -> list[RegisteredProject]:
    roots = [tmp_path / f"project {number}" for number in range(5)]
    for root in roots:
        root.mkdir()
    return [make_registration(root) for root in roots]


def admit(pool: ProjectPool[Index], projects: list[RegisteredProject]) -> list[str]:
    for project in projects:
        pool.admit(project)
    return [project.project_id for project in projects]


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_LIMIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_lease_opens_an_index_once(
    make_pool: Callable[..., ProjectPool[Index]], opener: Opener, ids: list[RegisteredProject]
) -> None:
    pool = make_pool()
    first, *_ = admit(pool, ids)
    assert opener.opened == []
    opener.gate.clear()

    def use(_: int) -> Index:
        with pool.lease(first) as index:
            return index

    with ThreadPoolExecutor(6) as threads:
        answers = [threads.submit(use, number) for number in range(6)]
        assert opener.waiting.wait(WAIT_LIMIT_S)
        opener.gate.set()
        assert {id(answer.result(WAIT_LIMIT_S)) for answer in answers} == {id(opener.opened[0])}
    assert len(opener.opened) == 1


@pytest.mark.parametrize("bad", ["", "p_", "p_0123456", "p_0123456g", "../p_01234567", "p_01234567\n", "P_01234567"])
def test_lease_refuses_a_malformed_id(make_pool: Callable[..., ProjectPool[Index]], bad: str) -> None:
    with pytest.raises(InvalidRequestError) as refused, make_pool().lease(bad):
        pass
    assert refused.value.code == "invalid_project_id"


def test_lease_refuses_a_missing_or_unknown_id(make_pool: Callable[..., ProjectPool[Index]]) -> None:
    pool = make_pool()
    with pytest.raises(InvalidRequestError) as refused, pool.lease(None):
        pass
    assert refused.value.code == "project_id_required"
    with pytest.raises(NotFoundError) as unknown, pool.lease("p_01234567"):
        pass
    assert unknown.value.code == "unknown_project"


def test_lease_closes_the_least_recently_used_index(
    make_pool: Callable[..., ProjectPool[Index]], opener: Opener, ids: list[RegisteredProject]
) -> None:
    pool = make_pool(max_open=2)
    first, second, third, *_ = admit(pool, ids)
    for project_id in (first, second, first, third):
        with pool.lease(project_id):
            pass
    assert [index.project.project_id for index in opener.list_open()] == [first, third]


def test_lease_keeps_leased_and_busy_indexes_open(
    make_pool: Callable[..., ProjectPool[Index]], opener: Opener, ids: list[RegisteredProject]
) -> None:
    pool = make_pool(max_open=1)
    first, second, third, *_ = admit(pool, ids)
    with pool.lease(first) as used:
        with pool.lease(second) as working:
            working.busy = True
        with pool.lease(third):
            assert not used.closed
    assert not working.closed
    working.busy = False
    pool.close_idle()
    assert len(opener.list_open()) == 1


def test_close_idle_closes_and_lease_opens_again(
    make_pool: Callable[..., ProjectPool[Index]], opener: Opener, ids: list[RegisteredProject]
) -> None:
    pool = make_pool(idle_s=0.05)
    first, *_ = admit(pool, ids)
    with pool.lease(first) as index:
        time.sleep(0.1)
        pool.close_idle()
        assert not index.closed
    pool.close_idle()
    assert not index.closed
    time.sleep(0.1)
    pool.close_idle()
    assert index.closed
    with pool.lease(first) as again:
        assert again is not index
    assert pool.is_open(first)


def test_lease_of_a_failing_project_affects_no_other(
    make_pool: Callable[..., ProjectPool[Index]], opener: Opener, ids: list[RegisteredProject]
) -> None:
    pool = make_pool()
    first, second, *_ = admit(pool, ids)
    opener.failure = ConfigError("config.json: chunk_size 3 is not allowed.", hint="Correct chunk_size.")
    with pytest.raises(UnavailableError, match="chunk_size 3") as refused, pool.lease(first):
        pass
    assert (refused.value.code, refused.value.hint) == ("project_unavailable", "Correct chunk_size.")
    opener.failure = RuntimeError("unexpected")
    with pytest.raises(UnavailableError, match="RuntimeError: unexpected"), pool.lease(first):
        pass
    opener.failure = None
    for project_id in (second, first):
        with pool.lease(project_id):
            pass


def test_failed_opening_fails_all_waiting_requests(
    make_pool: Callable[..., ProjectPool[Index]], opener: Opener, ids: list[RegisteredProject]
) -> None:
    pool = make_pool()
    first, *_ = admit(pool, ids)
    opener.gate.clear()
    opener.failure = ConfigError("broken")

    def use(_: int) -> str:
        try:
            with pool.lease(first):
                return "leased"
        except UnavailableError as error:
            return error.code

    with ThreadPoolExecutor(4) as threads:
        answers = [threads.submit(use, number) for number in range(4)]
        wait_until(lambda: pool._entries[first].waiting == 3)
        opener.gate.set()
        assert [answer.result(WAIT_LIMIT_S) for answer in answers] == ["project_unavailable"] * 4


def test_slow_opening_delays_no_other_project(
    make_pool: Callable[..., ProjectPool[Index]], opener: Opener, ids: list[RegisteredProject]
) -> None:
    pool = make_pool()
    first, second, *_ = admit(pool, ids)
    with pool.lease(second):
        pass
    opener.gate.clear()
    opener.waiting.clear()
    with ThreadPoolExecutor(pool_module.MAX_WAITING_REQUESTS + 1) as threads, ExitStack() as stack:
        stack.callback(opener.gate.set)
        for _ in range(pool_module.MAX_WAITING_REQUESTS + 1):
            threads.submit(lambda: pool.lease(first).__enter__())
        wait_until(lambda: pool._entries[first].waiting == pool_module.MAX_WAITING_REQUESTS)
        with pytest.raises(UnavailableError) as refused, pool.lease(first):
            pass
        with pool.lease(second):
            pass
        assert refused.value.code == "project_busy"
    pool._entries[first].leases = 0


def test_dismiss_waits_for_requests_in_progress(
    make_pool: Callable[..., ProjectPool[Index]], opener: Opener, ids: list[RegisteredProject]
) -> None:
    pool = make_pool()
    first, *_ = admit(pool, ids)
    with ThreadPoolExecutor(1) as threads:
        with pool.lease(first) as index:
            leaving = threads.submit(pool.dismiss, first)
            wait_until(lambda: index.retired)
            with pytest.raises(NotFoundError), pool.lease(first):
                pass
            assert not index.closed
        leaving.result(WAIT_LIMIT_S)
    assert index.closed
    with pytest.raises(NotFoundError):
        pool.dismiss(first)


def test_failed_dismiss_keeps_the_project(
    make_pool: Callable[..., ProjectPool[Index]], ids: list[RegisteredProject], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "RETIRE_LIMIT_S", 0.05)
    pool = make_pool()
    first, *_ = admit(pool, ids)
    with pool.lease(first) as index:
        with pytest.raises(UnavailableError):
            pool.dismiss(first)
        assert not index.closed
    with pool.lease(first) as again:
        assert again is index


def test_close_one_waits_for_requests_and_delays_later_ones(
    make_pool: Callable[..., ProjectPool[Index]], opener: Opener, ids: list[RegisteredProject]
) -> None:
    pool = make_pool()
    for project in ids[:2]:
        pool.admit(project)
    name, other = ids[0].project_id, ids[1].project_id

    def lend() -> Index:
        with pool.lease(name) as index:
            assert not index.closed
            return index

    with ThreadPoolExecutor(3) as threads:
        with pool.lease(name) as faulty:
            closing = threads.submit(pool.close_one, name)
            wait_until(lambda: faulty.retired)
            waiting = threads.submit(lend)
            with pool.lease(other) as neighbour:
                assert not neighbour.retired
            assert not pool.is_open(name)
            assert not closing.done()
            assert not waiting.done()
            assert not faulty.closed
        closing.result(WAIT_LIMIT_S)
        assert faulty.closed
        assert waiting.result(WAIT_LIMIT_S) is not faulty
    assert [index.project for index in opener.list_open()] == [ids[1], ids[0]]


def test_close_one_of_a_closed_index_does_nothing(
    make_pool: Callable[..., ProjectPool[Index]], opener: Opener, ids: list[RegisteredProject]
) -> None:
    pool = make_pool()
    pool.admit(ids[0])
    pool.close_one(ids[0].project_id)
    pool.close_one("p_00000000")
    assert opener.opened == []
    with pool.lease(ids[0].project_id) as index:
        assert not index.retired


def test_close_one_does_not_wait_forever_for_a_request(
    make_pool: Callable[..., ProjectPool[Index]], ids: list[RegisteredProject], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "RETIRE_LIMIT_S", 0.05)
    pool = make_pool()
    pool.admit(ids[0])
    with pool.lease(ids[0].project_id) as hung:
        pool.close_one(ids[0].project_id)
        assert hung.closed
        with pool.lease(ids[0].project_id) as fresh:
            assert fresh is not hung
    assert pool.is_open(ids[0].project_id)


def test_lease_refuses_a_missing_root_until_it_returns(
    make_pool: Callable[..., ProjectPool[Index]], ids: list[RegisteredProject]
) -> None:
    pool = make_pool()
    first, second, *_ = admit(pool, ids)
    ids[0].root.rmdir()
    with pytest.raises(NotFoundError) as refused, pool.lease(first):
        pass
    assert refused.value.code == "project_root_missing"
    with pool.lease(second):
        pass
    ids[0].root.mkdir()
    with pool.lease(first):
        pass


def test_close_waits_for_an_index_being_opened(
    make_pool: Callable[..., ProjectPool[Index]], opener: Opener, ids: list[RegisteredProject]
) -> None:
    pool = make_pool()
    first, *_ = admit(pool, ids)
    opener.gate.clear()
    with ThreadPoolExecutor(2) as threads:
        lease = threads.submit(use, pool, first)
        assert opener.waiting.wait(WAIT_LIMIT_S)
        closing = threads.submit(pool.close)
        time.sleep(0.05)
        assert not closing.done()
        opener.gate.set()
        closing.result(WAIT_LIMIT_S)
        lease.result(WAIT_LIMIT_S)
    assert opener.list_open() == []


def use(pool: ProjectPool[Index], project_id: str) -> None:
    with pool.lease(project_id):
        pass


@pytest.mark.slow
def test_concurrent_leases_never_get_a_closed_index(
    make_pool: Callable[..., ProjectPool[Index]], opener: Opener, ids: list[RegisteredProject]
) -> None:
    pool = make_pool(max_open=2, idle_s=0.001)
    admit(pool, ids)
    got_closed, refused = [], []
    until = time.monotonic() + 1.5

    def use(number: int) -> None:
        turn = number
        while time.monotonic() < until:
            turn += 1
            project = ids[(turn * 7 + number) % len(ids)]
            try:
                with pool.lease(project.project_id) as index:
                    if index.closed or index.project != project:
                        got_closed.append(index)
            except NotFoundError:
                refused.append(project)

    def disturb() -> None:
        while time.monotonic() < until:
            pool.close_idle()
            pool.dismiss(ids[0].project_id)
            pool.admit(ids[0])

    with ThreadPoolExecutor(7) as threads:
        done = [threads.submit(use, number) for number in range(6)] + [threads.submit(disturb)]
        for each in done:
            each.result(WAIT_LIMIT_S)
    assert got_closed == []
    assert {project.project_id for project in refused} <= {ids[0].project_id}
    assert len(opener.opened) > 10


PROJECT = RegisteredProject("p_12345678", Path("/srv/secret place"), "2026-01-02T03:04:05+00:00")


@dataclass
class BrokenIndex:
    busy: bool = False
    fault: Exception | None = None

    def is_busy(self) -> bool:
        if self.fault is not None:
            raise self.fault
        return self.busy

    def retire(self) -> None:
        """Required by the protocol."""

    def close(self) -> None:
        """Required by the protocol."""


@pytest.mark.parametrize(
    ("leases", "is_closing", "unused"), [(0, False, True), (1, False, False), (0, True, False), (2, True, False)]
)
def test_entry_is_unused_without_leases_and_closing(leases: int, is_closing: bool, unused: bool) -> None:
    entry: PoolEntry[BrokenIndex] = PoolEntry(BrokenIndex(), leases=leases, is_closing=is_closing)
    assert entry.is_unused() is unused


def test_is_busy_of_a_broken_store_is_false() -> None:
    assert is_busy(BrokenIndex(busy=True))
    assert not is_busy(BrokenIndex())
    assert not is_busy(BrokenIndex(fault=StoreError("damaged")))
    with pytest.raises(ZeroDivisionError):  # other errors are not hidden
        is_busy(BrokenIndex(fault=ZeroDivisionError()))


def test_entries_are_compared_by_identity() -> None:
    entry: PoolEntry[BrokenIndex] = PoolEntry(last_used=1.0)
    assert entry != PoolEntry(last_used=1.0)


def test_describe_failure_names_id_reason_and_hint() -> None:
    failure = describe_failure(PROJECT, ConfigError("chunk_size 3 is not allowed.", hint="Correct chunk_size."))
    assert (failure.status, failure.code, failure.hint) == (503, "project_unavailable", "Correct chunk_size.")
    assert failure.message == "The index of project p_12345678 cannot be opened: chunk_size 3 is not allowed."
    unexpected = describe_failure(PROJECT, ValueError("x"))
    assert unexpected.message.endswith("ValueError: x.")
    assert unexpected.hint == AgentBrainError.default_hint
