"""Which projects have a state directory: a cache for `list`, which checks every entry and trusts none.

Nothing depends on it: where the user's home can't be written, servers start as ever and are only not listed.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent_brain_server.atomic_file import UnreadableDocumentError, hold_exclusively, read_document, write_atomic
from agent_brain_server.errors import StateDirError
from agent_brain_server.state_files import remove_temporaries
from agent_brain_server.storage_paths import prepare_brain_home, registry_lock_path, registry_path

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 1

MISSING_MARK = (0, 0, 0)
"""What `read_mark` returns if the directory of the registry has none."""


@dataclass(frozen=True, slots=True)
class RegistryEntry:
    """A project that was started or initialised once; it may be gone by now."""

    project_root: Path
    state_dir: Path


def register(project_root: Path, state_dir: Path) -> bool:
    """Remember a project; False, with a warning in the log, where the registry can't be written.

    Args:
        project_root: Canonical root.
        state_dir: Absolute; one entry is kept per state directory.
    """
    entry = RegistryEntry(project_root, state_dir)
    return _update(lambda kept: [*(other for other in kept if other.state_dir != state_dir), entry])


def unregister(*state_dirs: Path) -> bool:
    """Forget the projects of state directories; False, with a warning in the log, where that can't be written."""
    return _update(lambda kept: [other for other in kept if other.state_dir not in state_dirs])


def entries() -> list[RegistryEntry]:
    """Return every project that is remembered, ordered by root. A torn file is reported and counts as empty."""
    try:
        document = read_document(registry_path())
    except UnreadableDocumentError as exc:
        logger.warning("Ignored: %s", exc)
        return []
    listed = document.get("projects") if document else None
    found = [_parse_entry(item) for item in listed] if isinstance(listed, list) else []
    return sorted((entry for entry in found if entry is not None), key=lambda entry: entry.project_root)


def read_mark() -> tuple[int, int, int] | None:
    """Return a value that changes whenever the registry is written or deleted; None if its directory does not exist."""
    try:
        found = registry_path().lstat()
    except FileNotFoundError:
        return MISSING_MARK if registry_path().parent.is_dir() else None
    except (OSError, StateDirError):
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _parse_entry(item: object) -> RegistryEntry | None:
    if not isinstance(item, dict):
        return None
    root, state_dir = item.get("project_root"), item.get("state_dir")
    if not isinstance(root, str) or not isinstance(state_dir, str) or "\0" in root + state_dir:
        return None
    entry = RegistryEntry(Path(root), Path(state_dir))
    return entry if entry.project_root.is_absolute() and entry.state_dir.is_absolute() else None


def _update(change: Callable[[list[RegistryEntry]], list[RegistryEntry]]) -> bool:
    try:
        prepare_brain_home()
        with hold_exclusively(registry_lock_path()):
            remove_temporaries(registry_path())  # of writers that were killed
            before = entries()
            after = change(before)
            if after != before:
                write_atomic(registry_path(), _make_document(after))
    except (OSError, StateDirError) as exc:
        logger.warning("The registry of projects was not updated: %s", exc)
        return False
    return True


def _make_document(kept: list[RegistryEntry]) -> dict[str, Any]:
    projects = [{"project_root": str(entry.project_root), "state_dir": str(entry.state_dir)} for entry in kept]
    return {"schema_version": SCHEMA_VERSION, "projects": projects}
