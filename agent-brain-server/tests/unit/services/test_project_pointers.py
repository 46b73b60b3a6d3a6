"""Pointers are written where no server runs, and withdrawn where they are ours."""

import os
from pathlib import Path

import pytest

from agent_brain_server.errors import ConflictError
from agent_brain_server.locking import StateLock, is_stale
from agent_brain_server.runtime import read_pointer
from agent_brain_server.services.project_directory import describe_project
from agent_brain_server.services.project_pointers import point_to_daemon, try_point_to_daemon, withdraw_pointer
from agent_brain_server.storage_paths import default_state_dir, prepare_state_dir
from agent_brain_server.types import RegisteredProject

URL = "http://127.0.0.1:45123"


@pytest.fixture
def registered(tmp_path: Path) -> RegisteredProject:
    (tmp_path / "a project").mkdir()
    return describe_project(tmp_path / "a project")


def test_a_pointer_leads_to_the_daemon_and_holds_no_lock(registered: RegisteredProject) -> None:
    point_to_daemon(registered, URL)
    state_dir = default_state_dir(registered.root)
    pointer = read_pointer(state_dir)
    assert pointer is not None
    assert (pointer.base_url, pointer.project_id, pointer.project_root) == (
        URL,
        registered.project_id,
        str(registered.root),
    )
    assert is_stale(state_dir)
    withdraw_pointer(registered)
    withdraw_pointer(registered)
    assert read_pointer(state_dir) is None


def test_a_server_that_runs_keeps_its_file(registered: RegisteredProject) -> None:
    point_to_daemon(registered, URL)
    state_dir = default_state_dir(registered.root)
    lock = StateLock(state_dir)
    assert lock.acquire()
    try:
        with pytest.raises(ConflictError) as caught:
            point_to_daemon(registered, "http://127.0.0.1:1")
        assert caught.value.code == "project_server_running"
        withdraw_pointer(registered)
        pointer = read_pointer(state_dir)
        assert pointer is not None
        assert pointer.base_url == URL
    finally:
        lock.release()


def test_the_pointer_of_another_project_is_not_withdrawn(registered: RegisteredProject, tmp_path: Path) -> None:
    point_to_daemon(registered, URL)
    (tmp_path / "other").mkdir()
    other = describe_project(tmp_path / "other")
    withdraw_pointer(RegisteredProject(other.project_id, registered.root, other.registered_at))
    assert read_pointer(default_state_dir(registered.root)) is not None


def test_a_state_directory_that_cannot_be_made_is_a_conflict_and_no_end(
    registered: RegisteredProject, caplog: pytest.LogCaptureFixture
) -> None:
    (registered.root / ".claude").write_text("a file in the way")
    with pytest.raises(ConflictError, match=r"\.claude"):
        point_to_daemon(registered, URL)
    try_point_to_daemon(registered, URL)
    assert "No pointer to the daemon was written" in caplog.text
    withdraw_pointer(registered)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not write")
def test_a_directory_of_somebody_else_is_a_conflict(registered: RegisteredProject, tmp_path: Path) -> None:
    prepare_state_dir(default_state_dir(registered.root))
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    os.seteuid(65534)
    try:
        with pytest.raises(ConflictError):
            point_to_daemon(registered, URL)
    finally:
        os.seteuid(0)


def test_a_root_that_is_gone_gets_no_pointer(registered: RegisteredProject) -> None:
    registered.root.rmdir()
    try_point_to_daemon(registered, URL)
    assert not registered.root.exists()
