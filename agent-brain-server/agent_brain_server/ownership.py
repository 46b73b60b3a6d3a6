"""Decide whether a file or directory belongs to the current user: what another user owns chooses nothing."""

import functools
import os
from pathlib import Path

OVERFLOW_UID_FILE = Path("/proc/sys/kernel/overflowuid")
UID_MAP_FILE = Path("/proc/self/uid_map")


def is_own(facts: os.stat_result) -> bool:
    """Return whether a file belongs to the user that this process acts for (its effective uid).

    In a user namespace, the overflow uid stands for all users who do not exist there, so it owns nothing.
    """
    user = os.geteuid()
    return facts.st_uid == user and not _is_placeholder(user)


def is_own_path(path: Path) -> bool:
    """Return whether `path` exists and belongs to the current user; of a symlink, the link itself is meant."""
    try:
        return is_own(path.lstat())
    except (OSError, ValueError):  # missing, behind a closed directory, or no possible path
        return False


@functools.cache  # a process stays in its user namespace
def _is_placeholder(uid: int) -> bool:
    """Return whether a uid is the overflow uid, in a user namespace that has no user of that number."""
    try:
        if uid != int(OVERFLOW_UID_FILE.read_text(encoding="ascii")):
            return False
        ranges = [tuple(map(int, line.split())) for line in UID_MAP_FILE.read_text(encoding="ascii").splitlines()]
    except (OSError, ValueError):  # a system without user namespaces
        return False
    return not any(first <= uid < first + count for first, _, count in ranges)
