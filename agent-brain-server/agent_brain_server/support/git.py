"""Run git on a repository that may be hostile. This is the only module that starts git.

A repository's configuration can name programs (fsmonitor, hooks, filters, pagers, transports for missing objects). A
clone does not contain that file, but an unpacked archive does. So only commands that need no such program are run, and
everything that could start one is turned off by the environment and the command line, which override all files.

`safe.directory` is not changed: git refuses a repository of another user unless the user has allowed it.
"""

import contextlib
import logging
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from agent_brain_server.support.state_files import is_own_path

logger = logging.getLogger(__name__)

QUERY_LIMIT_S = 5.0  # a network file system may hang
VERSION_WORDS = ("git", "version")

IS_IGNORED, IS_NOT_IGNORED = 0, 1
"""Exit codes of `git check-ignore`; 128 outside a repository."""

OPTIONS = (
    "--no-pager",
    "-c", "core.fsmonitor=",  # before git 2.36, any text is the name of a program, even `false`
    "-c", "core.hooksPath=/dev/null",
    "-c", "core.askPass=",
    "-c", "core.untrackedCache=false",
    "-c", "gc.auto=0",
    "-c", "maintenance.auto=false",
    "-c", "protocol.allow=never",
    "-c", "safe.bareRepository=explicit",
    "-c", "submodule.recurse=false",
)  # fmt: skip

ENVIRONMENT = {
    "GIT_NO_LAZY_FETCH": "1",  # git 2.45, and security releases since 2.39.4
    "GIT_ALLOW_PROTOCOL": "",  # no transport, which stops a lazy fetch in older versions
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_PAGER": "cat",
    "LC_ALL": "C",
}

KEPT_VARIABLES = frozenset(
    {
        "GIT_CONFIG_GLOBAL",
        "GIT_CONFIG_NOSYSTEM",
        "GIT_CONFIG_SYSTEM",
        "GIT_DISCOVERY_ACROSS_FILESYSTEM",
        "GIT_EXEC_PATH",
    }
)
"""Variables that a user sets for every git command. All other variables of git are removed: those of a hook or an alias
point to another repository, and others name programs or files to write."""

DROPPED_VARIABLES = frozenset({"SSH_ASKPASS", "LANGUAGE"})
VARIABLE_PREFIX = "GIT_"

GIT_DIR = ".git"
SUBMODULES_DIR = "modules"
GIT_FILE_KEY = "gitdir:"
MAX_GIT_FILE_CHARACTERS = 8192  # two of the longest paths

THIS_WORK_TREE = "--work-tree=."
"""Overrides `core.worktree` in the repository's configuration, which may name any directory."""


class GitMissingError(Exception):
    """git is not installed, or cannot be started."""


@dataclass(frozen=True, slots=True)
class GitAnswer:
    """Output and exit code of a git process.

    Attributes:
        code: The exit code; negative if a signal ended it.
        output: Bytes of stdout.
        errors: Bytes of stderr.
    """

    code: int
    output: bytes
    errors: bytes


def read_git_dir(directory: Path) -> Path | None:
    """Return the repository of a work tree, or `None` if `directory` is not the top of one.

    The repository is `.git`, or the directory that the file `.git` of a submodule or a linked work tree names.

    Args:
        directory: Canonical.
    """
    marker = directory / GIT_DIR
    try:
        if marker.is_dir():
            return marker.resolve()
        if not marker.is_file():
            return None
        with marker.open("rb") as file:
            words = os.fsdecode(file.read(MAX_GIT_FILE_CHARACTERS))
        target = words.removeprefix(GIT_FILE_KEY).strip("\r\n ")
        if not words.startswith(GIT_FILE_KEY) or not target:
            return None
        found = (directory / target).resolve()
        return found if found.is_dir() else None
    except (OSError, ValueError, RuntimeError):
        return None


def is_own_repository(directory: Path) -> bool:
    """Return whether `directory` is the top of a work tree that belongs, with its repository, to the current user.

    This repeats git's own check, for versions without it and for users who have turned it off.
    """
    repository = read_git_dir(directory)
    return repository is not None and all(map(is_own_path, (directory, directory / GIT_DIR, repository)))


def find_own_work_tree(directory: Path) -> Path | None:
    """Return the top of the work tree that contains a directory, or `None` if there is none or it is not the user's.

    Args:
        directory: Canonical.
    """
    nearest = next((path for path in (directory, *directory.parents) if os.path.lexists(path / GIT_DIR)), None)
    return nearest if nearest is not None and is_own_repository(nearest) else None


def is_submodule(inner: Path, outer: Path) -> bool:
    """Return whether the work tree `inner` is a submodule of the work tree `outer`, by the path of its repository.

    git is not run for this, because it would open the outer repository and read its index.
    """
    inner_repository, outer_repository = read_git_dir(inner), read_git_dir(outer)
    if inner_repository is None or outer_repository is None:
        return False
    return inner_repository.is_relative_to(outer_repository / SUBMODULES_DIR)


def run_git(top: Path, *arguments: str, timeout_s: float = QUERY_LIMIT_S) -> GitAnswer | None:
    """Run a git command in the top directory of a work tree, and return its output.

    Args:
        top: The directory that holds `.git`. No directory above it is searched for a repository.
        arguments: The command and its options.
        timeout_s: Seconds until the process and its children are killed.

    Returns:
        `None` if git did not end in time.

    Raises:
        GitMissingError: git is not installed, or cannot be started.
    """
    program = find_git()
    if program is None:
        raise GitMissingError("git is not installed.")
    try:
        # a separate process group, so that children of git are killed with it
        process = subprocess.Popen(
            [program, *OPTIONS, *arguments],
            cwd=top,
            env=make_environment(top),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
        )
    except OSError as exc:
        raise GitMissingError(f"git cannot be started: {exc}.") from exc
    try:
        output, errors = process.communicate(timeout=max(0.0, timeout_s))
    except BaseException as error:
        _kill_group(process)
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
        logger.warning("git did not answer in %s within %g s", top, timeout_s)
        return None
    return GitAnswer(process.returncode, output, errors)


def find_git() -> str | None:
    """Return the absolute path of the git program, or `None` if there is none.

    Relative entries of `PATH` are ignored: in a repository they would name a program of that repository.
    """
    return shutil.which("git", path=_absolute_search_path())


def make_environment(top: Path) -> dict[str, str]:
    """Return the environment of a git process that searches no directory above `top` and starts no program.

    Args:
        top: The top directory of the work tree.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in DROPPED_VARIABLES and (not name.startswith(VARIABLE_PREFIX) or name in KEPT_VARIABLES)
    }
    kept["PATH"] = _absolute_search_path()
    ceiling = str(top.parent)
    if os.pathsep not in ceiling:  # git cannot quote it
        kept["GIT_CEILING_DIRECTORIES"] = ceiling
    return kept | ENVIRONMENT


def is_work_tree_top(directory: Path, *, timeout_s: float = QUERY_LIMIT_S) -> bool | None:
    """Return whether `directory` is the top of a work tree according to git, or `None` if git does not answer in time.

    `core.worktree` in a repository may name any directory; the answer is `False` if it names another one.

    Raises:
        GitMissingError: git is not installed.
    """
    answer = run_git(directory, "rev-parse", "--show-toplevel", timeout_s=timeout_s)
    if answer is None:
        return None
    # the name of a directory may end in a newline: remove only the one that git adds
    path = answer.output.removesuffix(b"\n")
    with contextlib.suppress(OSError, ValueError):
        return answer.code == 0 and bool(path) and os.path.samefile(path, directory)
    return False


def is_ignored(top: Path, path: Path) -> bool | None:
    """Return whether git ignores an untracked path, or `None` if git cannot answer.

    Args:
        top: The top directory of the work tree.
        path: A file inside it.
    """
    try:
        answer = run_git(top, THIS_WORK_TREE, "check-ignore", "--quiet", "--", str(path))
    except GitMissingError:
        return None
    if answer is None or answer.code not in (IS_IGNORED, IS_NOT_IGNORED):
        return None
    return answer.code == IS_IGNORED


def read_commit(directory: Path) -> str | None:
    """Return the commit that is checked out in the work tree around a directory; `None` if there is none.

    Args:
        directory: Canonical.
    """
    top = find_own_work_tree(directory)
    if top is None:
        return None
    try:
        answer = run_git(top, THIS_WORK_TREE, "rev-parse", "--verify", "--quiet", "HEAD")
    except GitMissingError:
        return None
    return answer.output.decode("ascii", "replace").strip() or None if answer is not None and not answer.code else None


def read_version() -> str:
    """Return the version that git reports.

    Raises:
        GitMissingError: git is not installed, or fails.
    """
    answer = run_git(Path("/"), "--version")
    words = answer.output.decode("utf-8", "replace").split() if answer is not None else []
    if answer is None or answer.code or tuple(words[:2]) != VERSION_WORDS:
        reason = "no answer" if answer is None else answer.errors.decode("utf-8", "replace").strip()
        raise GitMissingError(f"git --version fails: {reason or 'no version in its answer'}")
    return " ".join(words[2:])


def _absolute_search_path() -> str:
    entries = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(entry for entry in entries if os.path.isabs(entry))


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
