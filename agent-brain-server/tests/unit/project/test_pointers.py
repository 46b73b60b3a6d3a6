"""A pointer is written and withdrawn under the project's own lock, and only ever the daemon's own one."""

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


def test_a_pointer_is_written_again_and_withdrawn_and_the_lock_is_free(project: RegisteredProject) -> None:
    place = default_state_dir(project.root)
    for url in (URL, "http://127.0.0.1:1"):
        point_to_daemon(project, url)
        pointer = read_pointer(place)
        assert pointer is not None
        assert (pointer.base_url, pointer.project_id, pointer.project_root) == (
            url,
            project.project_id,
            str(project.root),
        )
    assert is_stale(place)
    withdraw_pointer(project)
    withdraw_pointer(project)
    assert sorted(path.name for path in place.iterdir()) == [".gitignore", "owner.json"]


def test_a_pointer_to_a_successor_is_left_where_only_the_own_one_is_meant(project: RegisteredProject) -> None:
    point_to_daemon(project, "http://127.0.0.1:1")
    withdraw_pointer(project, base_url=URL)
    assert read_pointer(default_state_dir(project.root)) is not None
    withdraw_pointer(project, base_url="http://127.0.0.1:1")
    assert read_pointer(default_state_dir(project.root)) is None


def test_a_state_directory_elsewhere_is_pointed_from(project: RegisteredProject, tmp_path: Path) -> None:
    elsewhere = make_registration(project.root, tmp_path / "Zustand")
    point_to_daemon(elsewhere, URL)
    assert read_pointer(tmp_path / "Zustand") is not None
    assert not (project.root / ".claude").exists()
    withdraw_pointer(project)
    assert read_pointer(tmp_path / "Zustand") is not None
    withdraw_pointer(elsewhere)
    assert read_pointer(tmp_path / "Zustand") is None


def test_a_project_server_that_runs_is_neither_overwritten_nor_taken_away(project: RegisteredProject) -> None:
    place = default_state_dir(project.root)
    prepare_state_dir(place)
    with StateLock(place):
        with pytest.raises(ConflictError, match="separate server") as refused:
            point_to_daemon(project, URL)
        assert refused.value.code == "project_server_running"
        assert str(project.root) in refused.value.hint
        assert not runtime_path(place).exists()
    point_to_daemon(project, URL)
    with StateLock(place):
        withdraw_pointer(project)
        assert read_pointer(place) is not None


def test_somebody_who_only_looks_at_the_lock_is_waited_for(project: RegisteredProject) -> None:
    place = default_state_dir(project.root)
    prepare_state_dir(place)
    lock = StateLock(place)
    assert lock.acquire()
    timer = threading.Timer(PROBE_PATIENCE_S / 4, lock.release)
    timer.start()
    point_to_daemon(project, URL)
    timer.join()
    assert read_pointer(place) is not None


def test_another_project_s_pointer_is_left(project: RegisteredProject, tmp_path: Path) -> None:
    other = make_registration(tmp_path, default_state_dir(project.root))
    point_to_daemon(other, URL)
    withdraw_pointer(project)
    assert read_pointer(default_state_dir(project.root)) is not None


@pytest.mark.parametrize("text", ["", "{", '{"schema_version": 7}', '{"mode": "project"}'])
def test_what_is_no_pointer_is_left_where_it_lies(project: RegisteredProject, text: str) -> None:
    place = default_state_dir(project.root)
    prepare_state_dir(place)
    runtime_path(place).write_text(text)
    withdraw_pointer(project)
    assert runtime_path(place).read_text() == text


def test_a_place_that_cannot_be_made_is_told_by_name(
    project: RegisteredProject, caplog: pytest.LogCaptureFixture
) -> None:
    (project.root / ".claude").write_text("in the way")
    with pytest.raises(ConflictError, match=r"\.claude") as refused:
        point_to_daemon(project, URL)
    assert refused.value.code == "state_dir_unusable"
    try_point_to_daemon(project, URL)
    assert "No pointer to the daemon was written" in caplog.text
    withdraw_pointer(project)


def test_a_place_that_leads_out_of_the_project_is_told(
    project: RegisteredProject, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "outside").mkdir()
    (project.root / ".claude").symlink_to(tmp_path / "outside")
    with pytest.raises(ConflictError, match="leaves the project"):
        point_to_daemon(project, URL)
    withdraw_pointer(project)
    assert "was not withdrawn" in caplog.text
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_root_that_is_gone_is_not_made_again(project: RegisteredProject) -> None:
    shutil.rmtree(project.root)
    try_point_to_daemon(project, URL)
    withdraw_pointer(project)
    assert not project.root.exists()
