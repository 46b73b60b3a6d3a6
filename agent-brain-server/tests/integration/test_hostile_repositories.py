"""A repository is data: no program that its configuration names is run.

Each trap is a real repository in which some git command would start the program `touch <canary>`. Where plain git
springs it, the test first shows that.
"""

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent_brain_server import project_root
from agent_brain_server.indexing.files import git_files
from agent_brain_server.indexing.files.walker import WalkOptions, walk_files
from agent_brain_server.project_root import resolve_project_root
from agent_brain_server.support import git as git_module

LIMIT_S = 600.0
STRANGER = 65533

SOURCES = ["src/.gitignore", "src/walrus.py"]

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")


@dataclass(frozen=True)
class Trap:
    """A repository that would run a program.

    Attributes:
        root: The work tree.
        start: Where a user stands in it.
        canary: Exists once a program of the repository has run.
        naive: A git command that springs it; empty where no command that lists files does.
    """

    root: Path
    start: Path
    canary: Path
    naive: tuple[str, ...] = ()


def git(directory: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "protocol.file.allow=always")
    subprocess.run(["git", *identity, *arguments], cwd=directory, check=True, capture_output=True)


def make_repository(root: Path) -> Path:
    (root / "src").mkdir(parents=True)
    (root / "src" / "walrus.py").write_text("def walrus():\n    return 'tusks'\n")
    (root / "src" / ".gitignore").write_text("*.log\n")
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "first")
    return root


def configure(root: Path, **settings: str) -> None:
    for name, value in settings.items():
        git(root, "config", name.replace("__", "."), value)


def set_program(name: str, *naive: str, tail: str = "; false") -> Callable[[Path], Trap]:
    """Return what makes a repository whose setting `name` is a program."""

    def make(place: Path) -> Trap:
        root, canary = make_repository(place / "repo"), place / "canary"
        git(root, "config", name, f"touch {shlex.quote(str(canary))}{tail}")
        return Trap(root, root / "src", canary, naive)

    return make


def make_alias(name: str) -> Callable[[Path], Trap]:
    """Return what makes a repository with an alias by the name of a command."""

    def make(place: Path) -> Trap:
        root, canary = make_repository(place / "repo"), place / "canary"
        git(root, "config", f"alias.{name}", f"!touch {shlex.quote(str(canary))}")
        return Trap(root, root, canary)

    return make


def make_filters(place: Path) -> Trap:
    root, canary = make_repository(place / "repo"), place / "canary"
    (root / ".gitattributes").write_text("* filter=evil diff=evil\n")
    for name in ("filter.evil.clean", "filter.evil.smudge", "filter.evil.process", "diff.evil.textconv"):
        git(root, "config", name, f"touch {shlex.quote(str(canary))}")
    (root / "src" / "walrus.py").write_text("def walrus():\n    return 'other'\n")
    return Trap(root, root, canary, ("status",))


def make_hooks(place: Path) -> Trap:
    root, canary = make_repository(place / "repo"), place / "canary"
    for name in ("post-index-change", "reference-transaction", "fsmonitor-watchman", "pre-auto-gc", "post-checkout"):
        hook = root / ".git" / "hooks" / name
        hook.write_text(f"#!/bin/sh\ntouch {shlex.quote(str(canary))}\n")
        hook.chmod(0o755)
    os.utime(root / "src" / "walrus.py", (1, 1))
    return Trap(root, root, canary, ("status",))


def make_include(key: str) -> Callable[[Path], Trap]:
    """Return what makes a repository that includes another configuration, which names a program."""

    def make(place: Path) -> Trap:
        root, canary = make_repository(place / "repo"), place / "canary"
        (place / "included").write_text(f'[core]\n\tfsmonitor = "touch {shlex.quote(str(canary))}; false"\n')
        git(root, "config", key.format(root=root), str(place / "included"))
        return Trap(root, root, canary, ("status",))

    return make


def make_promisor(place: Path, *, sparse_index: bool) -> Trap:
    """Make a partial clone that lacks the objects which git needs to list its files."""
    source = make_repository(place / "source")
    git(source, "config", "uploadpack.allowFilter", "true")
    root, canary = place / "repo", place / "canary"
    git(place, "clone", "-q", "--no-checkout", "--filter=tree:0", f"file://{source}", str(root))
    git(root, "sparse-checkout", "set", "--cone", "--sparse-index" if sparse_index else "--no-sparse-index", "none")
    git(root, "read-tree", "HEAD")
    if sparse_index:
        git(root, "sparse-checkout", "reapply", "--sparse-index")
        git(root, "update-index", "--refresh")
    else:
        git(root, "update-index", "--skip-worktree", "src/.gitignore", "src/walrus.py")
    for path in (root / ".git" / "objects").rglob("*.*"):
        path.unlink()
    git(root, "config", "remote.origin.uploadpack", f"touch {shlex.quote(str(canary))}; false")
    (root / "src").mkdir()
    (root / "src" / "new.py").write_text("def walrus():\n    return 'new'\n")
    return Trap(root, root / "src", canary, ("ls-files", "--stage", "--others", "--exclude-standard"))


def make_missing_blob(place: Path) -> Trap:
    return make_promisor(place, sparse_index=False)


def make_missing_tree(place: Path) -> Trap:
    return make_promisor(place, sparse_index=True)


def make_bare_repository(place: Path) -> Trap:
    """Commit a bare repository with a work tree and a monitor inside a normal repository."""
    root, canary = make_repository(place / "repo"), place / "canary"
    bare = root / "testdata"
    git(root, "clone", "-q", "--bare", str(root), str(bare))
    git(bare, "config", "core.bare", "false")
    git(bare, "config", "core.worktree", str(root / "src"))
    git(bare, "config", "core.fsmonitor", f"touch {shlex.quote(str(canary))}; false")
    (bare / "refs" / "keep").touch()
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "add test data")
    return Trap(root, bare, canary, ("status",))


def make_unpacked_archive(place: Path) -> Trap:
    """Put a repository of the user's own inside a directory that has a hostile `.git` of an archive."""
    archive, canary = make_repository(place / "archive"), place / "canary"
    git(archive, "config", "core.fsmonitor", f"touch {shlex.quote(str(canary))}; false")
    root = make_repository(archive / "repo")
    git(root, "worktree", "add", "-q", str(archive / "tree"))
    return Trap(archive / "tree", archive / "tree" / "src", canary)


TRAPS: dict[str, Callable[[Path], Trap]] = {
    "fsmonitor": set_program("core.fsmonitor", "status"),
    "hooks": make_hooks,
    "filters": make_filters,
    "include.path": make_include("include.path"),
    "includeIf": make_include("includeIf.gitdir:{root}/.path"),
    "missing blob": make_missing_blob,
    "missing tree": make_missing_tree,
    "bare repository": make_bare_repository,
    "unpacked archive": make_unpacked_archive,
    **{f"alias {name}": make_alias(name) for name in ("rev-parse", "ls-files", "check-ignore", "version")},
    **{
        name: set_program(name)
        for name in (
            "core.sshCommand", "core.pager", "core.editor", "core.askPass", "core.gitProxy", "diff.external",
            "credential.helper", "pager.ls-files", "pager.rev-parse", "core.alternateRefsCommand", "gpg.program",
            "submodule.src.update", "remote.origin.uploadpack", "gc.recentObjectsHook", "sequence.editor",
        )
    },
}  # fmt: skip


@pytest.mark.parametrize("name", TRAPS)
def test_walk_and_root_run_no_repository_program(name: str, tmp_path: Path) -> None:
    trap = TRAPS[name](tmp_path)
    if trap.naive:
        subprocess.run(["git", *trap.naive], cwd=trap.start, capture_output=True, check=False)
        assert trap.canary.exists()
        trap.canary.unlink()
    assert resolve_project_root(trap.start) == trap.root
    for start in {trap.root, trap.start}:
        walk = walk_files(trap.root, start, WalkOptions())
        assert start != trap.root or any(file.path.startswith("src/") for file in walk.files)
    git_module.is_ignored(trap.root, trap.root / "src")
    assert not trap.canary.exists()


@pytest.mark.parametrize("make", [make_missing_blob, make_missing_tree])
def test_old_git_without_lazy_fetch_switch_runs_nothing(
    make: Callable[[Path], Trap], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forbid all transports where git does not know `GIT_NO_LAZY_FETCH`."""
    trap = make(tmp_path)
    monkeypatch.delitem(git_module.ENVIRONMENT, "GIT_NO_LAZY_FETCH")
    answer = git_module.run_git(trap.root, *trap.naive)
    assert answer is not None
    assert b"transport 'file' not allowed" in answer.errors
    assert walk_files(trap.root, trap.root, WalkOptions()).files
    assert not trap.canary.exists()


def test_walk_of_endless_git_config_is_aborted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_repository(tmp_path / "repo")
    os.mkfifo(tmp_path / "fifo")
    git(root, "config", "include.path", str(tmp_path / "fifo"))
    monkeypatch.setattr(project_root, "GIT_LIMIT_S", 0.5)
    monkeypatch.setattr(git_files, "GIT_TIMEOUT_S", 0.5)
    assert resolve_project_root(root / "src") == root / "src"
    assert [file.path for file in walk_files(root, root, WalkOptions()).files] == SOURCES


ORDINARY_USER = """
import os, sys
from pathlib import Path
from agent_brain_server.discovery import discover
from agent_brain_server.indexing.files.walker import WalkOptions, walk_files
from agent_brain_server.project_root import resolve_project_root
start = Path(sys.argv[1])
discover(start)  # import now: the other user cannot read the interpreter's files
os.setgroups([])
os.setgid(int(sys.argv[2]))
os.setuid(int(sys.argv[2]))
os.chdir(start)
root = resolve_project_root(start)
print(root, [file.path for file in walk_files(root, root, WalkOptions()).files], discover(start))
"""


@needs_root
@pytest.mark.parametrize("owner", [0, STRANGER])
def test_root_ignores_repository_of_root_or_stranger(owner: int) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:  # pytest's directories are private
        place = Path(name).resolve()
        place.chmod(0o755)
        trap = make_missing_tree(place / "planted")
        for path in (trap.root, *trap.root.rglob("*")):
            os.chown(path, owner, owner)
        (trap.root / ".claude" / "Agent Brain").mkdir(parents=True)
        (trap.root / "pyproject.toml").touch()
        work = trap.root / "work"
        work.mkdir()
        (work / "own.py").write_text("x = 1\n")
        for path in (work, work / "own.py"):
            os.chown(path, STRANGER - 1, STRANGER - 1)
        command = [sys.executable, "-c", ORDINARY_USER, str(work), str(STRANGER - 1)]
        environment = {**os.environ, "HOME": "/nonexistent", "AGENT_BRAIN_HOME": str(work / "brain")}
        answer = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, env=environment, check=False)
        assert answer.stderr == ""
        assert answer.stdout == f"{work} ['own.py'] None\n"
        assert not trap.canary.exists()


def test_walk_skips_bare_repository(tmp_path: Path) -> None:
    trap = make_bare_repository(tmp_path)
    for directory in (trap.root, trap.root / "src"):
        files = [file.path for file in walk_files(trap.root, directory, WalkOptions()).files]
        assert files == SOURCES
    assert walk_files(trap.root, trap.start, WalkOptions()).files == ()
    (trap.root / ".git").rename(tmp_path / "gone")
    assert [file.path for file in walk_files(trap.root, trap.root, WalkOptions()).files] == SOURCES


def test_walk_skips_git_directory(tmp_path: Path) -> None:
    root = make_repository(tmp_path / "repo")
    for start in (root / ".git", root / ".git" / "info"):
        assert walk_files(root, start, WalkOptions()).files == ()


@needs_root
def test_root_ignores_parent_repository_of_another_user(tmp_path: Path) -> None:
    """A linked work tree below a stranger's repository, which claims it as a submodule and lacks its objects."""
    trap = make_missing_tree(tmp_path / "planted")
    own = make_repository(tmp_path / "own")
    git(own, "worktree", "add", "-q", str(trap.root / "none" / "work"))
    for path in (trap.root, *(trap.root / ".git").rglob("*"), trap.root / ".git"):
        os.chown(path, STRANGER, STRANGER)
    work = trap.root / "none" / "work"
    subprocess.run(
        ["git", "-c", "safe.directory=*", "rev-parse", "--show-superproject-working-tree"], cwd=work, check=False
    )
    assert trap.canary.exists()
    trap.canary.unlink()
    assert resolve_project_root(work / "src") == work
    assert walk_files(work, work, WalkOptions()).files
    assert not trap.canary.exists()


@needs_root
def test_walk_scans_foreign_nested_repository_without_git(tmp_path: Path) -> None:
    root = make_repository(tmp_path / "repo")
    inner = make_repository(root / "inner")
    git(inner, "config", "core.fsmonitor", f"touch {tmp_path}/canary; false")
    (inner / "src" / "noise.log").write_text("noise\n")
    for path in (inner, inner / ".git"):
        os.chown(path, STRANGER, STRANGER)
    files = {file.path for file in walk_files(root, root, WalkOptions()).files}
    assert "inner/src/walrus.py" in files
    assert "inner/src/noise.log" not in files
    assert not (tmp_path / "canary").exists()


def test_worktree_setting_changes_neither_root_nor_walk(tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir()
    (private / "walrus.py").write_text("secret = 1\n")
    root = make_repository(private / "repo")
    git(root, "config", "core.worktree", str(private))
    assert resolve_project_root(root / "src") == root / "src"
    assert [file.path for file in walk_files(root, root, WalkOptions()).files] == SOURCES


def make_everything(place: Path) -> Trap:
    """Make one repository with all the settings that are programs."""
    trap = make_filters(place)
    make_hooks_in(trap)
    program = f"touch {shlex.quote(str(trap.canary))}; false"
    for name in ("core.fsmonitor", "core.sshCommand", "core.pager", "core.askPass", "core.gitProxy", "pager.ls-files"):
        git(trap.root, "config", name, program)
    for name in ("rev-parse", "ls-files", "check-ignore", "status"):
        git(trap.root, "config", f"alias.{name}", f"!{program}")
    return trap


def make_hooks_in(trap: Trap) -> None:
    for name in ("post-index-change", "reference-transaction", "fsmonitor-watchman"):
        hook = trap.root / ".git" / "hooks" / name
        hook.write_text(f"#!/bin/sh\ntouch {shlex.quote(str(trap.canary))}\n")
        hook.chmod(0o755)


@pytest.mark.parametrize("make", [make_everything, make_missing_tree, make_bare_repository])
def test_commands_run_no_repository_program(make: Callable[[Path], Trap], tmp_path: Path) -> None:
    trap = make(tmp_path)
    subprocess.run(["git", *trap.naive], cwd=trap.start, capture_output=True, check=False)
    trap.canary.unlink()
    environment = {**os.environ, "AGENT_BRAIN_HOME": str(tmp_path / "brain")}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "agent_brain_cli", *arguments]
        return subprocess.run(
            command, cwd=trap.start, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )

    try:
        run("status")
        indexed = run("index")
        assert indexed.returncode == 0, indexed.stderr
        answer = run("query", "walrus")
        assert "walrus" in answer.stdout, answer.stderr
        (trap.root / "src" / "later.py").write_text("def later():\n    pass\n")
        assert run("index", "--wait").returncode == 0
        assert run("status").returncode == 0
        run("doctor")
        run("list")
    finally:
        run("stop", "--force")
    assert not trap.canary.exists()
