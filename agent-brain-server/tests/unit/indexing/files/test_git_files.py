"""Listing real repositories with git."""

import subprocess
from pathlib import Path

import pytest

from agent_brain_server.indexing.files import git_files
from agent_brain_server.indexing.files.git_files import list_git_files

GIT = ("git", "-c", "user.name=a", "-c", "user.email=a@example.org")


def git(folder: Path, *arguments: str) -> None:
    subprocess.run([*GIT, *arguments], cwd=folder, check=True, capture_output=True)


def make_repository(folder: Path, *paths: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "-q")
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("words\n")
    return folder


def test_list_git_files_omits_ignored_files(tmp_path: Path) -> None:
    make_repository(tmp_path, "tracked.py", "new.py", "noise.log", "node_modules/a.js")
    (tmp_path / ".gitignore").write_text("*.log\n")
    git(tmp_path, "add", "tracked.py")
    listing = list_git_files(tmp_path)
    assert listing is not None
    assert listing.files == {b".gitignore", b"tracked.py", b"new.py"}


def test_list_git_files_names_with_any_bytes(tmp_path: Path) -> None:
    names = {b"a b.py", b'quo"te.py', b"new\nline.py", b"\xff.py", "ä.py".encode(), b"tab\t.py"}
    make_repository(tmp_path)
    for name in names:
        with open(bytes(tmp_path) + b"/" + name, "w") as file:
            file.write("x")
    git(tmp_path, "add", "a b.py")
    listing = list_git_files(tmp_path)
    assert listing is not None
    assert listing.files == names


def test_list_git_files_subdirectory_is_relative(tmp_path: Path) -> None:
    make_repository(tmp_path, "a.py", "sub/b.py")
    listing = list_git_files(tmp_path / "sub")
    assert listing is not None
    assert listing.files == {b"b.py"}


def test_list_git_files_nested_repositories_and_worktrees(tmp_path: Path) -> None:
    make_repository(tmp_path, "a.py")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "x")
    make_repository(tmp_path / "vendored/inner", "c.py")
    git(tmp_path, "worktree", "add", "-q", "--detach", "tree")
    listing = list_git_files(tmp_path)
    assert listing is not None
    assert listing.files == {b"a.py", b"vendored/inner/c.py"}
    assert listing.worktrees == [b"tree"]


def test_list_git_files_bounds_nested_repositories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_repository(tmp_path, "a.py")
    for name in ("b", "c", "d"):
        make_repository(tmp_path / name, "inner.py")
    monkeypatch.setattr(git_files, "MAX_REPOSITORIES", 3)
    listing = list_git_files(tmp_path)
    assert listing is not None
    assert len(listing.files) == 3


def test_list_git_files_broken_repository_is_unlisted(tmp_path: Path) -> None:
    make_repository(tmp_path, "a.py")
    make_repository(tmp_path / "broken", "b.py")
    git(tmp_path / "broken", "add", ".")
    (tmp_path / "broken/.git/index").write_bytes(b"not an index")
    listing = list_git_files(tmp_path)
    assert listing is not None
    assert listing.files == {b"a.py"}
    assert listing.unlisted == [b"broken"]


def test_list_git_files_submodule_not_checked_out(tmp_path: Path) -> None:
    library = make_repository(tmp_path / "library", "a.py")
    git(library, "add", ".")
    git(library, "commit", "-qm", "x")
    project = make_repository(tmp_path / "project", "b.py")
    git(project, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(library), "lib")
    git(project, "submodule", "deinit", "-f", "lib")
    listing = list_git_files(project)
    assert listing is not None
    assert listing.files == {b"b.py", b".gitmodules"}


def test_list_git_files_without_git_returns_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert list_git_files(tmp_path) is None
    make_repository(tmp_path, "a.py")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert list_git_files(tmp_path) is None
    assert "git could not list" in caplog.text


def test_list_git_files_times_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin/git"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setattr(git_files, "GIT_TIMEOUT_S", 0.2)
    assert list_git_files(tmp_path) is None
