"""Paths of files and directories, and errors for unusable ones."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

from agent_brain_server.errors import StateDirError, UnsafePathError
from agent_brain_server.storage_paths import (
    brain_home,
    config_path,
    default_state_dir,
    prepare_state_dir,
    projects_dir,
    resolve_shared_project_dir,
    resolve_state_dir,
    resolve_storage_paths,
    runtime_path,
)

OTHER_UID = 65534

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.delenv("DOC_SERVE_STATE_DIR", raising=False)
    root = (tmp_path / "Projekt mit Ä").resolve()
    root.mkdir()
    return root


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_resolve_state_dir_default_is_in_the_project(project):
    assert resolve_state_dir(project) == project / ".claude" / "Agent Brain"


def test_resolve_state_dir_creates_nothing(project):
    resolve_state_dir(project)
    assert list(project.iterdir()) == []


def test_resolve_state_dir_flag_overrides_variable(project, tmp_path, monkeypatch):
    monkeypatch.setenv("DOC_SERVE_STATE_DIR", str(tmp_path / "variable"))
    assert resolve_state_dir(project) == (tmp_path / "variable").resolve()
    assert resolve_state_dir(project, tmp_path / "flag") == (tmp_path / "flag").resolve()


def test_resolve_state_dir_relative_becomes_absolute(project, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resolve_state_dir(project, Path("state")) == (tmp_path / "state").resolve()


def test_resolve_state_dir_is_unique_per_project(project, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(project)
    other = tmp_path / "other"
    other.mkdir()
    assert resolve_state_dir(link) == resolve_state_dir(project)
    assert resolve_state_dir(other) != resolve_state_dir(project)


def test_resolve_state_dir_outside_project_is_refused(project, tmp_path):
    (project / ".claude").mkdir()
    (project / ".claude" / "Agent Brain").symlink_to(tmp_path)
    with pytest.raises(StateDirError, match="leaves the project"):
        resolve_state_dir(project)


def test_resolve_storage_paths_are_private(project):
    paths = resolve_storage_paths(resolve_state_dir(project))
    assert set(paths) == {"state_dir", "data", "llamaindex", "chroma_db", "bm25_index", "logs"}
    for path in paths.values():
        assert path.is_absolute()
        assert mode_of(path) == 0o700
    assert paths["bm25_index"] == project / ".claude" / "Agent Brain" / "data" / "bm25_index"


def test_resolve_storage_paths_named_directories(project, tmp_path):
    state_dir = resolve_state_dir(project)
    paths = resolve_storage_paths(state_dir, data_dir=str(tmp_path / "big disk"), log_dir="my logs")
    assert paths["chroma_db"] == tmp_path / "big disk" / "chroma_db"
    assert paths["logs"] == state_dir / "my logs"


def test_prepare_state_dir_git_sees_only_settings(project):
    subprocess.run(["git", "init", "-q"], cwd=project, check=True)
    state_dir = resolve_state_dir(project)
    resolve_storage_paths(state_dir)
    runtime_path(state_dir).touch()
    config_path(state_dir).touch()
    listing = subprocess.run(
        ["git", "status", "--porcelain", "-uall", "-z"], cwd=project, check=True, capture_output=True, text=True
    )
    assert listing.stdout.split("\0") == ["?? .claude/Agent Brain/config.json", ""]


def test_prepare_state_dir_existing_becomes_private(project):
    state_dir = resolve_state_dir(project)
    state_dir.mkdir(parents=True)
    state_dir.chmod(0o755)
    prepare_state_dir(state_dir)
    assert mode_of(state_dir) == 0o700


def test_prepare_state_dir_relative_is_refused():
    with pytest.raises(StateDirError, match="not an absolute path"):
        resolve_storage_paths(Path("state"))


def test_prepare_state_dir_file_in_the_way_is_named(project):
    (project / ".claude").mkdir()
    (project / ".claude" / "Agent Brain").touch()
    with pytest.raises(StateDirError, match="Agent Brain is not a directory"):
        prepare_state_dir(resolve_state_dir(project))


@needs_root
def test_prepare_state_dir_of_another_user_is_refused(project):
    state_dir = resolve_state_dir(project)
    state_dir.mkdir(parents=True)
    os.chown(state_dir, OTHER_UID, OTHER_UID)
    with pytest.raises(StateDirError, match=f"another user .uid {OTHER_UID}"):
        prepare_state_dir(state_dir)


def test_brain_home_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(tmp_path / "Heim ü"))
    assert brain_home() == (tmp_path / "Heim ü").resolve()
    monkeypatch.delenv("AGENT_BRAIN_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert brain_home() == tmp_path / ".Agent Brain"


def test_default_state_dir_ignores_the_environment(project, monkeypatch, tmp_path):
    monkeypatch.setenv("DOC_SERVE_STATE_DIR", str(tmp_path / "elsewhere"))
    assert default_state_dir(project) == project / ".claude" / "Agent Brain"


def test_resolve_shared_project_dir_is_private(monkeypatch, tmp_path):
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(tmp_path / "home"))
    data = resolve_shared_project_dir("p_01234567")
    assert data == tmp_path / "home" / "projects" / "p_01234567" / "data"
    assert data.is_dir()
    assert mode_of(data) == 0o700
    assert data != resolve_shared_project_dir("p_01234568")
    assert data.is_relative_to(projects_dir())


@needs_root
def test_prepare_state_dir_in_foreign_marker_is_refused(tmp_path):
    state_dir = resolve_state_dir(tmp_path)
    prepare_state_dir(state_dir)
    os.chown(state_dir.parent, OTHER_UID, OTHER_UID)
    with pytest.raises(UnsafePathError, match="belongs to another user"):
        prepare_state_dir(state_dir)
    prepare_state_dir(tmp_path / "named")
