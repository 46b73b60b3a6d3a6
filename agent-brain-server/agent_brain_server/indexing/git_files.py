"""What git would track below a folder, asked of git itself."""

import logging
import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from agent_brain_server.indexing.ignore_rules import UNTRACKED_EXCLUDES

logger = logging.getLogger(__name__)

GIT_TIMEOUT_S = 30
"""Seconds; a million files take git a few, and a walk must end where a network file system hangs."""

MAX_REPOSITORIES = 1_000
"""Repositories inside the repository; beyond that somebody keeps mirrors there, and each costs a process."""

ENTRY = re.compile(rb"(?:(?P<mode>\d{6}) [0-9a-f]{40,64} \d\t)?(?P<name>.+)", re.DOTALL)
"""One entry of `ls-files --stage`: a tracked one has a mode, an untracked one only its name."""

SUBMODULE_MODE = b"160000"

UNREADABLE = re.compile(rb"could not open directory '(.*?)/?':")
"""What git says on stderr of a directory that it may not read."""

LINKED_WORKTREE = re.compile(rb"gitdir: .*/worktrees/[^/]+\s*$")
"""What the `.git` file of a linked worktree holds; that of a submodule points to `modules/`."""

REPOSITORY_VARIABLES = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_PREFIX", "GIT_NAMESPACE")
"""Set by git for its hooks: they would point the question at another repository."""


@dataclass(slots=True)
class GitListing:
    """What git said; paths are relative to the folder, as bytes.

    Attributes:
        files: Tracked files, and untracked ones that are not ignored; links among them, deleted ones too.
        unreadable: Directories that git could not open, and repositories inside that it could not read.
        worktrees: Directories that are linked worktrees: projects of their own.
    """

    files: set[bytes] = field(default_factory=set)
    unreadable: list[bytes] = field(default_factory=list)
    worktrees: list[bytes] = field(default_factory=list)


def list_git_files(folder: Path) -> GitListing | None:
    """List what git would track below `folder`, with the files of submodules and of repositories inside.

    Returns:
        None where git is not installed, does not know the folder, ignores it whole, or fails.
    """
    base = os.fsencode(folder)
    listing = GitListing()
    pending = [b""]
    asked = 0
    while pending and asked < MAX_REPOSITORIES:
        prefix = pending.pop()
        asked += 1
        output = _run_ls_files(os.path.join(base, prefix))
        if output is not None:
            pending += _take_entries(base, prefix, output[0], listing)
            listing.unreadable += [prefix + name for name in UNREADABLE.findall(output[1])]
        elif prefix:
            listing.unreadable.append(prefix.rstrip(b"/"))
        else:
            return None
    return listing if listing.files or listing.worktrees else None


def _run_ls_files(directory: bytes) -> tuple[bytes, bytes] | None:
    """Run `git ls-files` in a directory; return what it wrote on stdout and stderr, None where it failed."""
    # a configured fsmonitor is a program, and the index must not run a project's programs
    command = ["git", "-c", "core.fsmonitor=false", "ls-files", "-z", "--stage", "--others", "--exclude-standard"]
    command += [f"--exclude={name}" for name in UNTRACKED_EXCLUDES]
    environment = {name: value for name, value in os.environ.items() if name not in REPOSITORY_VARIABLES}
    environment |= {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            command,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=GIT_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        logger.warning("git could not list %s: %s", os.fsdecode(directory), error)
        return None
    return (done.stdout, done.stderr) if done.returncode == 0 else None


def _take_entries(base: bytes, prefix: bytes, output: bytes, listing: GitListing) -> list[bytes]:
    """Put one repository's files into the listing; return the repositories inside it, each ending in `/`."""
    repositories = []
    for entry in output.split(b"\0"):
        match = ENTRY.match(entry)
        if match is None:
            continue
        path = prefix + match["name"]
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
    """Tell a repository from a linked worktree; None for a link or a submodule that is not checked out."""
    marker = os.path.join(directory, b".git")
    if os.path.islink(directory) or not os.path.exists(marker):
        return None
    if os.path.isfile(marker):
        with open(marker, "rb") as file:
            return "worktree" if LINKED_WORKTREE.match(file.read(4096)) else "repository"
    return "repository"
