"""Every path in a project leads to the same root."""

import hashlib
import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from agent_brain_server import project_root
from agent_brain_server.errors import ConfigError
from agent_brain_server.project_root import generate_project_id, require_text, resolve_project_root


def git(directory, *arguments):
    identity = ("-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "protocol.file.allow=always")
    subprocess.run(["git", *identity, *arguments], cwd=directory, check=True, capture_output=True)


def make_repository(path):
    path.mkdir(parents=True)
    git(path, "init", "-q")
    git(path, "commit", "-q", "--allow-empty", "-m", "first")
    return path


@pytest.fixture
def base(tmp_path, monkeypatch):
    """A directory outside any repository or marker, with a space and an umlaut in its name."""
    directory = (tmp_path / "große Projekte").resolve()
    directory.mkdir()
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return directory


def test_root_is_the_same_for_all_directories(base):
    root = make_repository(base / "repo")
    nested = root / "a" / "b"
    nested.mkdir(parents=True)
    (nested / "pyproject.toml").touch()
    (nested / "file.py").touch()
    assert {resolve_project_root(path) for path in (root, root / "a", nested, nested / "file.py")} == {root}


def test_root_through_symlink_is_the_same(base):
    root = make_repository(base / "repo")
    (root / "src").mkdir()
    link = base / "link"
    link.symlink_to(root / "src")
    assert resolve_project_root(link) == root


def test_root_of_relative_path(base, monkeypatch):
    root = make_repository(base / "repo")
    (root / "src").mkdir()
    monkeypatch.chdir(root / "src")
    assert resolve_project_root(Path()) == root


def test_root_of_nested_submodule_is_outermost(base):
    inner = make_repository(base / "inner")
    middle = make_repository(base / "middle")
    git(middle, "submodule", "add", "-q", str(inner), "inner")
    git(middle, "commit", "-q", "-m", "add inner")
    outer = make_repository(base / "outer")
    git(outer, "submodule", "add", "-q", str(middle), "middle")
    git(outer, "submodule", "update", "-q", "--init", "--recursive")
    assert resolve_project_root(outer / "middle" / "inner") == outer


def test_root_of_linked_work_tree_is_that_tree(base):
    root = make_repository(base / "repo")
    git(root, "worktree", "add", "-q", str(base / "tree"))
    assert resolve_project_root(base / "tree") == base / "tree"


def test_root_ignores_environment_of_a_git_hook(base, monkeypatch):
    root = make_repository(base / "repo")
    other = make_repository(base / "other")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    assert resolve_project_root(root) == root


def give_away(*paths):
    for path in paths:
        os.chown(path, 65533, 65533, follow_symlinks=False)


only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")


@only_root
@pytest.mark.parametrize("part", [".", ".git"])
def test_root_ignores_repository_of_another_user(base, part):
    root = make_repository(base / "repo")
    (root / "src").mkdir()
    give_away(root / part)
    assert resolve_project_root(root / "src") == root / "src"


@only_root
@pytest.mark.parametrize("marker", [".git", ".claude", "pyproject.toml"])
def test_root_ignores_marker_of_another_user(base, marker):
    if marker == ".git":
        git(base, "init", "-q")
    else:
        (base / marker).mkdir()
    give_away(base / marker)
    (base / "work" / "src").mkdir(parents=True)
    assert resolve_project_root(base / "work" / "src") == base / "work" / "src"
    (base / "work" / "pyproject.toml").touch()
    assert resolve_project_root(base / "work" / "src") == base / "work"


@only_root
def test_root_own_repository_above_a_foreign_one(base):
    root = make_repository(base / "repo")
    inner = make_repository(root / "inner")
    give_away(inner, inner / ".git")
    assert resolve_project_root(inner) == root


@only_root
def test_root_ignores_marker_in_foreign_directory(base):
    (base / "shared" / "work").mkdir(parents=True)
    (base / "shared" / ".claude").mkdir()
    give_away(base / "shared")
    assert resolve_project_root(base / "shared" / "work") == base / "shared" / "work"


def test_root_ignores_repository_in_home(base, monkeypatch):
    make_repository(base / "home")
    monkeypatch.setenv("HOME", str(base / "home"))
    (base / "home" / "notes").mkdir()
    project = make_repository(base / "home" / "project")
    assert resolve_project_root(base / "home" / "notes") == base / "home" / "notes"
    assert resolve_project_root(project) == project


def test_root_ignores_marker_above_home(base, monkeypatch):
    monkeypatch.setenv("HOME", str(base / "users" / "me"))
    (base / "users" / "me" / "notes").mkdir(parents=True)
    (base / "users" / "pyproject.toml").touch()
    make_repository(base / "users" / "other").rename(base / "users" / "me" / ".git")
    assert resolve_project_root(base / "users" / "me" / "notes") == base / "users" / "me" / "notes"


def test_is_too_wide_home_and_parents(base, monkeypatch):
    monkeypatch.setenv("HOME", str(base / "users" / "me"))
    wide = [Path("/"), base, base / "users", base / "users" / "me"]
    assert all(map(project_root.is_too_wide, wide))
    assert not project_root.is_too_wide(base / "users" / "me" / "project")
    assert not project_root.is_too_wide(base / "users" / "other")
    with pytest.raises(ConfigError, match="not a project") as caught:
        project_root.require_project(base)
    assert caught.value.exit_code == 2
    assert f"--project-root '{base}'" in caught.value.hint


def test_is_too_wide_home_of_user_database(base, monkeypatch):
    monkeypatch.setenv("HOME", str(base))
    assert project_root.is_too_wide(Path(pwd.getpwuid(os.geteuid()).pw_dir))


def test_root_claude_marker_wins_over_nearer_pyproject(base):
    nested = base / "project" / "package" / "src"
    nested.mkdir(parents=True)
    (base / "project" / ".claude").mkdir()
    (base / "project" / "package" / "pyproject.toml").touch()
    assert resolve_project_root(nested) == base / "project"


def test_root_pyproject_without_claude_marker(base):
    nested = base / "project" / "src"
    nested.mkdir(parents=True)
    (base / "project" / "pyproject.toml").touch()
    assert resolve_project_root(nested) == base / "project"


def test_root_without_marker_is_the_directory(base):
    assert resolve_project_root(base) == base


def test_root_of_missing_directory_is_itself(base):
    assert resolve_project_root(base / "missing") == base / "missing"


def test_root_ignores_markers_in_home(base, monkeypatch):
    monkeypatch.setenv("HOME", str(base))
    (base / ".claude").mkdir()
    (base / "pyproject.toml").touch()
    (base / "notes").mkdir()
    assert resolve_project_root(base / "notes") == base / "notes"


def put_git_on_path(directory, monkeypatch, script):
    directory.mkdir()
    if script is not None:
        (directory / "git").write_text(script)
        (directory / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin" if script else str(directory))


def test_root_without_git_is_nearest_repository(base, monkeypatch):
    root = make_repository(base / "repo")
    (root / "src").mkdir()
    (root / "src" / "pyproject.toml").touch()
    put_git_on_path(base / "bin", monkeypatch, None)
    assert resolve_project_root(root / "src") == root


def test_root_without_git_of_submodule_is_outer(base, monkeypatch):
    inner, outer = make_repository(base / "inner"), make_repository(base / "outer")
    git(outer, "submodule", "add", "-q", str(inner), "inner")
    put_git_on_path(base / "bin", monkeypatch, None)
    assert resolve_project_root(outer / "inner") == outer


@pytest.mark.parametrize("script", ["exec sleep 60", "sleep 60"])  # a child process keeps the pipe open
def test_root_hung_git_falls_back_to_markers(base, monkeypatch, script):
    root = make_repository(base / "repo")
    (root / "src").mkdir()
    (root / "src" / ".claude").mkdir()
    put_git_on_path(base / "bin", monkeypatch, f"#!/bin/sh\n{script}\n")
    monkeypatch.setattr(project_root, "GIT_LIMIT_S", 0.5)
    assert resolve_project_root(root / "src") == root / "src"


def test_root_of_submodule_in_linked_work_tree(base):
    inner = make_repository(base / "inner")
    outer = make_repository(base / "outer")
    git(outer, "submodule", "add", "-q", str(inner), "inner")
    git(outer, "commit", "-q", "-m", "add inner")
    git(outer, "worktree", "add", "-q", str(base / "tree"))
    git(base / "tree", "submodule", "update", "-q", "--init")
    assert resolve_project_root(base / "tree" / "inner") == base / "tree"


def test_root_bare_repository_falls_back_to_markers(base):
    bare = base / "project" / "store.git"
    bare.mkdir(parents=True)
    git(bare, "init", "-q", "--bare")
    assert resolve_project_root(bare) == bare
    (base / "project" / "pyproject.toml").touch()
    assert resolve_project_root(bare / "refs") == base / "project"


def test_root_inside_git_directory_uses_marker(base):
    root = make_repository(base / "repo")
    (root / ".claude").mkdir()
    assert resolve_project_root(root / ".git" / "refs") == root


def test_root_broken_submodule_falls_back_to_markers(base):
    root = base / "project"
    (root / "vendored").mkdir(parents=True)
    (root / "pyproject.toml").touch()
    (root / "vendored" / ".git").write_text("gitdir: ../.git/modules/gone\n")
    assert resolve_project_root(root / "vendored") == root


@pytest.mark.parametrize("script", ["#!/bin/sh\nexit 3\n", "#!/bin/sh\n", "#!/bin/sh\necho /etc\n"])
def test_root_failing_git_falls_back_to_markers(base, monkeypatch, script):
    root = make_repository(base / "repo")
    (root / "src").mkdir()
    (root / "src" / "pyproject.toml").touch()
    put_git_on_path(base / "bin", monkeypatch, script)
    assert resolve_project_root(root / "src") == root / "src"


ODD_NAMES = (
    b"two words",
    b'it\'s "quoted"',
    b"line\nbreak",
    b"ends in a newline\n",
    "größe 日本".encode(),
    b"raw \xff\xfe",
    b"-C",
    b"$(id)",
)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_root_any_directory_name_is_resolved(base, name):
    root = make_repository(base / os.fsdecode(name))
    (root / "src").mkdir()
    assert resolve_project_root(root / "src") == root
    assert os.fsencode(resolve_project_root(root / "src").name) == name
    assert generate_project_id(root) == f"p_{hashlib.sha256(os.fsencode(root)).hexdigest()[:8]}"


@pytest.mark.parametrize("name", ODD_NAMES)
def test_root_any_directory_name_without_git(base, name):
    root = base / os.fsdecode(name)
    (root / "src").mkdir(parents=True)
    (root / ".claude").mkdir()
    assert resolve_project_root(root / "src") == root


def test_require_text_non_utf8_path_is_refused(base):
    require_text(base / "größe\n")
    with pytest.raises(ConfigError, match=r"raw \\udcff.*not UTF-8"):
        require_text(base / os.fsdecode(b"raw \xff"))


def test_root_home_only_from_home_itself(base, monkeypatch):
    monkeypatch.setenv("HOME", str(base))
    (base / ".claude").mkdir()
    assert resolve_project_root(base) == base
    (base / "work").mkdir()
    (base / "work" / "pyproject.toml").touch()
    (base / "work" / "src").mkdir()
    assert resolve_project_root(base / "work" / "src") == base / "work"


def test_root_ignores_markers_in_symlinked_home(base, monkeypatch, tmp_path):
    (tmp_path / "link").symlink_to(base)
    monkeypatch.setenv("HOME", str(tmp_path / "link"))
    (base / ".claude").mkdir()
    (base / "notes").mkdir()
    assert resolve_project_root(base / "notes") == base / "notes"


CHROOT = """
import os, sys
from pathlib import Path
from agent_brain_server.project_root import resolve_project_root
os.chroot(sys.argv[1])
os.chdir("/")
print(resolve_project_root(Path("/work/src")), resolve_project_root(Path("/")))
"""


@pytest.mark.process
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another directory the root of the file system")
def test_root_ignores_marker_in_file_system_root(base):
    (base / "work" / "src").mkdir(parents=True)
    (base / ".claude").mkdir()
    (base / "pyproject.toml").touch()
    answer = subprocess.run([sys.executable, "-c", CHROOT, base], capture_output=True, text=True, check=True)
    assert answer.stdout == "/work/src /\n"


def test_root_symlink_loop_and_user_without_home(base, monkeypatch):
    monkeypatch.setattr(Path, "home", classmethod(no_home))
    (base / "project" / ".claude").mkdir(parents=True)
    (base / "project" / "loop").symlink_to(base / "project" / "loop")
    assert resolve_project_root(base / "project") == base / "project"


def no_home(cls):
    raise RuntimeError("Could not determine home directory.")


def test_generate_project_id_is_the_same_for_all_paths(base):
    root = base / "projekt ü"
    root.mkdir()
    link = base / "link"
    link.symlink_to(root)
    identifier = generate_project_id(root)
    assert identifier == generate_project_id(link)
    assert identifier != generate_project_id(base)
    assert len(identifier) == 10
    assert identifier.startswith("p_")
    assert int(identifier[2:], 16) >= 0


def test_generate_project_id_is_the_documented_hash():
    assert generate_project_id(Path("/")) == "p_8a5edab2"  # sha256 of "/"


def test_describe_large_project_counts_files_with_hint():
    assert project_root.describe_large_project(100_000) is None
    remark = project_root.describe_large_project(219_956)
    assert remark is not None
    assert "219,956 files" in remark
    assert "agent-brain index --exclude" in remark
