"""An idle server is one that nobody asked and that has nothing to do."""

from agent_brain_server.api.middleware import Activity


def test_a_request_begins_the_idle_time_anew():
    activity = Activity()
    activity.last_active -= 100
    assert activity.measure_idle_seconds() >= 100
    activity.touch()
    assert activity.measure_idle_seconds() < 50


def test_while_work_runs_no_time_is_idle():
    running = True
    activity = Activity()
    activity.watch(lambda: running)
    activity.last_active -= 100
    assert activity.busy()
    assert activity.measure_idle_seconds() < 50
    # the time of the work does not count afterwards either
    running = False
    assert not activity.busy()
    assert activity.measure_idle_seconds() < 50


def test_unused_time_ignores_observing_requests():
    activity = Activity()
    activity.last_used -= 100
    for path in ("/health", "/health/status", "/metrics", "/projects"):
        with activity.track(path):
            assert activity.measure_unused_seconds() >= 100
    assert activity.measure_idle_seconds() < 50


def test_unused_time_is_zero_during_a_request():
    activity = Activity()
    activity.last_used -= 100
    with activity.track("/query"):
        activity.last_used -= 100
        assert activity.measure_unused_seconds() == 0
    assert activity.measure_unused_seconds() < 50


def test_unused_time_is_zero_while_work_runs():
    activity = Activity(lambda: True)
    activity.last_used -= 100
    assert activity.measure_unused_seconds() == 0
