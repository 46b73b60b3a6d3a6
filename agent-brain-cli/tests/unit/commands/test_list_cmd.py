"""Each project once, by the server that lives, and nothing believed that the registry says."""

from pathlib import Path

from agent_brain_cli.commands.list_cmd import check_state, describe_daemon, describe_served, is_gone, merge, render_list
from agent_brain_server.locking import StateLock
from agent_brain_server.storage_paths import prepare_state_dir

DAEMON = {"state": "running", "base_url": "http://h", "pid": 9, "state_dir": "/home", "active_projects": 2}


def own(root: str, state: str) -> dict:
    return {"name": root, "project_root": root, "state_dir": f"{root}/state", "state": state}


def test_a_server_of_its_own_that_lives_goes_before_the_daemon(tmp_path):
    served = [describe_served("p_1", tmp_path, DAEMON)]
    for state, shown in {"running": "project", "not_answering": "project", "stopped": "shared"}.items():
        (only,) = merge([own(str(tmp_path), state)], served)
        assert only.get("mode", "project") == shown


def test_what_the_daemon_serves_is_as_alive_as_the_daemon(tmp_path):
    assert describe_served("p_1", tmp_path, DAEMON)["state"] == "running"
    assert describe_served("p_1", tmp_path, {**DAEMON, "state": "not_answering"})["state"] == "not_answering"
    assert describe_served("p_1", tmp_path, None)["state"] == "stopped"
    assert describe_served("p_1", tmp_path / "gone", DAEMON)["state"] == "gone"


def test_a_daemon_that_never_was_is_not_shown():
    assert describe_daemon({"state": "stopped"}, 0) is None
    shown = describe_daemon({"state": "stopped"}, 3)
    assert shown is not None
    assert shown["active_projects"] == 3


def test_a_state_directory_is_judged_by_its_lock_and_then_by_its_file(tmp_path):
    prepare_state_dir(tmp_path / "state")
    assert check_state(tmp_path / "state") == {"state": "stopped"}
    lock = StateLock(tmp_path / "state")
    assert lock.acquire()
    try:
        assert check_state(tmp_path / "state") == {"state": "not_answering"}
    finally:
        lock.release()


def test_only_what_is_certainly_gone_is_gone(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    assert is_gone(tmp_path / "missing")
    assert is_gone(tmp_path / "file" / "below")
    assert not is_gone(tmp_path / "dangling")
    assert not is_gone(Path("/" + "x" * 5000))


def test_the_table_has_the_daemon_first_then_what_runs():
    document = {"projects": [own("/a", "stopped"), own("/b", "running")], "daemon": DAEMON}
    header, daemon, first, second = render_list(document).splitlines()
    assert header.split() == ["PROJECT", "URL", "MODE", "PID", "STATE", "ROOT"]
    assert daemon.startswith("shared daemon")
    assert "running, 2 active projects" in daemon
    assert (first[:2], second[:2]) == ("/b", "/a")
