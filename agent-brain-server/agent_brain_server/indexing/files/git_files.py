"""List what git would track below a folder, as git itself reports it."""

import logging
import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agent_brain_server.indexing.files.ignore_rules import UNTRACKED_EXCLUDES
from agent_brain_server.support import git

logger = logging.getLogger(__name__)

GIT_TIMEOUT_S = 30
"""Seconds; git needs a few for a million files, and a walk must end on a network file system that hangs."""

MAX_REPOSITORIES = 1_000
"""Nested repositories to ask; each costs a process. With more, the folder is probably a collection of mirrors."""

ENTRY = re.compile(rb"(?:(?P<mode>\d{6}) [0-9a-f]{40,64} \d\t)?(?P<name>.+)", re.DOTALL)
"""One entry of `ls-files --stage`: a tracked file has a mode, an untracked one only its name."""

SUBMODULE_MODE = b"160000"

UNREADABLE = re.compile(rb"could not open directory '(.*?)/?':")
"""What git writes on stderr for a directory that it may not read."""

LINKED_WORKTREE = re.compile(rb"gitdir: .*/worktrees/[^/]+\s*$")
"""The content of the `.git` file of a linked worktree; that of a submodule points to `modules/`."""

COMMAND = ("--literal-pathspecs", git.THIS_WORK_TREE, "ls-files", "-z", "--stage", "--others", "--exclude-standard")


@dataclass(slots=True)
class GitListing:
    """What git listed; paths are relative to the folder, as bytes.

    Attributes:
        files: Tracked files, and untracked ones that are not ignored; includes links and deleted files.
        unreadable: Directories that git could not open.
        unlisted: Nested repositories that git could not list, or that it was not asked about: another user's.
        worktrees: Directories that are linked worktrees: projects of their own.
    """

    files: set[bytes] = field(default_factory=set)
    unreadable: list[bytes] = field(default_factory=list)
    unlisted: list[bytes] = field(default_factory=list)
    worktrees: list[bytes] = field(default_factory=list)


def list_git_files(folder: Path, only: Collection[bytes] = ()) -> GitListing | None:
    """List what git would track below `folder`, with the files of submodules and nested repositories.

    Args:
        folder: Canonical.
        only: List these files and directories alone, relative to the folder and outside of nested repositories; empty:
            all.

    Returns:
        `None` if git is not installed, fails, or ignores the whole folder, and if the folder is in no repository or in
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
    pending = _take_output(base, b"", below, output, listing)
    asked = 1
    while pending and asked < MAX_REPOSITORIES:
        prefix = pending.pop()
        asked += 1
        top = Path(os.fsdecode(os.path.join(base, prefix)))
        output = _run_ls_files(top, [b""]) if git.is_own_repository(top) else None
        if output is None:
            listing.unlisted.append(prefix.rstrip(b"/"))
        else:
            pending += _take_output(base, prefix, b"", output, listing)
    return listing if only or listing.files or listing.worktrees else None


def _run_ls_files(top: Path, paths: Sequence[bytes]) -> tuple[bytes, bytes] | None:
    """Run `git ls-files` on a work tree; return its stdout and stderr, or `None` if it failed.

    Args:
        top: The top directory of the work tree.
        paths: List only these files and directories, relative to `top`; an empty path is all of it.
    """
    excludes = [f"--exclude={name}" for name in UNTRACKED_EXCLUDES]
    scope = ["--", *map(os.fsdecode, paths)] if all(paths) else []
    try:
        answer = git.run_git(top, *COMMAND, *excludes, *scope, timeout_s=GIT_TIMEOUT_S)
    except git.GitMissingError as error:
        logger.warning("git could not list %s: %s", top, error)
        return None
    if answer is None or answer.code:
        logger.warning("git did not list %s: its files are found without git", top)
        return None
    return answer.output, answer.errors


def _take_output(
    base: bytes, prefix: bytes, below: bytes, output: tuple[bytes, bytes], listing: GitListing
) -> list[bytes]:
    """Add one repository's files to the listing; return the repositories inside it, each ending in `/`.

    Args:
        base: The folder.
        prefix: Where in the folder the repository is; empty, or ending in `/`.
        below: The part of the repository's paths that is above the folder.
        output: stdout and stderr of `git ls-files`.
        listing: Gets the files.
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
    """Return `repository` or `worktree`.

    `None` stands for a link, and for a submodule that is not checked out.
    """
    marker = os.path.join(directory, os.fsencode(git.GIT_DIR))
    if os.path.islink(directory) or not os.path.exists(marker):
        return None
    if os.path.isfile(marker):
        with open(marker, "rb") as file:
            return "worktree" if LINKED_WORKTREE.match(file.read(4096)) else "repository"
    return "repository"
