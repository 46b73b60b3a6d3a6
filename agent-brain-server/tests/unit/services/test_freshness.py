"""Outstanding changes, and the barrier of a query."""

import threading

from agent_brain_server.services.freshness import LARGE_BYTES, NOISY_SYNCS, ChangeLog


def test_barrier_without_changes_is_met() -> None:
    barrier = ChangeLog().barrier()
    assert barrier.is_met()
    assert barrier.count_pending() == 0


def test_barrier_counts_a_change_until_its_batch_is_finished() -> None:
    log = ChangeLog()
    log.record([b"a", b"b"])
    barrier = log.barrier()
    assert (barrier.count_pending(), barrier.is_met()) == (2, False)
    batch = log.take()
    assert (barrier.count_pending(), barrier.is_met()) == (2, False)
    log.finish(batch)
    assert (barrier.count_pending(), barrier.is_met()) == (0, True)


def test_barrier_ignores_later_changes() -> None:
    log = ChangeLog()
    log.record([b"a"])
    barrier = log.barrier()
    batch = log.take()
    log.record([b"b"])
    log.finish(batch)
    assert barrier.is_met()
    assert log.barrier().count_pending() == 1


def test_change_during_its_own_indexing_stays_outstanding() -> None:
    log = ChangeLog()
    log.record([b"a"])
    batch = log.take()
    log.record([b"a"])
    barrier = log.barrier()
    assert barrier.count_pending() == 1
    log.finish(batch)
    assert (barrier.count_pending(), barrier.is_met()) == (1, False)


def test_failed_batch_waits_again_under_its_old_number() -> None:
    log = ChangeLog()
    log.record([b"a"], recheck=True, rescan=True)
    barrier = log.barrier()
    log.fail(log.take())
    assert barrier.count_pending() == 2
    assert log.is_rechecking()
    again = log.take()
    assert (set(again.paths), again.rescan) == ({b"a"}, True)
    log.finish(again)
    assert barrier.is_met()
    assert not log.is_rechecking()


def test_several_batches_can_be_outstanding() -> None:
    log = ChangeLog()
    log.record([b"a"])
    first = log.take()
    log.record([b"b"])
    second = log.take()
    barrier = log.barrier()
    log.finish(second)
    assert barrier.count_pending() == 1
    log.finish(first)
    assert barrier.is_met()


def test_waiting_barrier_is_released_by_the_last_batch() -> None:
    log = ChangeLog()
    log.record([b"a"])
    barrier, met = log.barrier(), threading.Event()
    assert barrier.on_met(met.set)
    assert log.has_waiters()
    log.finish(log.take())
    assert met.is_set()
    assert not log.has_waiters()
    assert not barrier.on_met(met.set)


def test_wait_ends_after_its_limit() -> None:
    log = ChangeLog()
    log.record([b"a"])
    barrier = log.barrier()
    barrier.wait(0.01)
    assert not log.has_waiters()
    assert barrier.count_pending() == 1


def grow(log: ChangeLog, size: int) -> None:
    for _ in range(NOISY_SYNCS + 1):
        log.record([b"app.log"])
        log.finish(log.take(), [(b"app.log", size)])


def test_growing_file_is_put_off_and_counted() -> None:
    log = ChangeLog()
    grow(log, 100)
    log.record([b"app.log"])
    assert not log.has_waiting()
    assert log.next_due_s() is not None
    assert log.barrier().count_pending() == 1
    log.record([b"a.py"])
    assert set(log.take().paths) == {b"a.py"}


def test_small_growing_file_is_due_when_a_query_waits() -> None:
    log = ChangeLog()
    grow(log, 100)
    log.record([b"app.log"])
    assert log.barrier().on_met(lambda: None)
    assert set(log.take().paths) == {b"app.log"}


def test_large_growing_file_is_not_waited_for() -> None:
    log = ChangeLog()
    grow(log, LARGE_BYTES)
    log.record([b"app.log"])
    barrier = log.barrier()
    assert barrier.is_met()
    assert barrier.count_pending() == 1
