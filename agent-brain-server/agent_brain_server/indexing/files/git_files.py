"""List the files that git tracks, or would track, below a directory."""

import contextlib
import logging
import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agent_brain_server.indexing.files.ignore_rules import LINKED_WORKTREE, MAX_GIT_FILE_BYTES, UNTRACKED_EXCLUDES
from agent_brain_server.support import git

logger = logging.getLogger(__name__)

GIT_TIMEOUT_S = 30  # git takes a few seconds for a million files; a hanging network file system must not block a walk
MAX_REPOSITORIES = 1_000  # nested repositories to list, each by a process; with more, the folder collects mirrors

ENTRY = re.compile(rb"(?:(?P<mode>\d{6}) [0-9a-f]{40,64} \d\t)?(?P<name>.+)", re.DOTALL)
"""An entry of `ls-files --stage`: tracked files have a mode, untracked files only a name."""

SUBMODULE_MODE = b"160000"

UNREADABLE = re.compile(rb"could not open directory '(.*?)/?':")
"""Message of git on stderr for a directory without read permission."""

COMMAND = ("--literal-pathspecs", git.THIS_WORK_TREE, "ls-files", "-z", "--stage", "--others", "--exclude-standard")


@dataclass(slots=True)
class GitListing:
    """Files and directories reported by git; paths are bytes relative to the listed folder.

    Attributes:
        files: Tracked files, and untracked files that are not ignored; includes links and deleted files.
        unreadable: Directories that git could not open.
        unlisted: Nested repositories that git failed to list, or that belong to another user and were not listed.
        worktrees: Linked worktrees, which are separate projects.
    """

    files: set[bytes] = field(default_factory=set)
    unreadable: list[bytes] = field(default_factory=list)
    unlisted: list[bytes] = field(default_factory=list)
    worktrees: list[bytes] = field(default_factory=list)


def list_git_files(folder: Path, only: Collection[bytes] = ()) -> GitListing | None:
    """List the files that git tracks or would track below `folder`, including submodules and nested repositories.

    Args:
        folder: A canonical path.
        only: List only these files and directories, relative to the folder and outside nested repositories; empty: all.

    Returns:
        `None` if git is not installed or fails, if the folder is ignored, and if it is outside any repository or inside
        one of another user.
    """
    top = git.find_own_work_tree(folder)
    if top is None:
        return None
    base = os.fsencode(folder)
    listing = GitListing()
    below = b"" if top == folder else os.fsencode(folder.relative_to(top)) + b"/"
    output = _run_ls_files(top, [below + path for path in sorted(only)] or [below])
    if output is None:
        return None
    pending = _add_output(base, b"", below, output, listing)
    listed = 1
    while pending and listed < MAX_REPOSITORIES:
        prefix = pending.pop()
        listed += 1
        top = Path(os.fsdecode(os.path.join(base, prefix)))
        output = _run_ls_files(top, [b""]) if git.is_own_repository(top) else None
        if output is None:
            listing.unlisted.append(prefix.rstrip(b"/"))
        else:
            pending += _add_output(base, prefix, b"", output, listing)
    return listing if only or listing.files or listing.worktrees else None


def _run_ls_files(top: Path, paths: Sequence[bytes]) -> tuple[bytes, bytes] | None:
    """Run `git ls-files` in a work tree; return stdout and stderr, or `None` if it fails.

    Args:
        top: The top directory of the work tree.
        paths: List only these files and directories, relative to `top`; an empty path lists all.
    """
    excludes = [f"--exclude={name}" for name in UNTRACKED_EXCLUDES]
    scope = ["--", *map(os.fsdecode, paths)] if all(paths) else []
    try:
        answer = git.run_git(top, *COMMAND, *excludes, *scope, timeout_s=GIT_TIMEOUT_S)
    except git.GitMissingError as error:
        logger.warning("git could not list %s: %s", top, error)
        return None
    if answer is None or answer.code:
        logger.warning("git did not list %s; scanning the directory instead", top)
        return None
    return answer.output, answer.errors


def _add_output(
    base: bytes, prefix: bytes, below: bytes, output: tuple[bytes, bytes], listing: GitListing
) -> list[bytes]:
    """Add one repository's files to the listing; return the repositories nested in it, with a trailing `/`.

    Args:
        base: The listed folder.
        prefix: Path of the repository relative to the folder, with a trailing `/`; empty for the outermost one.
        below: Path of the folder relative to the repository, with a trailing `/`; empty if the folder is its top.
        output: stdout and stderr of `git ls-files`.
        listing: Extended by the repository's files.
    """
    entries, errors = output
    listing.unreadable += [prefix + name.removeprefix(below) for name in UNREADABLE.findall(errors)]
    repositories = []
    for entry in entries.split(b"\0"):
        match = ENTRY.match(entry)
        if match is None:
            continue
        path = prefix + match["name"].removeprefix(below)
        if match["mode"] != SUBMODULE_MODE and not path.endswith(b"/"):
            listing.files.add(path)
            continue
        path = path.rstrip(b"/")
        match _repository_kind(os.path.join(base, path)):
            case "repository":
                repositories.append(path + b"/")
            case "worktree":
                listing.worktrees.append(path)
    return repositories


def _repository_kind(directory: bytes) -> str | None:
    """Return `repository`, `worktree`, or `None` for a link and for a submodule that is not checked out."""
    marker = os.path.join(directory, os.fsencode(git.GIT_DIR))
    if os.path.islink(directory) or not os.path.exists(marker):
        return None
    if os.path.isfile(marker):
        with open(marker, "rb") as file:
            return "worktree" if LINKED_WORKTREE.match(file.read(MAX_GIT_FILE_BYTES)) else "repository"
    return "repository"


def git_directories(repository: Path) -> list[Path]:
    """Return the directories with an `index` or `exclude` file that affects what git lists in a repository.

    Args:
        repository: A directory that contains `.git`.
    """
    git_dir = git.read_git_dir(repository)
    if git_dir is None:
        return []
    found = [git_dir, git_dir / "info"]
    with contextlib.suppress(OSError, ValueError):  # only linked worktrees have this file
        found.append(git_dir / (git_dir / "commondir").read_text("utf-8").strip() / "info")
    return found
