"""Find and remove the files of an index: only files that the server creates, and nothing behind a symbolic link.

Vectors on a Chroma server belong to the index and are removed before the files that identify them.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from agent_brain_server.config.settings import DaemonSettings, load_settings
from agent_brain_server.errors import StateDirError
from agent_brain_server.storage_paths import (
    DOCUMENTS_DIR,
    KEYWORDS_DIR,
    ROOTS_FILE,
    VECTORS_DIR,
    locate_below,
    make_child_environment,
)
from agent_brain_server.support.state_files import remove_tree

INDEX_DIRS = (DOCUMENTS_DIR, VECTORS_DIR, KEYWORDS_DIR)
"""A damaged store that was set aside is named after one of these, with a dot and a suffix."""

PURGE_MODULE = "agent_brain_server.project.purge_vectors"
PURGE_TIMEOUT_S = 30.0  # loading Chroma's client takes a second, and each of a few requests at most three


def locate_data(state_dir: Path, data_dir: str) -> Path:
    """Return the directory of the indexes.

    Args:
        state_dir: Absolute; need not exist.
        data_dir: The setting.

    Raises:
        StateDirError: The directory is outside the state directory, by the setting or behind a symbolic link.
    """
    data = locate_below(state_dir, data_dir)
    if not data.is_relative_to(state_dir.resolve()):
        raise StateDirError(
            f"The index is outside the state directory, in {data}; nothing was removed.",
            hint=f"If it is no longer needed, remove these directories there: {', '.join(INDEX_DIRS)}",
            code="index_elsewhere",
        )
    return data


def find_index_files(data: Path) -> list[Path]:
    """Return the files and directories of an index that exist, including damaged stores that were set aside.

    Args:
        data: The directory of the indexes; need not exist.

    Raises:
        StateDirError: The directory cannot be read.
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
    """Return the size of a file or of all files in a directory; links are not followed."""
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    total = 0
    for directory, _, names in os.walk(path):  # does not follow links
        for name in names:
            try:
                total += os.lstat(os.path.join(directory, name)).st_size
            except FileNotFoundError:  # replaced by a server that is still running
                continue
    return total


def remove_index_files(paths: list[Path]) -> None:
    """Remove the files of an index; for a symbolic link, only the link.

    The list of indexed roots is removed first: if it alone remained, the next server would build the index again. Then
    the document store is removed by one rename, so a process that is killed leaves no index with incomplete answers.

    Args:
        paths: The result of `find_index_files`.

    Raises:
        StateDirError: A file cannot be removed.
    """
    for path in sorted(paths, key=lambda path: (path.name != ROOTS_FILE, path.name != DOCUMENTS_DIR)):
        try:
            remove_tree(path)
        except OSError as exc:
            raise StateDirError(f"{exc.filename or path} cannot be removed: {exc.strerror}.") from exc


def purge_vectors(data: Path, state_dir: Path | None) -> str | None:
    """Remove an index's vectors from the Chroma server of the settings, if they name one.

    Runs in a separate process, so that the command does not load Chroma's client.

    Args:
        data: The directory of the indexes; no server has it open.
        state_dir: The state directory of the project whose settings apply; `None` for the daemon's settings.

    Returns:
        Why the vectors could not be removed; `None` if none are left.
    """
    config = load_settings(state_dir).config if state_dir else DaemonSettings.load().server
    if config.chroma_url is None:
        return None
    command = [sys.executable, "-P", "-m", PURGE_MODULE, "--data", str(data)]
    command += ["--state-dir", str(state_dir)] if state_dir else []
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=PURGE_TIMEOUT_S,
            check=True,
            stdin=subprocess.DEVNULL,
            cwd="/",  # libraries read `.env` of the current directory, which may be a clone's
            env=make_child_environment(),
        )
        fault: str | None = json.loads(done.stdout)["fault"]
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return f"The vectors on {config.chroma_url} could not be removed: {error}"
    return fault
