"""Know which projects exist, which state directory belongs to which, and which projects the shared daemon serves.

Four files hold this, and only this module reads and writes them:

- `registry.json` in the user's home lists every project that was started or initialised. It is a cache for `list`,
  which checks each entry. If it cannot be written, servers still start.
- `owner.json` in a state directory names the project that the directory belongs to.
- `projects/<id>/project.json` in the user's home registers a project with the shared daemon, so that the daemon finds
  it again after a restart.
- The pointer, a `runtime.json` in the project's state directory, tells clients that the daemon serves the project.
"""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from agent_brain_server.errors import AgentBrainError, ConflictError, StateDirError
from agent_brain_server.locking import PROBE_PATIENCE_S, StateLock
from agent_brain_server.project_root import generate_project_id
from agent_brain_server.runtime import SharedPointer, delete_runtime, read_pointer, write_pointer
from agent_brain_server.storage_paths import (
    PROJECT_ID,
    SINGLE_PROJECT_HINT,
    default_state_dir,
    owner_path,
    prepare_brain_home,
    prepare_state_dir,
    projects_dir,
    registry_lock_path,
    registry_path,
    shared_project_file,
    shared_project_home,
)
from agent_brain_server.support.atomic_file import (
    UnreadableDocumentError,
    hold_exclusively,
    read_document,
    write_atomic,
)
from agent_brain_server.support.state_files import REMOVED_INFIX, remove_leftovers, remove_temporaries, remove_tree

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 1
SERVER_RUNNING_CODE = "project_server_running"

Registration = Literal["valid", "damaged", "missing"]

MISSING_MARK = (0, 0, 0)
"""Result of `read_mark` if the home directory has no registry."""


@dataclass(frozen=True, slots=True)
class RegistryEntry:
    """A project that was started or initialised once. It may no longer exist."""

    project_root: Path
    state_dir: Path


@dataclass(frozen=True, slots=True)
class RegisteredProject:
    """A project that the shared daemon serves.

    Attributes:
        project_id: Id of the project, and name of its directory in the daemon's home.
        root: Canonical root.
        registered_at: ISO 8601 with zone.
        state_dir: The project's state directory, if it is not the default one. It holds the settings and the pointer.
    """

    project_id: str
    root: Path
    registered_at: str
    state_dir: Path | None = None

    def locate_state_dir(self) -> Path:
        """Return the project's state directory.

        Raises:
            StateDirError: It is the default one, and a symlink that leads out of the project.
        """
        return self.state_dir or default_state_dir(self.root)

    def has_root(self) -> bool:
        """Return whether the root exists and is readable."""
        try:
            return self.root.is_dir()
        except OSError:  # inside a directory that may not be read, or on a failing disk
            return False


def register(project_root: Path, state_dir: Path) -> bool:
    """Add a project to `registry.json`. Return `False`, and log a warning, if it cannot be written.

    Args:
        project_root: Canonical root.
        state_dir: Absolute. A state directory has one entry.
    """
    entry = RegistryEntry(project_root, state_dir)
    return _update(lambda kept: [*(other for other in kept if other.state_dir != state_dir), entry])


def unregister(*state_dirs: Path) -> bool:
    """Remove the projects of state directories. Return `False`, and log a warning, if the file cannot be written."""
    return _update(lambda kept: [other for other in kept if other.state_dir not in state_dirs])


def entries() -> list[RegistryEntry]:
    """Return every project in `registry.json`, ordered by root. A damaged file is logged and counts as empty."""
    try:
        document = read_document(registry_path())
    except UnreadableDocumentError as exc:
        logger.warning("Ignored: %s", exc)
        return []
    listed = document.get("projects") if document else None
    found = [_parse_entry(item) for item in listed] if isinstance(listed, list) else []
    return sorted((entry for entry in found if entry is not None), key=lambda entry: entry.project_root)


def read_mark() -> tuple[int, int, int] | None:
    """Return a value that changes when `registry.json` is written or deleted; `None` if the home does not exist."""
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
    """Refuse a state directory that belongs to another project.

    Args:
        project_root: Canonical root.
        state_dir: Absolute; it need not exist.

    Raises:
        StateDirError: It belongs to another project.
    """
    owner = find_other_owner(project_root, state_dir)
    if owner is not None:
        raise make_owner_error(state_dir, owner)


def make_owner_error(state_dir: Path, owner: Path | str | None) -> StateDirError:
    """Return the error for a state directory that belongs to another project."""
    message = f"The state directory {state_dir} belongs to the project {owner}."
    return StateDirError(message, hint=SINGLE_PROJECT_HINT, code="state_dir_in_use")


def find_other_owner(project_root: Path, state_dir: Path) -> Path | None:
    """Return the root of the other project that a state directory belongs to, or `None`.

    Args:
        project_root: Canonical root of the project that is to use it.
        state_dir: Absolute.
    """
    if _is_default(project_root, state_dir):
        return None  # belongs to this project by its path; a copied directory carries the record of the original
    owner = _read_owner(state_dir)
    if owner is None or owner == project_root or not owner.is_dir() or _is_copy(project_root, state_dir, owner):
        return None
    return owner


def release_state_dir(state_dir: Path) -> None:
    """Record that a state directory belongs to no project. The caller has removed the index.

    Raises:
        OSError: The record cannot be written.
    """
    write_atomic(owner_path(state_dir), {"schema_version": SCHEMA_VERSION, "project_root": None})


def _is_default(project_root: Path, state_dir: Path) -> bool:
    try:
        return state_dir == default_state_dir(project_root)
    except StateDirError:  # the default one is a link that leaves the project
        return False


def _is_copy(project_root: Path, state_dir: Path, owner: Path) -> bool:
    """Return whether the state directory was copied with the owner's tree: the owner still has the original."""
    return state_dir.is_relative_to(project_root) and (owner / state_dir.relative_to(project_root)).is_dir()


def _read_owner(state_dir: Path) -> Path | None:
    try:
        root = (read_document(owner_path(state_dir)) or {}).get("project_root")
    except UnreadableDocumentError as exc:
        logger.warning("Ignored: %s", exc)
        return None
    return Path(root) if isinstance(root, str) and root.startswith("/") and "\0" not in root else None


def make_registration(root: Path, state_dir: Path | None = None) -> RegisteredProject:
    """Return the registration of a project as of now; nothing is written.

    Args:
        root: Canonical.
        state_dir: The project's state directory, if it is not the default one; absolute.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return RegisteredProject(generate_project_id(root), root, now, state_dir)


def save_registration(project: RegisteredProject) -> None:
    """Register a project with the daemon. Data of an earlier registration are used again.

    Raises:
        StateDirError: The daemon's directory cannot be written.
    """
    prepare_state_dir(shared_project_home(project.project_id))
    path = shared_project_file(project.project_id)
    document = {
        "schema_version": SCHEMA_VERSION,
        "project_id": project.project_id,
        "project_root": str(project.root),
        "registered_at": project.registered_at,
    }
    if project.state_dir is not None:
        document["state_dir"] = str(project.state_dir)
    try:
        remove_temporaries(path)  # of a daemon that was killed
        write_atomic(path, document)
    except OSError as exc:
        raise StateDirError(f"{path} cannot be written: {exc.strerror}.") from exc


def read_registration(project_id: str) -> RegisteredProject | None:
    """Return the registration in a project's file, or `None` if there is no file.

    Raises:
        UnreadableDocumentError: The file is damaged.
        InvalidRequestError: The id is not a project id.
        StateDirError: This user has no home directory.
    """
    path = shared_project_file(project_id)
    document = read_document(path)
    if document is None:
        return None
    root, registered_at = document.get("project_root"), document.get("registered_at")
    if document.get("schema_version") != SCHEMA_VERSION or not isinstance(root, str) or "\0" in root:
        raise UnreadableDocumentError(f"{path} does not describe a project")
    registered_at = registered_at if isinstance(registered_at, str) else ""
    return RegisteredProject(project_id, Path(root), registered_at, _parse_state_dir(document.get("state_dir")))


def list_registrations() -> list[RegisteredProject]:
    """Return the projects that the daemon serves whenever it runs, ordered by id. Damaged files are logged and skipped.

    Raises:
        StateDirError: This user has no home directory.
    """
    try:
        names = sorted(os.listdir(projects_dir()))
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = [_load_registration(name) for name in names if PROJECT_ID.fullmatch(name)]
    return [project for project in found if project is not None]


def check_registration(project_root: Path) -> Registration:
    """Return whether a project is registered with the daemon.

    A damaged registration counts as one: its directory has the project's id, and the next query repairs it. Otherwise
    the project would change to a separate server and index.

    Args:
        project_root: Canonical root.

    Raises:
        StateDirError: This user has no home directory.
    """
    try:
        project = read_registration(generate_project_id(project_root))
    except UnreadableDocumentError:
        return "damaged"
    return "valid" if project is not None and project.root == project_root else "missing"


def is_registration_saved(project: RegisteredProject) -> bool:
    """Return whether a project's file exists and holds exactly this registration."""
    return _load_registration(project.project_id) == project


def delete_registration(project_id: str, *, with_data: bool) -> None:
    """Remove a project's registration.

    Args:
        project_id: Of a project that is not open.
        with_data: Delete its index and logs too.

    Raises:
        StateDirError: A file cannot be removed.
    """
    try:
        shared_project_file(project_id).unlink(missing_ok=True)
        if with_data:
            remove_tree(shared_project_home(project_id))
    except FileNotFoundError:
        return
    except OSError as exc:
        raise StateDirError(f"{exc.filename} cannot be removed: {exc.strerror}.") from exc


def finish_removals() -> None:
    """Finish removals of projects that were interrupted."""
    try:
        names = os.listdir(projects_dir())
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in {name.partition(REMOVED_INFIX)[0] for name in names if REMOVED_INFIX in name}:
        if remove_leftovers(projects_dir() / name):
            logger.warning("Finished the interrupted removal of project %s", name)


def _load_registration(project_id: str) -> RegisteredProject | None:
    try:
        project = read_registration(project_id)
    except UnreadableDocumentError as exc:
        logger.warning("Ignored: %s", exc)
        return None
    if project is not None and generate_project_id(project.root) != project_id:
        logger.warning("Ignored: %s describes another project, %s", shared_project_file(project_id), project.root)
        return None
    return project


def _parse_state_dir(named: object) -> Path | None:
    """Return a valid state directory; `None`, which means the default one, for anything else."""
    if not isinstance(named, str) or "\0" in named or not Path(named).is_absolute():
        return None
    return Path(named)


def point_to_daemon(project: RegisteredProject, base_url: str) -> None:
    """Write the pointer of a project, holding the project's lock.

    Args:
        project: Its root exists.
        base_url: Address of the daemon.

    Raises:
        ConflictError: The project's own server is running, or its state directory cannot be written or belongs to
            another project.
    """
    try:
        state_dir = project.locate_state_dir()
        pointer = SharedPointer(project_root=str(project.root), project_id=project.project_id, base_url=base_url)
        require_own_state_dir(project.root, state_dir)
        prepare_state_dir(state_dir)
        lock = StateLock(state_dir)
        if not lock.acquire(patience_s=PROBE_PATIENCE_S, record_pid=False):
            raise ConflictError(
                f"The project {project.root} is served by a separate server, which is running.",
                code=SERVER_RUNNING_CODE,
                hint=f"Stop it with: agent-brain stop --project-root '{project.root}'",
            )
        try:
            claim_state_dir(project.root, state_dir)
            write_pointer(state_dir, pointer)
        finally:
            lock.release()
    except StateDirError as exc:
        raise ConflictError(exc.message, code=exc.code, hint=exc.hint) from exc
    except OSError as exc:
        raise ConflictError(
            f"The state directory of {project.root} cannot be written: {exc.strerror}.", code="state_dir_unusable"
        ) from exc


def try_point_to_daemon(project: RegisteredProject, base_url: str) -> None:
    """Write the pointer of a project. A failure is logged."""
    if not project.has_root():
        return
    try:
        point_to_daemon(project, base_url)
    except ConflictError as exc:
        logger.warning("No pointer to the daemon was written: %s", exc.message)


def withdraw_pointer(project: RegisteredProject, *, base_url: str | None = None) -> None:
    """Remove the pointer of a project, holding the project's lock. A failure is logged.

    Args:
        project: Its root may no longer exist.
        base_url: Remove only a pointer to this address: another one was written by a later daemon.
    """
    try:
        state_dir = project.locate_state_dir()
        if not _has_pointer(project, state_dir, base_url):
            return
        lock = StateLock(state_dir)
        if not lock.acquire(patience_s=PROBE_PATIENCE_S, record_pid=False):
            return  # a project server is starting, and replaces the file
        try:
            if _has_pointer(project, state_dir, base_url):
                delete_runtime(state_dir)
        finally:
            lock.release()
    except (AgentBrainError, OSError) as exc:
        logger.warning("The pointer of %s was not withdrawn: %s", project.root, exc)


def _has_pointer(project: RegisteredProject, state_dir: Path, base_url: str | None) -> bool:
    pointer = read_pointer(state_dir)
    if pointer is None or pointer.project_id != project.project_id:
        return False
    return base_url in (None, pointer.base_url)
