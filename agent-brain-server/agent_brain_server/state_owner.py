"""Which project a state directory belongs to, whether or not a server runs.

A directory that `DOC_SERVE_STATE_DIR` names for every project would otherwise pass from one project to the next, and
each would delete the other's index. The first project that uses a directory is recorded in it; another one is refused
for as long as the first one's root exists. A project that was moved keeps its directory.
"""

import logging
from pathlib import Path

from agent_brain_server import registry
from agent_brain_server.atomic_file import UnreadableDocumentError, read_document, write_atomic
from agent_brain_server.errors import StateDirError
from agent_brain_server.storage_paths import OWN_PLACE_HINT, default_state_dir, owner_path

logger = logging.getLogger(__name__)

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
    return next((entry.project_root for entry in registry.entries() if entry.state_dir == state_dir), None)


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
