"""The commit that is checked out, without starting git for each answer.

git decides which commit that is, because it knows the formats of references and whether a repository is to be trusted.
Its answer is kept as long as the files are unchanged that name the commit: `HEAD`, the branch it names, the packed
references, and the list of tables of the format `reftable`. git replaces each of them by renaming a new file
(https://git-scm.com/docs/gitrepository-layout), so a changed one has another inode or another time.
"""

import os
import threading
from pathlib import Path

from agent_brain_server.support.git import find_own_work_tree, read_commit, read_git_dir

HEAD_BYTES = 4_096  # a branch's name is at most 255 bytes for each of its parts
REF_KEY = b"ref:"
REFS_PREFIX = "refs/"

Stamp = tuple[int, int, int, int] | None
Signature = tuple[bytes, tuple[Stamp, ...]]


class CommitReader:
    """Reads the commit of the work tree around a directory. Thread-safe.

    Args:
        directory: Canonical.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._known: tuple[Signature, str | None] | None = None

    def read(self) -> str | None:
        """Return the commit, or `None` if there is none; starts git only after a change of `HEAD` or its branch."""
        signature = self._sign()
        with self._lock:
            if signature is None or self._known is None or self._known[0] != signature:
                # signed before git runs: a change meanwhile makes the next call ask again
                self._known = None if signature is None else (signature, read_commit(self._directory))
            return None if self._known is None else self._known[1]

    def _sign(self) -> Signature | None:
        """Return the content of `HEAD` and the stamps of the files behind it; `None` without a repository."""
        top = find_own_work_tree(self._directory)
        git_dir = read_git_dir(top) if top is not None else None
        if git_dir is None:
            return None
        head = _read_start(git_dir / "HEAD")
        shared = git_dir / os.fsdecode(_read_start(git_dir / "commondir").strip() or b".")
        names = ["packed-refs", "reftable/tables.list"]
        branch = os.fsdecode(head.removeprefix(REF_KEY).strip()) if head.startswith(REF_KEY) else ""
        if branch.startswith(REFS_PREFIX) and ".." not in branch:
            names.append(branch)
        return head, tuple(_stamp(folder / name) for folder in (git_dir, shared) for name in names)


def _read_start(path: Path) -> bytes:
    """Return the first bytes of a regular file; none if it cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe would block
        try:
            return os.read(descriptor, HEAD_BYTES)
        finally:
            os.close(descriptor)
    except (OSError, ValueError):
        return b""


def _stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
