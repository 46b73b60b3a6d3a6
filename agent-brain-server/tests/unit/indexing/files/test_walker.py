import os
import socket
import subprocess
from pathlib import Path

import pytest

from agent_brain_server.errors import InvalidRequestError, NotFoundError
from agent_brain_server.indexing.files.walker import WalkOptions, walk_files

GIT = ("git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "protocol.file.allow=always")


def git(folder: Path, *arguments: str) -> None:
    subprocess.run([*GIT, *arguments], cwd=folder, check=True, capture_output=True)


def write(root: Path, *paths: str, text: str = "words\n") -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def walk(root: Path, start: str = ".", **options):
    return walk_files(root, root / start, WalkOptions(**options))


def paths_of(found) -> list[str]:
    return [file.path for file in found.files]


@pytest.fixture(params=["git", "scan"])
def root(request, tmp_path) -> Path:
    """A project with spaces, quotes, umlauts and a newline in its path, with and without git."""
    project = tmp_path / 'a project\'s "nämé"\nhere'
    project.mkdir()
    if request.param == "git":
        git(project, "init", "-q")
    return project


def test_walk_files_sorted_with_stat(root):
    write(root, "b.py", "a/z.py", "a.py")
    found = walk(root)
    assert paths_of(found) == ["a.py", "a/z.py", "b.py"]
    assert found.files[0].size == 6
    assert found.files[0].mtime_ns == (root / "a.py").stat().st_mtime_ns


def test_walk_files_nested_ignore_files_and_negation(root):
    write(root, "a.log", "keep.log", "sub/b.log", "sub/c.tmp", "sub/d.py", "out/e.py", "sub/out/f.py", ".hidden")
    write(root, ".gitignore", text="*.log\n!keep.log\n/out/\n")
    write(root, "sub/.gitignore", text="*.tmp\n!b.log\n")
    assert paths_of(walk(root)) == [
        ".gitignore", ".hidden", "keep.log", "sub/.gitignore", "sub/b.log", "sub/d.py", "sub/out/f.py",
    ]  # fmt: skip


def test_walk_files_root_ignore_file_applies_to_start(root):
    write(root, "sub/a.py", "sub/b.log", "c.py")
    write(root, ".gitignore", text="*.log\n")
    assert paths_of(walk(root, "sub")) == ["sub/a.py"]


def test_walk_files_applies_info_exclude(root):
    write(root, "a.py", "secret.py")
    write(root, ".git/info/exclude", text="secret.py\n")
    assert paths_of(walk(root)) == ["a.py"]


def test_walk_files_excludes_tool_output(root):
    write(root, "a.py", "node_modules/x/index.js", ".venv/lib/y.py", "pkg/__pycache__/z.txt")
    assert paths_of(walk(root)) == ["a.py"]


def test_walk_files_excludes_cache_without_git(tmp_path):
    write(tmp_path, "a.py", "target/CACHEDIR.TAG", "target/b.rs", "env/pyvenv.cfg", "env/c.py", "build/d.py")
    assert paths_of(walk(tmp_path)) == ["a.py", "build/d.py"]


def test_walk_files_excludes_state_directory(root):
    write(root, "a.py", ".claude/settings.json", ".claude/Agent Brain/config.json", "sub/.claude/Agent Brain/x.txt")
    write(root, "elsewhere/state/runtime.json")
    write(root, "data/llamaindex/note.md", "logs/server.md", "sub/logs/kept.md", "logs of mine/kept.md")
    found = walk(root, own_dirs=(root / "elsewhere" / "state", root / "data", root / "logs", root.parent / "aside"))
    assert paths_of(found) == [".claude/settings.json", "a.py", "logs of mine/kept.md", "sub/logs/kept.md"]


def test_walk_files_does_not_follow_links(root, tmp_path):
    write(root, "a.py", "sub/b.py")
    write(tmp_path, "outside/c.py")
    for name, target in {
        "same": "a.py", "folder": "sub", "up": "..", "out": str(tmp_path / "outside"), "gone": "nothing",
        "loop": "loop", "sub/back": "..",
    }.items():  # fmt: skip
        (root / name).symlink_to(target)
    found = walk(root)
    assert paths_of(found) == ["a.py", "sub/b.py"]
    assert {skip.path: skip.reason for skip in found.skipped} == {
        "folder": "symlink", "gone": "dangling_symlink", "loop": "symlink_loop", "out": "symlink_outside",
        "same": "symlink", "sub/back": "symlink", "up": "symlink_outside",
    }  # fmt: skip


def test_walk_files_skips_special_files_with_reason(root):
    write(root, "a.py", "logo.png", "yarn.lock", "app.min.js", "locale/de.po")
    write(root, "empty.py", text="")
    write(root, "large.txt", text="x" * 2000)
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        directory = os.open(root, os.O_RDONLY)
        try:
            server.bind(f"/proc/self/fd/{directory}/sock")
        finally:
            os.close(directory)
        (Path(os.fsdecode(os.fsencode(root) + b"/bad\xff.py"))).write_text("x")
        found = walk(root, max_file_bytes=1000)
    assert paths_of(found) == ["a.py"]
    assert {skip.path: skip.reason for skip in found.skipped} == {
        "app.min.js": "generated", "bad\\xff.py": "undecodable_name", "empty.py": "empty", "large.txt": "too_large",
        "locale/de.po": "translation", "logo.png": "binary", "pipe": "special_file", "sock": "special_file",
        "yarn.lock": "generated",
    }  # fmt: skip
    assert found.skip_counts["special_file"] == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the user")
@pytest.mark.usefixtures("public_tmp_path")
def test_walk_files_skips_unreadable(tmp_path):
    write(tmp_path, "a.py", "b.py", "closed/c.py")
    (tmp_path / "b.py").chmod(0)
    (tmp_path / "closed").chmod(0)
    os.seteuid(65534)
    try:
        found = walk(tmp_path)
    finally:
        os.seteuid(0)
    assert paths_of(found) == ["a.py"]
    assert {skip.path: skip.reason for skip in found.skipped} == {"b.py": "unreadable", "closed": "unreadable"}


def test_walk_files_include_and_exclude_globs(root):
    write(root, "src/a.py", "src/deep/b.py", "src/c.md", "docs/d.md", "e.py")
    assert paths_of(walk(root, include_patterns=("src/**/*.py",))) == ["src/a.py", "src/deep/b.py"]
    assert paths_of(walk(root, include_patterns=("*.py",), exclude_patterns=("deep/",))) == ["e.py", "src/a.py"]


@pytest.mark.parametrize("glob", ["[", "a[b", "a\\", "#x", "/", "!", " ", "a\0b", "a\nb"])
def test_walk_files_invalid_glob_raises(tmp_path, glob):
    with pytest.raises(InvalidRequestError) as caught:
        walk(tmp_path, exclude_patterns=("*.py", glob))
    assert repr(glob) in caught.value.message
    assert "exclude_patterns" in caught.value.message


def test_walk_files_non_recursive(root):
    write(root, "a.py", "sub/b.py", "sub/deep/c.py")
    assert paths_of(walk(root, recursive=False)) == ["a.py"]
    assert paths_of(walk(root, "sub", recursive=False)) == ["sub/b.py"]


def test_walk_files_single_file(root):
    write(root, "sub/a.py", "sub/b.py")
    assert paths_of(walk(root, "sub/a.py")) == ["sub/a.py"]


def test_walk_files_start_outside_or_missing_raises(root, tmp_path):
    write(tmp_path, "outside/c.py")
    (root / "leaves").symlink_to(tmp_path / "outside")
    (root / "dangles").symlink_to("nothing")
    (root / "loops").symlink_to("loops")
    os.mkfifo(root / "pipe")
    for start, code in {
        "..": "outside_project", "leaves": "outside_project", "pipe": "not_a_file",
    }.items():  # fmt: skip
        with pytest.raises(InvalidRequestError) as caught:
            walk(root, start)
        assert caught.value.code == code
    for start in ("missing", "dangles", "loops", "a\0b", "x" * 5000):
        with pytest.raises(NotFoundError):
            walk_files(root, Path(start), WalkOptions())


def test_walk_files_omits_deleted_and_replaced_files(tmp_path):
    git(tmp_path, "init", "-q")
    write(tmp_path, "kept.py", "gone.py", "folder/inner.py", "elsewhere/inner.py", "ignored.log")
    write(tmp_path, ".gitignore", text="*.log\n")
    git(tmp_path, "add", "-f", ".")
    (tmp_path / "gone.py").unlink()
    (tmp_path / "folder" / "inner.py").unlink()
    (tmp_path / "folder").rmdir()
    (tmp_path / "folder").symlink_to("elsewhere")
    found = walk(tmp_path)
    assert paths_of(found) == [".gitignore", "elsewhere/inner.py", "ignored.log", "kept.py"]


def test_walk_files_includes_submodules_and_repositories(tmp_path):
    library, project = tmp_path / "library", tmp_path / "project"
    for folder in (library, project, project / "vendored"):
        folder.mkdir()
        git(folder, "init", "-q")
        write(folder, "a.py")
        git(folder, "add", "a.py")
        git(folder, "commit", "-qm", "x")
    git(project, "submodule", "add", "-q", str(library), "lib")
    git(project, "worktree", "add", "-q", "--detach", "other tree")
    found = walk(project)
    assert paths_of(found) == [".gitmodules", "a.py", "lib/a.py", "vendored/a.py"]
    assert [(skip.path, skip.reason) for skip in found.skipped] == [("other tree", "other_worktree")]


def test_walk_files_project_ignored_by_repository(tmp_path):
    git(tmp_path, "init", "-q")
    write(tmp_path, ".gitignore", text="*\n")
    write(tmp_path, "project/a.py", "project/b.log")
    write(tmp_path, "project/.gitignore", text="*.log\n")
    assert paths_of(walk(tmp_path / "project")) == [".gitignore", "a.py"]


def test_walk_files_ignores_git_hook_variables(tmp_path, monkeypatch):
    other, project = tmp_path / "other", tmp_path / "project"
    for folder in (other, project):
        folder.mkdir()
        git(folder, "init", "-q")
    write(project, "a.py", "b.log")
    write(project, ".gitignore", text="*.log\n")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))
    assert paths_of(walk(project)) == [".gitignore", "a.py"]


def test_walk_files_runs_no_program_of_project(tmp_path):
    git(tmp_path, "init", "-q")
    write(tmp_path, "a.py")
    write(tmp_path, "hook.sh", text=f"#!/bin/sh\ntouch '{tmp_path}/was-run'\n")
    (tmp_path / "hook.sh").chmod(0o755)
    git(tmp_path, "config", "core.fsmonitor", str(tmp_path / "hook.sh"))
    walk(tmp_path)
    assert not (tmp_path / "was-run").exists()


def test_walk_files_unreadable_ignore_file(tmp_path):
    write(tmp_path, "a.py", "b.log", "sub/.gitignore/c.py")
    (tmp_path / ".gitignore").write_bytes(b"\xff\xfe\n*.log\n!\n")
    assert paths_of(walk(tmp_path)) == [".gitignore", "a.py", "sub/.gitignore/c.py"]


def test_walk_files_inside_ignored_directory_is_empty(root):
    write(root, "a.py", "out/b.py", "out/deep/c.py")
    write(root, ".gitignore", text="out/\n")
    assert paths_of(walk(root, "out")) == paths_of(walk(root, "out/deep")) == []


def test_walk_files_enters_directory_with_exception(root):
    write(root, "logs/a.txt", "logs/keep.txt", "b.py")
    write(root, ".gitignore", text="logs/**\n!logs/keep.txt\n[z-a]\n")
    assert paths_of(walk(root)) == [".gitignore", "b.py", "logs/keep.txt"]
