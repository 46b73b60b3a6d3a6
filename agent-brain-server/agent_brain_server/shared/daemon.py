"""Find the shared daemon, and register projects with it.

Only the daemon's own runtime file leads to it. That file holds the token, and the instance id that the daemon must
answer with.
"""

import contextlib
import logging
import time
from pathlib import Path
from typing import Any

from agent_brain_server.errors import (
    AgentBrainError,
    ConfigError,
    DaemonNotRunningError,
    DeadlineError,
    NotRunningError,
    ServerRefusedError,
    StateDirError,
)
from agent_brain_server.lifecycle.control import DEFAULT_LIMIT_S, SILENT_LIMIT_S, start_daemon
from agent_brain_server.lifecycle.registry import SERVER_RUNNING_CODE, delete_registration
from agent_brain_server.locking import StateLock, cleanup_stale, is_stale
from agent_brain_server.project_root import generate_project_id, require_text
from agent_brain_server.runtime import RuntimeState, find_server
from agent_brain_server.shared.mode import ProjectMode
from agent_brain_server.storage_paths import brain_home, default_state_dir, shared_project_file
from agent_brain_server.support.http_client import HEALTH_PATH, HEALTH_TIMEOUT_S, request_json

logger = logging.getLogger(__name__)

FORGET_TIMEOUT_S = 30.0  # the daemon waits for requests to end, and may delete gigabytes
REGISTER_TIMEOUT_S = 10.0  # the daemon may have to wait for the project's lock
PROBES_LIMIT_S = 5.0  # a probe of a lock takes microseconds of CPU
ENDING_PAUSE_S = 0.02  # a daemon that is about to end still holds its lock

NOT_RUNNING_HINT = f"{DaemonNotRunningError.default_hint}, or use a separate server: agent-brain init --mode project"


def find_daemon(*, timeout_s: float = HEALTH_TIMEOUT_S) -> RuntimeState | None:
    """Return the shared daemon, or `None` if none answers. Files of a daemon that has ended are removed.

    Args:
        timeout_s: Seconds to wait for its answer.

    Raises:
        UnknownSchemaError: A daemon of an incompatible version is running.
        StateDirError: This user has no home directory, or it is unusable.
    """
    home = brain_home()
    state = find_server(home, timeout_s=timeout_s)
    if state is not None and state.mode == "shared":
        return state
    cleanup_stale(home)
    return None


def require_daemon(mode: ProjectMode | None = None) -> RuntimeState:
    """Return the shared daemon.

    Args:
        mode: Mode of the project for which the daemon is needed, if it is for one.

    Raises:
        ConfigError: The project's settings name a daemon at another address.
        DaemonNotRunningError: No daemon is running.
        DeadlineError: A daemon is running and does not answer.
        AgentBrainError: As for `find_daemon`.
    """
    daemon = find_daemon(timeout_s=SILENT_LIMIT_S)
    if daemon is not None:
        if mode is not None:
            mode.require_address(daemon.base_url)
        return daemon
    if is_stale(brain_home()):
        raise DaemonNotRunningError("The shared daemon is not running.", hint=NOT_RUNNING_HINT if mode else None)
    raise DeadlineError(
        "The shared daemon is running, but does not answer.",
        hint="Wait if it is just starting, or end it with: agent-brain stop --mode shared --force",
    )


def find_project(project_root: Path, mode: ProjectMode) -> RuntimeState | None:
    """Return the daemon as the server of a project, or `None` if none answers or it does not serve the project.

    Args:
        project_root: Canonical root.
        mode: Mode of the project.

    Raises:
        AgentBrainError: As for `find_daemon`.
    """
    daemon = find_daemon()
    if daemon is None:
        return None
    try:
        mode.require_address(daemon.base_url)
        registered = list_projects(daemon, timeout_s=HEALTH_TIMEOUT_S)
    except (ConfigError, NotRunningError, DeadlineError, ServerRefusedError) as exc:
        logger.info("The daemon is not the project's, or did not list its projects: %s", exc)
        return None
    for project in registered:
        if project.get("project_root") == str(project_root):
            return _describe_as_project(daemon, project_root, str(project["project_id"]))
    return None


def list_projects(daemon: RuntimeState, *, timeout_s: float = REGISTER_TIMEOUT_S) -> list[dict[str, Any]]:
    """Return the projects that the daemon serves, as `GET /projects` describes them.

    Args:
        daemon: The daemon.
        timeout_s: Seconds to wait.

    Raises:
        AgentBrainError: The daemon does not answer, or refuses the request.
    """
    answer = request_json(daemon, "GET", "/projects", timeout=timeout_s)
    projects = answer.get("projects") if isinstance(answer, dict) else None
    if not isinstance(projects, list):
        raise ServerRefusedError(
            "The shared daemon's list of projects has an unknown format.",
            hint="Restart it in this version: agent-brain stop --mode shared && agent-brain start --mode shared",
        )
    return [project for project in projects if isinstance(project, dict)]


def count_projects(daemon: RuntimeState) -> int | None:
    """Return how many projects the daemon serves, or `None` if it does not answer."""
    with contextlib.suppress(NotRunningError, DeadlineError, ServerRefusedError):
        count = request_json(daemon, "GET", HEALTH_PATH, timeout=HEALTH_TIMEOUT_S).get("active_projects")
        return count if isinstance(count, int) else None
    return None


def register_project(daemon: RuntimeState, project_root: Path, state_dir: Path) -> RuntimeState:
    """Register a project with the daemon, and return the daemon as the project's server. This is idempotent.

    Args:
        daemon: A running daemon.
        project_root: Canonical root.
        state_dir: The project's state directory, which gets the pointer to the daemon; absolute.

    Raises:
        ConfigError: The project's path is not UTF-8.
        ServerRefusedError: The project's own server is running, or the root is not a directory.
        NotRunningError: The daemon has ended.
        DeadlineError: The daemon does not answer.
    """
    for path in (project_root, state_dir):
        require_text(path)
    body = {"project_root": str(project_root)}
    if not _is_default(project_root, state_dir):
        body["state_dir"] = str(state_dir)
    deadline = time.monotonic() + PROBES_LIMIT_S
    while True:
        try:
            request_json(daemon, "POST", "/projects", body, timeout=REGISTER_TIMEOUT_S)
        except ServerRefusedError as refusal:
            # a process that only checks the project's lock holds it too, and for longer on a busy machine
            is_probe = refusal.code == SERVER_RUNNING_CODE and is_stale(state_dir)
            if not is_probe or time.monotonic() >= deadline:
                raise
        else:
            return _describe_as_project(daemon, project_root, generate_project_id(project_root))


def repair_registration(daemon: RuntimeState, project_root: Path, state_dir: Path, mode: ProjectMode) -> None:
    """Register a project again if its pointer or its registration is missing or damaged.

    A separate server of the project removes the pointer when it ends, and clients of plain HTTP look for it.

    Args:
        daemon: The daemon that serves the project.
        project_root: Canonical root.
        state_dir: The project's state directory; absolute.
        mode: Mode of the project.
    """
    if not mode.is_published(project_root, daemon.base_url):
        with contextlib.suppress(AgentBrainError, OSError):
            register_project(daemon, project_root, state_dir)


def unregister_project(project_id: str, *, forget: bool = False) -> bool:
    """Unregister a project from the daemon, whether or not the daemon is running.

    Args:
        project_id: Id of the project.
        forget: Delete its index too; otherwise a later registration uses it again.

    Returns:
        `False` if nothing was changed: the project was not registered, or the daemon does not answer.

    Raises:
        InvalidRequestError: The id is not a project id.
        StateDirError: Its files cannot be removed.
        AgentBrainError: As for `find_daemon`.
    """
    if not shared_project_file(project_id).exists():
        return False
    daemon = find_daemon()
    if daemon is not None:
        path = f"/projects/{project_id}" + ("?forget=true" if forget else "")
        try:
            request_json(daemon, "DELETE", path, timeout=FORGET_TIMEOUT_S if forget else REGISTER_TIMEOUT_S)
        except (NotRunningError, DeadlineError, ServerRefusedError) as exc:
            logger.info("The daemon still serves %s: %s", project_id, exc)
            return False
        return True
    lock = StateLock(brain_home())
    if not lock.acquire(record_pid=False):
        return False
    try:
        delete_registration(project_id, with_data=forget)
    finally:
        lock.release()
    return True


def open_project(
    project_root: Path, state_dir: Path, mode: ProjectMode, *, timeout_s: float = DEFAULT_LIMIT_S
) -> tuple[RuntimeState, bool]:
    """Return the daemon as the project's server, and whether this call started it on behalf of an agent.

    Args:
        project_root: Canonical root.
        state_dir: The project's state directory; absolute.
        mode: Mode of the project.
        timeout_s: Seconds to wait for a daemon that answers.

    Raises:
        AgentBrainError: No daemon could be started, it has another address than the settings name, or it refuses the
            project.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        remaining = deadline - time.monotonic()
        found = start_daemon(started_by="agent", timeout_s=remaining, silent_timeout_s=SILENT_LIMIT_S)
        mode.require_address(found.state.base_url)
        try:
            return register_project(found.state, project_root, state_dir), found.started
        except NotRunningError:  # it ended after it was found
            if time.monotonic() >= deadline:
                raise
        time.sleep(ENDING_PAUSE_S)


def _describe_as_project(daemon: RuntimeState, project_root: Path, project_id: str) -> RuntimeState:
    return daemon.model_copy(update={"project_root": str(project_root), "project_id": project_id})


def _is_default(project_root: Path, state_dir: Path) -> bool:
    try:
        return state_dir == default_state_dir(project_root)
    except StateDirError:  # the default one leads out of the project, so another one was named
        return False
