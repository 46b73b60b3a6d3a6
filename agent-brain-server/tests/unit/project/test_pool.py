"""The pool: opened once, lent, never closed in use, bounded, and one project's fault is its own."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from agent_brain_server.errors import ConfigError, InvalidRequestError, NotFoundError, UnavailableError
from agent_brain_server.lifecycle.registry import RegisteredProject, make_registration
from agent_brain_server.project import pool as pool_module
from agent_brain_server.project.pool import ProjectPool

WAIT_LIMIT_S = 120.0


class Index:
    """An open index that notes what is done to it."""

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
    """Opens indexes, slowly or not at all where it is told so."""

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

    def living(self) -> list[Index]:
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
    assert opener.living() == []


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


def test_an_index_is_opened_by_the_first_request_and_once(
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
def test_what_is_no_id_is_refused(make_pool: Callable[..., ProjectPool[Index]], bad: str) -> None:
    with pytest.raises(InvalidRequestError) as refused, make_pool().lease(bad):
        pass
    assert refused.value.code == "invalid_project_id"


def test_an_id_that_is_missing_or_unknown_is_refused(make_pool: Callable[..., ProjectPool[Index]]) -> None:
    pool = make_pool()
    with pytest.raises(InvalidRequestError) as refused, pool.lease(None):
        pass
    assert refused.value.code == "project_id_required"
    with pytest.raises(NotFoundError) as unknown, pool.lease("p_01234567"):
        pass
    assert unknown.value.code == "unknown_project"


def test_the_least_recently_used_index_makes_room(
    make_pool: Callable[..., ProjectPool[Index]], opener: Opener, ids: list[RegisteredProject]
) -> None:
    pool = make_pool(max_open=2)
    first, second, third, *_ = admit(pool, ids)
    for project_id in (first, second, first, third):
        with pool.lease(project_id):
            pass
    assert [index.project.project_id for index in opener.living()] == [first, third]


def test_what_is_in_use_or_at_work_is_not_closed_for_room(
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
    assert len(opener.living()) == 1


def test_what_is_idle_is_closed_and_opened_again(
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


def test_a_project_that_cannot_be_opened_is_refused_alone_and_tried_again(
    make_pool: Callable[..., ProjectPool[Index]], opener: Opener, ids: list[RegisteredProject]
) -> None:
    pool = make_pool()
    first, second, *_ = admit(pool, ids)
    opener.failure = ConfigError("config.json: chunk_size 3 is not allowed.", hint="Correct chunk_size.")
    with pytest.raises(UnavailableError, match="chunk_size 3") as refused, pool.lease(first):
        pass
    assert (refused.value.code, refused.value.hint) == ("project_unavailable", "Correct chunk_size.")
    opener.failure = RuntimeError("unforeseen")
    with pytest.raises(UnavailableError, match="RuntimeError: unforeseen"), pool.lease(first):
        pass
    opener.failure = None
    for project_id in (second, first):
        with pool.lease(project_id):
            pass


def test_everybody_who_waits_for_an_index_learns_that_it_failed(
    make_pool: Callable[..., ProjectPool[Index]], opener: Opener, ids: list[RegisteredProject]
) -> None:
    pool = make_pool()
    first, *_ = admit(pool, ids)
    opener.gate.clear()
    opener.failure = ConfigError("broken")

    def use(_: int) -> str:
        try:
            with pool.lease(first):
                return "lent"
        except UnavailableError as error:
            return error.code

    with ThreadPoolExecutor(4) as threads:
        answers = [threads.submit(use, number) for number in range(4)]
        wait_until(lambda: pool._entries[first].waiting == 3)
        opener.gate.set()
        assert [answer.result(WAIT_LIMIT_S) for answer in answers] == ["project_unavailable"] * 4


def test_a_slow_opening_holds_up_no_other_project_and_few_requests(
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


def test_unregistering_waits_for_requests_and_then_nothing_is_lent(
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


def test_a_project_that_cannot_be_dismissed_stays(
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


def test_an_index_that_is_opened_anew_is_closed_once_its_requests_are_answered_and_others_wait(
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
    assert [index.project for index in opener.living()] == [ids[1], ids[0]]


def test_an_index_that_is_not_open_need_not_be_closed_to_be_opened_anew(
    make_pool: Callable[..., ProjectPool[Index]], opener: Opener, ids: list[RegisteredProject]
) -> None:
    pool = make_pool()
    pool.admit(ids[0])
    pool.close_one(ids[0].project_id)
    pool.close_one("p_00000000")
    assert opener.opened == []
    with pool.lease(ids[0].project_id) as index:
        assert not index.retired


def test_a_request_that_does_not_end_holds_up_the_mending_for_a_time_only(
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


def test_a_project_whose_root_is_gone_says_so_until_it_is_back(
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


def test_closing_waits_for_an_index_that_is_being_opened(
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
    assert opener.living() == []


def use(pool: ProjectPool[Index], project_id: str) -> None:
    with pool.lease(project_id):
        pass


def test_random_use_from_many_threads_never_meets_a_closed_index(
    make_pool: Callable[..., ProjectPool[Index]], opener: Opener, ids: list[RegisteredProject]
) -> None:
    pool = make_pool(max_open=2, idle_s=0.001)
    admit(pool, ids)
    met_closed, refused = [], []
    until = time.monotonic() + 1.5

    def use(number: int) -> None:
        turn = number
        while time.monotonic() < until:
            turn += 1
            project = ids[(turn * 7 + number) % len(ids)]
            try:
                with pool.lease(project.project_id) as index:
                    if index.closed or index.project != project:
                        met_closed.append(index)
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
    assert met_closed == []
    assert {project.project_id for project in refused} <= {ids[0].project_id}
    assert len(opener.opened) > 10
