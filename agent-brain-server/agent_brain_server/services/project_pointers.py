"""The pointers by which a project's own state directory leads to the shared daemon.

A pointer is written and withdrawn while holding the project's own lock, for just that moment: a project server that
runs is never overwritten, and one that starts finds the file whole.
"""

import logging
from pathlib import Path

from agent_brain_server.errors import AgentBrainError, ConflictError, StateDirError
from agent_brain_server.locking import PROBE_PATIENCE_S, StateLock
from agent_brain_server.runtime import SharedPointer, delete_runtime, read_pointer, write_pointer
from agent_brain_server.state_owner import claim_state_dir, require_own_state_dir
from agent_brain_server.storage_paths import prepare_state_dir
from agent_brain_server.types import RegisteredProject

logger = logging.getLogger(__name__)


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
