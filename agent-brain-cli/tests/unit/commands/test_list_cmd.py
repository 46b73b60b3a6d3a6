"""`agent-brain list` shows each project once, in the state that its files and locks prove."""

from pathlib import Path

from agent_brain_cli.commands.list_cmd import check_state, describe_daemon, describe_served, is_gone, merge, render_list
from agent_brain_server.locking import StateLock
from agent_brain_server.storage_paths import prepare_state_dir

DAEMON = {"state": "running", "base_url": "http://h", "pid": 9, "state_dir": "/home", "active_projects": 2}


def own(root: str, state: str) -> dict:
    return {"name": root, "project_root": root, "state_dir": f"{root}/state", "state": state}


def test_merge_prefers_a_running_own_server(tmp_path):
    served = [describe_served("p_1", tmp_path, DAEMON)]
    for state, shown in {"running": "project", "not_answering": "project", "stopped": "shared"}.items():
        (only,) = merge([own(str(tmp_path), state)], served)
        assert only.get("mode", "project") == shown


def test_describe_served_has_the_daemon_s_state(tmp_path):
    assert describe_served("p_1", tmp_path, DAEMON)["state"] == "running"
    assert describe_served("p_1", tmp_path, {**DAEMON, "state": "not_answering"})["state"] == "not_answering"
    assert describe_served("p_1", tmp_path, None)["state"] == "stopped"
    assert describe_served("p_1", tmp_path / "gone", DAEMON)["state"] == "gone"


def test_describe_daemon_that_was_never_used_is_none():
    assert describe_daemon({"state": "stopped"}, 0) is None
    shown = describe_daemon({"state": "stopped"}, 3)
    assert shown is not None
    assert shown["active_projects"] == 3


def test_check_state_reads_lock_before_runtime_file(tmp_path):
    prepare_state_dir(tmp_path / "state")
    assert check_state(tmp_path / "state") == {"state": "stopped"}
    lock = StateLock(tmp_path / "state")
    assert lock.acquire()
    try:
        assert check_state(tmp_path / "state") == {"state": "not_answering"}
    finally:
        lock.release()


def test_is_gone_only_if_certain(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    assert is_gone(tmp_path / "missing")
    assert is_gone(tmp_path / "file" / "below")
    assert not is_gone(tmp_path / "dangling")
    assert not is_gone(Path("/" + "x" * 5000))


def test_render_list_starts_with_daemon_then_running():
    document = {"projects": [own("/a", "stopped"), own("/b", "running")], "daemon": DAEMON}
    header, daemon, first, second = render_list(document).splitlines()
    assert header.split() == ["PROJECT", "URL", "MODE", "PID", "STATE", "ROOT"]
    assert daemon.startswith("shared daemon")
    assert "running, 2 active projects" in daemon
    assert (first[:2], second[:2]) == ("/b", "/a")
