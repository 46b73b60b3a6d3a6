"""The shared daemon, as the client of one project sees it: does it run, does it serve the project.

Only the daemon's own runtime file leads to it: that holds the token, and the instance id which it must answer with.
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
    UnknownSchemaError,
)
from agent_brain_server.lifecycle.control import DEFAULT_LIMIT_S, SILENT_LIMIT_S, start_daemon
from agent_brain_server.lifecycle.registry import SERVER_RUNNING_CODE, delete_registration, has_valid_registration
from agent_brain_server.locking import StateLock, cleanup_stale, is_stale
from agent_brain_server.project_root import generate_project_id, require_text
from agent_brain_server.runtime import RuntimeState, read_pointer, read_runtime, validate_runtime
from agent_brain_server.shared.mode import Membership
from agent_brain_server.storage_paths import brain_home, default_state_dir, shared_project_file
from agent_brain_server.support.http_client import HEALTH_PATH, HEALTH_TIMEOUT_S, request_json

logger = logging.getLogger(__name__)

FORGET_TIMEOUT_S = 30.0  # the daemon waits for requests to end, and deletes what may be gigabytes
REGISTER_TIMEOUT_S = 10.0  # the daemon may have to wait for the project's lock
LOOKERS_LIMIT_S = 5.0  # a look takes microseconds of computing
LEAVE_HINT = f"{DaemonNotRunningError.default_hint}, or do without it: agent-brain init --mode project"
ENDING_PAUSE_S = 0.02  # a daemon that is about to end still holds its lock


def find_daemon(*, timeout_s: float = HEALTH_TIMEOUT_S) -> RuntimeState | None:
    """Return the shared daemon, or None where none answers. What a dead one left is cleaned up.

    Args:
        timeout_s: Longest wait for its answer.

    Raises:
        UnknownSchemaError: A daemon of a version that can't be understood is running.
        StateDirError: This user has no home directory, or it is unusable.
    """
    home = brain_home()
    try:
        state = read_runtime(home)
    except UnknownSchemaError:
        if cleanup_stale(home):
            return None
        raise
    lives = state is not None and state.mode == "shared" and not is_stale(home)
    if state is not None and lives and validate_runtime(state, state_dir=home, timeout=timeout_s):
        return state
    cleanup_stale(home)
    return None


def require_daemon(membership: Membership | None = None) -> RuntimeState:
    """Return the shared daemon.

    Args:
        membership: Of the project for which it is wanted, if it is for one.

    Raises:
        ConfigError: The project means a daemon at another address.
        DaemonNotRunningError: None runs.
        DeadlineError: One is there and does not answer.
        AgentBrainError: As for `find_daemon`.
    """
    daemon = find_daemon(timeout_s=SILENT_LIMIT_S)
    if daemon is not None:
        if membership is not None:
            membership.require_address(daemon.base_url)
        return daemon
    if is_stale(brain_home()):
        raise DaemonNotRunningError("The shared daemon is not running.", hint=LEAVE_HINT if membership else None)
    raise DeadlineError(
        "The shared daemon is there, but does not answer.",
        hint="Wait if it is just starting, or end it with: agent-brain stop --mode shared --force",
    )


def find_project(project_root: Path, membership: Membership) -> RuntimeState | None:
    """Return the daemon as the server of this project, or None where none answers or it does not serve the project.

    Args:
        project_root: Canonical root.
        membership: What the project says of the daemon.

    Raises:
        AgentBrainError: As for `find_daemon`.
    """
    daemon = find_daemon()
    if daemon is None:
        return None
    try:
        membership.require_address(daemon.base_url)
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
        daemon: Where to ask.
        timeout_s: Longest wait.

    Raises:
        AgentBrainError: It does not answer, or refuses to.
    """
    answer = request_json(daemon, "GET", "/projects", timeout=timeout_s)
    projects = answer.get("projects") if isinstance(answer, dict) else None
    if not isinstance(projects, list):
        raise ServerRefusedError(
            "The shared daemon lists its projects in a way that is not understood.",
            hint="Start it again in this version: agent-brain stop --mode shared && agent-brain start --mode shared",
        )
    return [project for project in projects if isinstance(project, dict)]


def count_projects(daemon: RuntimeState) -> int | None:
    """Return how many projects the daemon serves, or None where that can't be learned."""
    with contextlib.suppress(NotRunningError, DeadlineError, ServerRefusedError):
        count = request_json(daemon, "GET", HEALTH_PATH, timeout=HEALTH_TIMEOUT_S).get("active_projects")
        return count if isinstance(count, int) else None
    return None


def register_project(daemon: RuntimeState, project_root: Path, state_dir: Path) -> RuntimeState:
    """Let the daemon serve a project, and return it as the project's server. Registering twice is registering once.

    Args:
        daemon: A daemon that runs.
        project_root: Canonical root.
        state_dir: The project's own one, where the pointer to the daemon is left; absolute.

    Raises:
        ConfigError: No JSON can name the project's path.
        ServerRefusedError: The project has a server of its own that runs, or is not a directory.
        NotRunningError: The daemon went away.
        DeadlineError: It does not answer.
    """
    for path in (project_root, state_dir):
        require_text(path)
    body = {"project_root": str(project_root)}
    if not _is_default_place(project_root, state_dir):
        body["state_dir"] = str(state_dir)
    deadline = time.monotonic() + LOOKERS_LIMIT_S
    while True:
        try:
            request_json(daemon, "POST", "/projects", body, timeout=REGISTER_TIMEOUT_S)
        except ServerRefusedError as refusal:
            # whoever only looks at the project's lock holds it too, for longer than meant on a machine that is busy
            looked_at = refusal.code == SERVER_RUNNING_CODE and is_stale(state_dir)
            if not looked_at or time.monotonic() >= deadline:
                raise
        else:
            return _describe_as_project(daemon, project_root, generate_project_id(project_root))


def ensure_pointer(daemon: RuntimeState, project_root: Path, state_dir: Path) -> None:
    """Have the pointer to the daemon and the registration written again if one of them is missing or damaged.

    A server of the project's own removes the pointer when it ends, and clients of plain HTTP look for it.

    Args:
        daemon: It serves the project.
        project_root: Canonical root.
        state_dir: The project's own one; absolute.
    """
    pointer = None
    with contextlib.suppress(UnknownSchemaError):
        pointer = read_pointer(state_dir)
    is_pointed = pointer is not None and (pointer.project_root, pointer.base_url) == (
        str(project_root),
        daemon.base_url,
    )
    if not is_pointed or not has_valid_registration(project_root):
        with contextlib.suppress(AgentBrainError, OSError):
            register_project(daemon, project_root, state_dir)


def unregister_project(project_id: str, *, forget: bool = False) -> bool:
    """Unregister a project from the daemon, whether or not it runs.

    Args:
        project_id: Of a project that may be registered.
        forget: Delete its index too; else it is kept in case the project comes back.

    Returns:
        False if nothing was changed: it was not registered, or the daemon does not answer.

    Raises:
        InvalidRequestError: The id is not a project id.
        StateDirError: Its files cannot be removed.
        AgentBrainError: As for `find_daemon`.
    """
    registration = shared_project_file(project_id)
    if not registration.exists():
        return False
    daemon = find_daemon()
    if daemon is not None:
        path = f"/projects/{project_id}" + ("?forget=true" if forget else "")
        try:
            request_json(daemon, "DELETE", path, timeout=FORGET_TIMEOUT_S if forget else REGISTER_TIMEOUT_S)
        except (NotRunningError, DeadlineError, ServerRefusedError) as exc:
            logger.info("The daemon continues to serve %s: %s", project_id, exc)
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
    project_root: Path, state_dir: Path, membership: Membership, *, timeout_s: float = DEFAULT_LIMIT_S
) -> RuntimeState:
    """Return the daemon as the project's server: started on behalf of an agent and told of the project, as needed.

    Args:
        project_root: Canonical root.
        state_dir: The project's own one; absolute.
        membership: What the project says of the daemon.
        timeout_s: Longest wait for a daemon that answers.

    Raises:
        AgentBrainError: No daemon could be started, it is not the one that the project means, or refuses the project.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        remaining = deadline - time.monotonic()
        # a daemon that runs is returned as it is
        daemon = start_daemon(started_by="agent", timeout_s=remaining, silent_timeout_s=SILENT_LIMIT_S).state
        membership.require_address(daemon.base_url)
        try:
            return register_project(daemon, project_root, state_dir)
        except NotRunningError:  # it ended after it was found
            if time.monotonic() >= deadline:
                raise
        time.sleep(ENDING_PAUSE_S)


def _describe_as_project(daemon: RuntimeState, project_root: Path, project_id: str) -> RuntimeState:
    return daemon.model_copy(update={"project_root": str(project_root), "project_id": project_id})


def _is_default_place(project_root: Path, state_dir: Path) -> bool:
    try:
        return state_dir == default_state_dir(project_root)
    except StateDirError:  # the default one leads out of the project, so another one was named
        return False
