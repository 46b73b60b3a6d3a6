"""Registrations of projects with the shared daemon, on disk."""

import json
import stat
from pathlib import Path

import pytest

from agent_brain_server.errors import InvalidRequestError, StateDirError
from agent_brain_server.lifecycle.registry import (
    RegisteredProject,
    delete_registration,
    list_registrations,
    make_registration,
    save_registration,
)
from agent_brain_server.storage_paths import (
    brain_home,
    default_state_dir,
    resolve_shared_project_dir,
    shared_project_file,
    shared_project_home,
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(tmp_path / "home"))
    return brain_home()


@pytest.fixture
def project(tmp_path: Path) -> RegisteredProject:
    root = tmp_path / "projekt ä"
    root.mkdir()
    return make_registration(root)


def test_registration_is_saved_listed_and_deleted(project: RegisteredProject) -> None:
    assert list_registrations() == []
    save_registration(project)
    assert list_registrations() == [project]
    path = shared_project_file(project.project_id)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text()) == {
        "schema_version": 1,
        "project_id": project.project_id,
        "project_root": str(project.root),
        "registered_at": project.registered_at,
    }
    data = resolve_shared_project_dir(project.project_id)
    (data / "index").write_text("x")
    delete_registration(project.project_id, with_data=False)
    assert list_registrations() == []
    assert (data / "index").exists()
    delete_registration(project.project_id, with_data=True)
    delete_registration(project.project_id, with_data=True)
    assert not data.exists()


def test_registration_keeps_the_named_state_dir(project: RegisteredProject, tmp_path: Path) -> None:
    state_dir = tmp_path / "Ort ü"
    moved = make_registration(project.root, state_dir)
    save_registration(moved)
    assert list_registrations() == [moved]
    assert (moved.locate_state_dir(), project.locate_state_dir()) == (state_dir, default_state_dir(project.root))
    save_registration(project)
    assert list_registrations() == [project]


@pytest.mark.parametrize("state_dir", [3, "relative", "/with\0zero", "", None])
def test_registration_with_invalid_state_dir_uses_default(project: RegisteredProject, state_dir: object) -> None:
    save_registration(project)
    path = shared_project_file(project.project_id)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"state_dir": state_dir}))
    assert list_registrations() == [project]


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"schema_version": 2}', '{"schema_version": 1, "project_root": 3}'],
)
def test_invalid_registration_is_logged_and_kept(
    project: RegisteredProject, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    save_registration(project)
    path = shared_project_file(project.project_id)
    path.write_text(content)
    assert list_registrations() == []
    assert "project.json" in caplog.text
    assert path.read_text() == content


def test_registration_of_another_project_is_ignored(project: RegisteredProject, tmp_path: Path) -> None:
    save_registration(project)
    path = shared_project_file(project.project_id)
    path.write_text(path.read_text().replace(str(tmp_path)[-4:], "else"))
    assert list_registrations() == []


def test_registration_with_a_loop_of_links_is_listed(project: RegisteredProject) -> None:
    save_registration(project)
    project.root.rmdir()
    project.root.symlink_to(project.root)
    assert list_registrations() == [project]
    assert not project.has_root()


def test_other_names_in_the_directory_are_ignored(project: RegisteredProject) -> None:
    save_registration(project)
    (shared_project_home(project.project_id).parent / "notes").mkdir()
    (shared_project_home("p_00000000")).mkdir()
    assert list_registrations() == [project]


@pytest.mark.parametrize("bad", ["", "..", "p_12345678/../..", "p_1234567G", "p_123456789", "p_12345678\n"])
def test_invalid_id_names_no_path(bad: str, home: Path) -> None:
    for find in (shared_project_home, shared_project_file, resolve_shared_project_dir):
        with pytest.raises(InvalidRequestError):
            find(bad)
    assert not home.exists()


def test_unwritable_home_is_an_error(project: RegisteredProject, home: Path) -> None:
    home.write_text("in the way")
    with pytest.raises(StateDirError):
        save_registration(project)
