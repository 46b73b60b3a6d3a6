"""Which projects the shared daemon serves, as one small file each, so that a restart knows them."""

import logging
import os
from datetime import UTC, datetime
from pathlib import Path

from agent_brain_server.errors import AgentBrainError, ConflictError, StateDirError
from agent_brain_server.lifecycle.registry import claim_state_dir, require_own_state_dir
from agent_brain_server.locking import PROBE_PATIENCE_S, StateLock
from agent_brain_server.project_root import generate_project_id
from agent_brain_server.runtime import SharedPointer, delete_runtime, read_pointer, write_pointer
from agent_brain_server.storage_paths import (
    PROJECT_ID,
    prepare_state_dir,
    projects_dir,
    shared_project_file,
    shared_project_home,
)
from agent_brain_server.support.atomic_file import UnreadableDocumentError, read_document, write_atomic
from agent_brain_server.support.state_files import REMOVED_INFIX, remove_leftovers, remove_temporaries, remove_tree
from agent_brain_server.types import RegisteredProject


def point_to_daemon(project: RegisteredProject, base_url: str) -> None:
    """Write the pointer of a project.

    Args:
        project: Its root exists.
        base_url: Where the daemon answers.

    Raises:
        ConflictError: The project's own server is running, or its state directory cannot be written or belongs to
            another project.
    """
    try:
        state_dir = project.place()
        pointer = SharedPointer(project_root=str(project.root), project_id=project.project_id, base_url=base_url)
        require_own_state_dir(project.root, state_dir)
        prepare_state_dir(state_dir)
        lock = StateLock(state_dir)
        if not lock.acquire(patience_s=PROBE_PATIENCE_S, record_pid=False):
            raise ConflictError(
                f"The project {project.root} has a server of its own that runs.",
                code="project_server_running",
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
    """Write the pointer of a project as far as that can be done; what stands against it is logged."""
    if not project.has_root():
        return
    try:
        point_to_daemon(project, base_url)
    except ConflictError as exc:
        logger.warning("No pointer to the daemon was written: %s", exc.message)


def withdraw_pointer(project: RegisteredProject, *, base_url: str | None = None) -> None:
    """Remove the pointer of a project if it is the daemon's; what stands against it is logged.

    Args:
        project: Its root may be gone.
        base_url: Only if the pointer leads there: a successor of the daemon may have made it its own.
    """
    try:
        state_dir = project.place()
        if not _is_pointed(project, state_dir, base_url):
            return
        lock = StateLock(state_dir)
        if not lock.acquire(patience_s=PROBE_PATIENCE_S, record_pid=False):
            return  # a project server is on its way, and makes the file its own
        try:
            if _is_pointed(project, state_dir, base_url):
                delete_runtime(state_dir)
        finally:
            lock.release()
    except (AgentBrainError, OSError) as exc:
        logger.warning("The pointer of %s was not withdrawn: %s", project.root, exc)


def _is_pointed(project: RegisteredProject, state_dir: Path, base_url: str | None) -> bool:
    pointer = read_pointer(state_dir)
    if pointer is None or pointer.project_id != project.project_id:
        return False
    return base_url in (None, pointer.base_url)


logger = logging.getLogger(__name__)

SCHEMA_VERSION = 1


def load_projects() -> list[RegisteredProject]:
    """Return the projects that are registered; what can't be understood is reported and left where it lies."""
    try:
        names = sorted(os.listdir(projects_dir()))
    except FileNotFoundError:
        return []
    for name in {name.partition(REMOVED_INFIX)[0] for name in names if REMOVED_INFIX in name}:
        if remove_leftovers(projects_dir() / name):
            logger.warning("The removal of the project %s was interrupted: finished it", name)
    found = [_load(name) for name in names if PROJECT_ID.fullmatch(name)]
    return [project for project in found if project is not None]


def describe_project(root: Path, state_dir: Path | None = None) -> RegisteredProject:
    """Return what is remembered of a project that is registered now.

    Args:
        root: Canonical.
        state_dir: Its own one, if not in the default place; absolute.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return RegisteredProject(generate_project_id(root), root, now, state_dir)


def save_project(project: RegisteredProject) -> None:
    """Register a project on disk; its data, if there are some from before, are taken up again.

    Raises:
        StateDirError: The daemon's directory can't be written.
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


def is_saved(project: RegisteredProject) -> bool:
    """Whether what is on disk of a project that is registered can be read, and says the same."""
    return _load(project.project_id) == project


def delete_project(project_id: str, *, with_data: bool) -> None:
    """Take a project out on disk.

    Args:
        project_id: Of a project that is not open.
        with_data: Delete its index and logs too.

    Raises:
        StateDirError: Something can't be removed.
    """
    try:
        shared_project_file(project_id).unlink(missing_ok=True)
        if with_data:
            remove_tree(shared_project_home(project_id))
    except FileNotFoundError:
        return
    except OSError as exc:
        raise StateDirError(f"{exc.filename} cannot be removed: {exc.strerror}.") from exc


def _load(project_id: str) -> RegisteredProject | None:
    path = shared_project_file(project_id)
    try:
        document = read_document(path)
    except UnreadableDocumentError as exc:
        logger.warning("Ignored: %s", exc)
        return None
    if document is None:
        return None
    root, registered_at = document.get("project_root"), document.get("registered_at")
    if document.get("schema_version") != SCHEMA_VERSION or not isinstance(root, str) or "\0" in root:
        logger.warning("Ignored: %s does not describe a project", path)
        return None
    if generate_project_id(Path(root)) != project_id:
        logger.warning("Ignored: %s describes another project, %s", path, root)
        return None
    return RegisteredProject(
        project_id,
        Path(root),
        registered_at if isinstance(registered_at, str) else "",
        _parse_place(document.get("state_dir")),
    )


def _parse_place(named: object) -> Path | None:
    """Return a state directory that can be one; the default place serves where none can be made out."""
    if not isinstance(named, str) or "\0" in named or not Path(named).is_absolute():
        return None
    return Path(named)
