"""One project has one root, from wherever one asks."""

import os
import subprocess
from pathlib import Path

import pytest

from agent_brain_server import project_root
from agent_brain_server.project_root import generate_project_id, resolve_project_root


def git(directory, *arguments):
    identity = ("-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "protocol.file.allow=always")
    subprocess.run(["git", *identity, *arguments], cwd=directory, check=True, capture_output=True)


def make_repository(path):
    path.mkdir(parents=True)
    git(path, "init", "-q")
    git(path, "commit", "-q", "--allow-empty", "-m", "first")
    return path


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A directory that no repository or marker surrounds, with a space and an umlaut in its name."""
    directory = (tmp_path / "große Projekte").resolve()
    directory.mkdir()
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return directory


def test_every_directory_of_a_repository_has_the_same_root(place):
    root = make_repository(place / "repo")
    nested = root / "a" / "b"
    nested.mkdir(parents=True)
    (nested / "pyproject.toml").touch()
    (nested / "file.py").touch()
    assert {resolve_project_root(path) for path in (root, root / "a", nested, nested / "file.py")} == {root}


def test_a_symlink_into_the_project_leads_to_the_same_root(place):
    root = make_repository(place / "repo")
    (root / "src").mkdir()
    link = place / "link"
    link.symlink_to(root / "src")
    assert resolve_project_root(link) == root


def test_a_relative_path_counts_from_the_current_directory(place, monkeypatch):
    root = make_repository(place / "repo")
    (root / "src").mkdir()
    monkeypatch.chdir(root / "src")
    assert resolve_project_root(Path()) == root


def test_a_submodule_of_a_submodule_belongs_to_the_outermost_project(place):
    inner = make_repository(place / "inner")
    middle = make_repository(place / "middle")
    git(middle, "submodule", "add", "-q", str(inner), "inner")
    git(middle, "commit", "-q", "-m", "add inner")
    outer = make_repository(place / "outer")
    git(outer, "submodule", "add", "-q", str(middle), "middle")
    git(outer, "submodule", "update", "-q", "--init", "--recursive")
    assert resolve_project_root(outer / "middle" / "inner") == outer


def test_a_linked_work_tree_is_a_project_of_its_own(place):
    root = make_repository(place / "repo")
    git(root, "worktree", "add", "-q", str(place / "tree"))
    assert resolve_project_root(place / "tree") == place / "tree"


def test_a_git_hook_s_environment_does_not_mislead(place, monkeypatch):
    root = make_repository(place / "repo")
    other = make_repository(place / "other")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    assert resolve_project_root(root) == root


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_repository_of_another_user_is_found(place):
    root = make_repository(place / "repo")
    (root / "src").mkdir()
    os.chown(root, 65534, 65534)
    os.chown(root / ".git", 65534, 65534)
    assert resolve_project_root(root / "src") == root


def test_without_git_the_claude_marker_goes_before_a_nearer_pyproject(place):
    nested = place / "project" / "package" / "src"
    nested.mkdir(parents=True)
    (place / "project" / ".claude").mkdir()
    (place / "project" / "package" / "pyproject.toml").touch()
    assert resolve_project_root(nested) == place / "project"


def test_without_the_claude_marker_pyproject_decides(place):
    nested = place / "project" / "src"
    nested.mkdir(parents=True)
    (place / "project" / "pyproject.toml").touch()
    assert resolve_project_root(nested) == place / "project"


def test_without_any_marker_the_directory_itself_is_the_project(place):
    assert resolve_project_root(place) == place


def test_a_missing_directory_is_its_own_project(place):
    assert resolve_project_root(place / "missing") == place / "missing"


def test_home_is_never_chosen_for_its_markers(place, monkeypatch):
    monkeypatch.setenv("HOME", str(place))
    (place / ".claude").mkdir()
    (place / "pyproject.toml").touch()
    (place / "notes").mkdir()
    assert resolve_project_root(place / "notes") == place / "notes"


def put_git_on_path(directory, monkeypatch, script):
    directory.mkdir()
    if script is not None:
        (directory / "git").write_text(script)
        (directory / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin" if script else str(directory))


def test_a_missing_git_falls_through_to_the_markers(place, monkeypatch):
    root = make_repository(place / "repo")
    (root / "src").mkdir()
    (root / "pyproject.toml").touch()
    put_git_on_path(place / "bin", monkeypatch, None)
    assert resolve_project_root(root / "src") == root


def test_a_hung_git_falls_through_to_the_markers(place, monkeypatch):
    root = make_repository(place / "repo")
    (root / "src").mkdir()
    (root / ".claude").mkdir()
    put_git_on_path(place / "bin", monkeypatch, "#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr(project_root, "GIT_LIMIT_S", 0.2)
    assert resolve_project_root(root / "src") == root


def test_the_project_id_is_the_same_for_every_path_to_the_root(place):
    root = place / "projekt ü"
    root.mkdir()
    link = place / "link"
    link.symlink_to(root)
    identifier = generate_project_id(root)
    assert identifier == generate_project_id(link)
    assert identifier != generate_project_id(place)
    assert len(identifier) == 10
    assert identifier.startswith("p_")
    assert int(identifier[2:], 16) >= 0


def test_the_project_id_is_the_documented_hash():
    assert generate_project_id(Path("/")) == "p_8a5edab2"  # sha256 of "/"
