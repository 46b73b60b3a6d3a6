"""Where things lie, and what happens where they can't."""

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

NOBODY = 65534

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.delenv("DOC_SERVE_STATE_DIR", raising=False)
    root = (tmp_path / "Projekt mit Ä").resolve()
    root.mkdir()
    return root


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_the_default_place_is_inside_the_project(project):
    assert resolve_state_dir(project) == project / ".claude" / "Agent Brain"


def test_asking_for_the_place_creates_nothing(project):
    resolve_state_dir(project)
    assert list(project.iterdir()) == []


def test_the_variable_goes_before_the_default_and_the_flag_before_the_variable(project, tmp_path, monkeypatch):
    monkeypatch.setenv("DOC_SERVE_STATE_DIR", str(tmp_path / "variable"))
    assert resolve_state_dir(project) == (tmp_path / "variable").resolve()
    assert resolve_state_dir(project, tmp_path / "flag") == (tmp_path / "flag").resolve()


def test_a_relative_place_becomes_absolute(project, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resolve_state_dir(project, Path("state")) == (tmp_path / "state").resolve()


def test_every_path_to_a_project_has_the_same_place_and_two_projects_never(project, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(project)
    other = tmp_path / "other"
    other.mkdir()
    assert resolve_state_dir(link) == resolve_state_dir(project)
    assert resolve_state_dir(other) != resolve_state_dir(project)


def test_a_default_place_that_leads_out_of_the_project_is_refused(project, tmp_path):
    (project / ".claude").mkdir()
    (project / ".claude" / "Agent Brain").symlink_to(tmp_path)
    with pytest.raises(StateDirError, match="leaves the project"):
        resolve_state_dir(project)


def test_all_directories_are_made_and_private(project):
    paths = resolve_storage_paths(resolve_state_dir(project))
    assert set(paths) == {"state_dir", "data", "llamaindex", "chroma_db", "bm25_index", "logs"}
    for path in paths.values():
        assert path.is_absolute()
        assert mode_of(path) == 0o700
    assert paths["bm25_index"] == project / ".claude" / "Agent Brain" / "data" / "bm25_index"


def test_data_and_logs_can_lie_elsewhere(project, tmp_path):
    state_dir = resolve_state_dir(project)
    paths = resolve_storage_paths(state_dir, data_dir=str(tmp_path / "big disk"), log_dir="my logs")
    assert paths["chroma_db"] == tmp_path / "big disk" / "chroma_db"
    assert paths["logs"] == state_dir / "my logs"


def test_git_sees_only_the_settings(project):
    subprocess.run(["git", "init", "-q"], cwd=project, check=True)
    state_dir = resolve_state_dir(project)
    resolve_storage_paths(state_dir)
    runtime_path(state_dir).touch()
    config_path(state_dir).touch()
    listing = subprocess.run(
        ["git", "status", "--porcelain", "-uall", "-z"], cwd=project, check=True, capture_output=True, text=True
    )
    assert listing.stdout.split("\0") == ["?? .claude/Agent Brain/config.json", ""]


def test_a_directory_that_version_control_made_becomes_private(project):
    state_dir = resolve_state_dir(project)
    state_dir.mkdir(parents=True)
    state_dir.chmod(0o755)
    prepare_state_dir(state_dir)
    assert mode_of(state_dir) == 0o700


def test_a_relative_state_directory_is_refused():
    with pytest.raises(StateDirError, match="not an absolute path"):
        resolve_storage_paths(Path("state"))


def test_a_file_in_the_way_is_named(project):
    (project / ".claude").mkdir()
    (project / ".claude" / "Agent Brain").touch()
    with pytest.raises(StateDirError, match="Agent Brain is not a directory"):
        prepare_state_dir(resolve_state_dir(project))


@needs_root
def test_a_directory_of_another_user_is_refused(project):
    state_dir = resolve_state_dir(project)
    state_dir.mkdir(parents=True)
    os.chown(state_dir, NOBODY, NOBODY)
    with pytest.raises(StateDirError, match=f"another user .uid {NOBODY}"):
        prepare_state_dir(state_dir)


def test_the_home_can_be_named(tmp_path, monkeypatch):
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(tmp_path / "Heim ü"))
    assert brain_home() == (tmp_path / "Heim ü").resolve()
    monkeypatch.delenv("AGENT_BRAIN_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert brain_home() == tmp_path / ".Agent Brain"


def test_the_daemon_finds_a_projects_own_place_whatever_its_environment_names(project, monkeypatch, tmp_path):
    monkeypatch.setenv("DOC_SERVE_STATE_DIR", str(tmp_path / "elsewhere"))
    assert default_state_dir(project) == project / ".claude" / "Agent Brain"


def test_the_daemon_has_a_private_place_for_each_project(monkeypatch, tmp_path):
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(tmp_path / "home"))
    data = resolve_shared_project_dir("p_01234567")
    assert data == tmp_path / "home" / "projects" / "p_01234567" / "data"
    assert data.is_dir()
    assert mode_of(data) == 0o700
    assert data != resolve_shared_project_dir("p_01234568")
    assert data.is_relative_to(projects_dir())


@needs_root
def test_state_dir_in_a_marker_of_another_user_is_refused(tmp_path):
    state_dir = resolve_state_dir(tmp_path)
    prepare_state_dir(state_dir)
    os.chown(state_dir.parent, NOBODY, NOBODY)
    with pytest.raises(UnsafePathError, match="belongs to another user"):
        prepare_state_dir(state_dir)
    prepare_state_dir(tmp_path / "named")
