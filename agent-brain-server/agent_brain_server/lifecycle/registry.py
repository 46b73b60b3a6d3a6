"""Which projects have a state directory: a cache for `list`, which checks every entry and trusts none.

Nothing depends on it: where the user's home can't be written, servers start as ever and are only not listed.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent_brain_server.errors import StateDirError
from agent_brain_server.storage_paths import (
    OWN_PLACE_HINT,
    default_state_dir,
    owner_path,
    prepare_brain_home,
    registry_lock_path,
    registry_path,
)
from agent_brain_server.support.atomic_file import (
    UnreadableDocumentError,
    hold_exclusively,
    read_document,
    write_atomic,
)
from agent_brain_server.support.state_files import remove_temporaries

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


SCHEMA_VERSION = 1


def claim_state_dir(project_root: Path, state_dir: Path) -> None:
    """Record that a state directory belongs to a project.

    Args:
        project_root: Canonical root.
        state_dir: Absolute; it exists.

    Raises:
        StateDirError: It belongs to another project, or cannot be written.
    """
    require_own_state_dir(project_root, state_dir)
    if _read_owner(state_dir) == project_root:
        return
    try:
        write_atomic(owner_path(state_dir), {"schema_version": SCHEMA_VERSION, "project_root": str(project_root)})
    except OSError as exc:
        raise StateDirError(f"{owner_path(state_dir)} cannot be written: {exc.strerror}.") from exc


def require_own_state_dir(project_root: Path, state_dir: Path) -> None:
    """Return if a project may use a state directory.

    Args:
        project_root: Canonical root.
        state_dir: Absolute; it need not exist.

    Raises:
        StateDirError: It belongs to another project.
    """
    owner = find_other_owner(project_root, state_dir)
    if owner is not None:
        raise make_refusal(state_dir, owner)


def make_refusal(state_dir: Path, owner: Path | str | None) -> StateDirError:
    """Return the error for a state directory that belongs to another project."""
    message = f"The state directory {state_dir} belongs to the project {owner}."
    return StateDirError(message, hint=OWN_PLACE_HINT, code="state_dir_in_use")


def find_other_owner(project_root: Path, state_dir: Path) -> Path | None:
    """Return the root of the other project that a state directory belongs to, or `None`.

    Args:
        project_root: Canonical root of the project that wants to use it.
        state_dir: Absolute.
    """
    if _is_default(project_root, state_dir):
        return None  # it is this project's wherever it came from: a copy brings the record of its original
    owner = _read_owner(state_dir) if owner_path(state_dir).exists() else _find_registered(state_dir)
    if owner is None or owner == project_root or not owner.is_dir() or _is_copy(project_root, state_dir, owner):
        return None
    return owner


def release_state_dir(state_dir: Path) -> None:
    """Forget which project a state directory belongs to; the caller has removed the index.

    Raises:
        OSError: The record cannot be written.
    """
    write_atomic(owner_path(state_dir), {"schema_version": SCHEMA_VERSION, "project_root": None})


def _find_registered(state_dir: Path) -> Path | None:
    """Return the owner of a directory that was used before owners were recorded."""
    return next((entry.project_root for entry in entries() if entry.state_dir == state_dir), None)


def _is_default(project_root: Path, state_dir: Path) -> bool:
    try:
        return state_dir == default_state_dir(project_root)
    except StateDirError:  # the default one is a link that leaves the project
        return False


def _is_copy(project_root: Path, state_dir: Path, owner: Path) -> bool:
    """Return whether the state directory came with a copy of the owner's tree: the owner still has its own one."""
    return state_dir.is_relative_to(project_root) and (owner / state_dir.relative_to(project_root)).is_dir()


def _read_owner(state_dir: Path) -> Path | None:
    try:
        root = (read_document(owner_path(state_dir)) or {}).get("project_root")
    except UnreadableDocumentError as exc:
        logger.warning("Ignored: %s", exc)
        return None
    return Path(root) if isinstance(root, str) and root.startswith("/") and "\0" not in root else None
