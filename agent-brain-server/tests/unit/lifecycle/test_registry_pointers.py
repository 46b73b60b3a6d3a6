"""Pointers are written and withdrawn while the lock of the project is held."""

import shutil
import threading
from pathlib import Path

import pytest

from agent_brain_server.errors import ConflictError
from agent_brain_server.lifecycle.registry import (
    RegisteredProject,
    make_registration,
    point_to_daemon,
    try_point_to_daemon,
    withdraw_pointer,
)
from agent_brain_server.locking import PROBE_PATIENCE_S, StateLock, is_stale
from agent_brain_server.runtime import read_pointer
from agent_brain_server.storage_paths import default_state_dir, prepare_state_dir, runtime_path

URL = "http://127.0.0.1:45123"


@pytest.fixture
def project(tmp_path: Path) -> RegisteredProject:
    root = (tmp_path / "Projekt ä").resolve()
    root.mkdir()
    return make_registration(root)


def test_pointer_is_rewritten_and_withdrawn(project: RegisteredProject) -> None:
    state_dir = default_state_dir(project.root)
    for url in (URL, "http://127.0.0.1:1"):
        point_to_daemon(project, url)
        pointer = read_pointer(state_dir)
        assert pointer is not None
        assert (pointer.base_url, pointer.project_id, pointer.project_root) == (
            url,
            project.project_id,
            str(project.root),
        )
    assert is_stale(state_dir)
    withdraw_pointer(project)
    withdraw_pointer(project)
    assert sorted(path.name for path in state_dir.iterdir()) == [".gitignore", "owner.json"]


def test_withdraw_keeps_the_pointer_of_another_daemon(project: RegisteredProject) -> None:
    point_to_daemon(project, "http://127.0.0.1:1")
    withdraw_pointer(project, base_url=URL)
    assert read_pointer(default_state_dir(project.root)) is not None
    withdraw_pointer(project, base_url="http://127.0.0.1:1")
    assert read_pointer(default_state_dir(project.root)) is None


def test_pointer_is_in_the_named_state_dir(project: RegisteredProject, tmp_path: Path) -> None:
    elsewhere = make_registration(project.root, tmp_path / "Zustand")
    point_to_daemon(elsewhere, URL)
    assert read_pointer(tmp_path / "Zustand") is not None
    assert not (project.root / ".claude").exists()
    withdraw_pointer(project)
    assert read_pointer(tmp_path / "Zustand") is not None
    withdraw_pointer(elsewhere)
    assert read_pointer(tmp_path / "Zustand") is None


def test_pointer_does_not_replace_a_running_server(project: RegisteredProject) -> None:
    state_dir = default_state_dir(project.root)
    prepare_state_dir(state_dir)
    with StateLock(state_dir):
        with pytest.raises(ConflictError, match="separate server") as refused:
            point_to_daemon(project, URL)
        assert refused.value.code == "project_server_running"
        assert str(project.root) in refused.value.hint
        assert not runtime_path(state_dir).exists()
    point_to_daemon(project, URL)
    with StateLock(state_dir):
        withdraw_pointer(project)
        assert read_pointer(state_dir) is not None


def test_point_to_daemon_waits_for_a_probe_of_the_lock(project: RegisteredProject) -> None:
    state_dir = default_state_dir(project.root)
    prepare_state_dir(state_dir)
    lock = StateLock(state_dir)
    assert lock.acquire()
    timer = threading.Timer(PROBE_PATIENCE_S / 4, lock.release)
    timer.start()
    point_to_daemon(project, URL)
    timer.join()
    assert read_pointer(state_dir) is not None


def test_withdraw_keeps_the_pointer_of_another_project(project: RegisteredProject, tmp_path: Path) -> None:
    other = make_registration(tmp_path, default_state_dir(project.root))
    point_to_daemon(other, URL)
    withdraw_pointer(project)
    assert read_pointer(default_state_dir(project.root)) is not None


@pytest.mark.parametrize("text", ["", "{", '{"schema_version": 7}', '{"mode": "project"}'])
def test_withdraw_keeps_an_invalid_pointer(project: RegisteredProject, text: str) -> None:
    state_dir = default_state_dir(project.root)
    prepare_state_dir(state_dir)
    runtime_path(state_dir).write_text(text)
    withdraw_pointer(project)
    assert runtime_path(state_dir).read_text() == text


def test_unusable_state_dir_is_a_conflict_or_logged(
    project: RegisteredProject, caplog: pytest.LogCaptureFixture
) -> None:
    (project.root / ".claude").write_text("in the way")
    with pytest.raises(ConflictError, match=r"\.claude") as refused:
        point_to_daemon(project, URL)
    assert refused.value.code == "state_dir_unusable"
    try_point_to_daemon(project, URL)
    assert "No pointer to the daemon was written" in caplog.text
    withdraw_pointer(project)


def test_state_dir_outside_the_project_is_refused(
    project: RegisteredProject, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "outside").mkdir()
    (project.root / ".claude").symlink_to(tmp_path / "outside")
    with pytest.raises(ConflictError, match="leaves the project"):
        point_to_daemon(project, URL)
    withdraw_pointer(project)
    assert "was not withdrawn" in caplog.text
    assert list((tmp_path / "outside").iterdir()) == []


def test_pointer_does_not_create_a_missing_root(project: RegisteredProject) -> None:
    shutil.rmtree(project.root)
    try_point_to_daemon(project, URL)
    withdraw_pointer(project)
    assert not project.root.exists()
