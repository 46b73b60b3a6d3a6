"""Decide whether a file or directory belongs to the current user: what another user owns chooses nothing."""

import os
from pathlib import Path


def is_own(facts: os.stat_result) -> bool:
    """Return whether a file belongs to the user that this process acts for (its effective uid)."""
    return facts.st_uid == os.geteuid()


def is_own_path(path: Path) -> bool:
    """Return whether `path` exists and belongs to the current user; of a symlink, the link itself is meant."""
    try:
        return is_own(path.lstat())
    except (OSError, ValueError):  # missing, behind a closed directory, or no possible path
        return False
