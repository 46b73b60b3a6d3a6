"""The files of an index, found and removed: only what the server itself makes, and nothing behind a symbolic link."""

import os
from pathlib import Path

from agent_brain_server.errors import StateDirError
from agent_brain_server.storage_paths import DOCUMENTS_DIR, KEYWORDS_DIR, ROOTS_FILE, VECTORS_DIR, locate_below
from agent_brain_server.support.state_files import remove_tree

INDEX_DIRS = (DOCUMENTS_DIR, VECTORS_DIR, KEYWORDS_DIR)
"""A damaged store that was set aside has the name of one of these, a dot, and more."""


def locate_data(state_dir: Path, data_dir: str) -> Path:
    """Return the directory of the indexes.

    Args:
        state_dir: Absolute; need not exist.
        data_dir: The setting.

    Raises:
        StateDirError: It lies outside of the state directory, by the setting or behind a symbolic link.
    """
    data = locate_below(state_dir, data_dir)
    if not data.is_relative_to(state_dir.resolve()):
        raise StateDirError(
            f"The index lies outside of the state directory, in {data}; nothing was removed.",
            hint=f"Look at it, and remove these by hand: {', '.join(INDEX_DIRS)}",
            code="index_elsewhere",
        )
    return data


def find_index_data(data: Path) -> list[Path]:
    """Return what there is of an index: what was indexed, its directories, and stores that were set aside.

    The list of what was indexed comes first: if only that were left, the next server would make the index again.

    Args:
        data: The directory of the indexes; need not exist.

    Raises:
        StateDirError: It can't be read.
    """
    try:
        names = sorted(os.listdir(data))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as exc:
        raise StateDirError(f"{data} cannot be read: {exc.strerror}.") from exc
    aside = tuple(f"{name}." for name in INDEX_DIRS)
    stores = [data / name for name in names if name in INDEX_DIRS or name.startswith(aside)]
    return [data / ROOTS_FILE, *stores] if ROOTS_FILE in names else stores


def measure_bytes(path: Path) -> int:
    """Return the size of the files below a path; links count as what they are, not as what they lead to."""
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    total = 0
    for directory, _, names in os.walk(path):  # does not follow links
        for name in names:
            try:
                total += os.lstat(os.path.join(directory, name)).st_size
            except FileNotFoundError:  # a server that still runs has replaced it
                continue
    return total


def remove_index_data(paths: list[Path]) -> None:
    """Remove what `find_index_data` has found; of a symbolic link only the link.

    The document store is removed first, by one rename: a process that is killed later leaves no index that would answer
    less than before.

    Raises:
        StateDirError: Something can't be removed.
    """
    for path in sorted(paths, key=lambda path: (path.name != ROOTS_FILE, path.name != DOCUMENTS_DIR)):
        try:
            remove_tree(path)
        except OSError as exc:
            raise StateDirError(f"{exc.filename or path} cannot be removed: {exc.strerror}.") from exc
