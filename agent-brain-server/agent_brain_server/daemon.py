"""The shared daemon, as the client of one project sees it: is the project meant for it, does it run, does it serve it.

A project is meant for the daemon where its settings say `"mode": "shared"`. Where they say nothing, the pointer decides
that the daemon leaves in the state directory of a project which it serves. The pointer itself is only a hint that leads
to the daemon's own runtime file: that holds the token, and the instance id which the daemon must answer with.
"""

import contextlib
import logging
import os
import time
from pathlib import Path
from typing import Any

from agent_brain_server.atomic_file import UnreadableDocumentError, read_document
from agent_brain_server.config.settings import DEFAULT_ORIGIN, load_settings
from agent_brain_server.errors import (
    ConfigError,
    DaemonNotRunningError,
    DeadlineError,
    NotRunningError,
    ServerRefusedError,
    StateDirError,
    UnknownSchemaError,
)
from agent_brain_server.lifecycle import DEFAULT_LIMIT_S, start_daemon
from agent_brain_server.local_http import HEALTH_PATH, HEALTH_TIMEOUT_S, request_json
from agent_brain_server.locking import StateLock, cleanup_stale, is_stale
from agent_brain_server.project_root import generate_project_id, require_text
from agent_brain_server.runtime import RuntimeState, read_pointer, read_runtime, validate_runtime
from agent_brain_server.storage_paths import (
    PROJECT_ID,
    brain_home,
    default_state_dir,
    projects_dir,
    shared_project_file,
)

logger = logging.getLogger(__name__)

REGISTER_TIMEOUT_S = 10.0  # the daemon may have to wait for the project's lock
LOOKERS_LIMIT_S = 5.0  # a look takes microseconds of computing
SERVER_RUNNING_CODE = "project_server_running"
ENDING_PAUSE_S = 0.02  # a daemon that is about to end still holds its lock


def is_shared(project_root: Path, state_dir: Path, *, pointed: bool = False) -> bool:
    """True where the project is meant for the shared daemon, whether or not that runs.

    Args:
        project_root: Canonical root.
        state_dir: Absolute.
        pointed: There was a pointer a moment ago; looking for a server may have removed it.
    """
    try:
        settings = load_settings(state_dir)
    except (ConfigError, StateDirError) as exc:
        logger.info("Ignored: %s", exc)  # whoever starts a server is told
        return False
    if settings.origins["mode"] != DEFAULT_ORIGIN:
        return settings.config.mode == "shared"
    return pointed or has_pointer(project_root, state_dir)


def has_pointer(project_root: Path, state_dir: Path) -> bool:
    """True where the state directory points to a daemon that serves, or served, this project and not its original.

    Args:
        project_root: Canonical root.
        state_dir: Absolute.
    """
    try:
        pointer = read_pointer(state_dir)
    except UnknownSchemaError:
        return False
    return pointer is not None and pointer.project_root == str(project_root)


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
    if state is not None and lives and validate_runtime(state, timeout=timeout_s):
        return state
    cleanup_stale(home)
    return None


def require_daemon() -> RuntimeState:
    """Return the shared daemon.

    Raises:
        DaemonNotRunningError: None runs.
        DeadlineError: One is there and does not answer.
        AgentBrainError: As for `find_daemon`.
    """
    daemon = find_daemon()
    if daemon is not None:
        return daemon
    if is_stale(brain_home()):
        raise DaemonNotRunningError("The shared daemon is not running.")
    raise DeadlineError(
        "The shared daemon is there, but does not answer.",
        hint="Wait if it is just starting, or end it with: agent-brain stop --mode shared --force",
    )


def find_project(project_root: Path) -> RuntimeState | None:
    """Return the daemon as the server of this project, or None where none answers or it does not serve the project.

    Args:
        project_root: Canonical root.

    Raises:
        AgentBrainError: As for `find_daemon`.
    """
    daemon = find_daemon()
    if daemon is None:
        return None
    try:
        registered = list_projects(daemon, timeout_s=HEALTH_TIMEOUT_S)
    except (NotRunningError, DeadlineError, ServerRefusedError) as exc:
        logger.info("The daemon did not list its projects: %s", exc)
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


def read_registrations() -> dict[str, Path]:
    """Return the roots of the projects that the daemon serves whenever it runs, by project id.

    Read from the daemon's files, so that it need not run; a torn file counts as absent.

    Raises:
        StateDirError: This user has no home directory.
    """
    directory = projects_dir()
    names = sorted(os.listdir(directory)) if directory.is_dir() else []
    found: dict[str, Path] = {}
    for name in filter(PROJECT_ID.fullmatch, names):
        with contextlib.suppress(UnreadableDocumentError):
            root = (read_document(shared_project_file(name)) or {}).get("project_root")
            if isinstance(root, str) and "\0" not in root and generate_project_id(Path(root)) == name:
                found[name] = Path(root)
    return found


def register_project(daemon: RuntimeState, project_root: Path) -> RuntimeState:
    """Let the daemon serve a project, and return it as the project's server. Registering twice is registering once.

    Args:
        daemon: A daemon that runs.
        project_root: Canonical root.

    Raises:
        ConfigError: No JSON can name the project's path.
        ServerRefusedError: The project has a server of its own that runs, or is not a directory.
        NotRunningError: The daemon went away.
        DeadlineError: It does not answer.
    """
    require_text(project_root)
    body = {"project_root": str(project_root)}
    deadline = time.monotonic() + LOOKERS_LIMIT_S
    while True:
        try:
            request_json(daemon, "POST", "/projects", body, timeout=REGISTER_TIMEOUT_S)
        except ServerRefusedError as refusal:
            # whoever only looks at the project's lock holds it too, for longer than meant on a machine that is busy
            looked_at = refusal.code == SERVER_RUNNING_CODE and is_stale(default_state_dir(project_root))
            if not looked_at or time.monotonic() >= deadline:
                raise
        else:
            return _describe_as_project(daemon, project_root, generate_project_id(project_root))


def unregister_project(project_id: str) -> bool:
    """Let the daemon, running or not, no longer serve a project; its index is kept in case the project comes back.

    Args:
        project_id: Of a project that may be registered.

    Returns:
        False where nothing was changed: it was not registered, or the daemon does not answer.

    Raises:
        InvalidRequestError: The id is none.
        AgentBrainError: As for `find_daemon`.
    """
    registration = shared_project_file(project_id)
    if not registration.exists():
        return False
    daemon = find_daemon()
    if daemon is not None:
        try:
            request_json(daemon, "DELETE", f"/projects/{project_id}", timeout=REGISTER_TIMEOUT_S)
        except (NotRunningError, DeadlineError, ServerRefusedError) as exc:
            logger.info("The daemon goes on serving %s: %s", project_id, exc)
            return False
        return True
    lock = StateLock(brain_home())
    if not lock.acquire(record_pid=False):
        return False
    try:
        registration.unlink(missing_ok=True)
    finally:
        lock.release()
    return True


def open_project(project_root: Path, *, timeout_s: float = DEFAULT_LIMIT_S) -> RuntimeState:
    """Return the daemon as the project's server: started on behalf of an agent and told of the project, as needed.

    Args:
        project_root: Canonical root.
        timeout_s: Longest wait for a daemon that answers.

    Raises:
        AgentBrainError: No daemon could be started, or it refuses the project.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        remaining = deadline - time.monotonic()
        daemon = find_daemon() or start_daemon(started_by="agent", timeout_s=remaining).state
        try:
            return register_project(daemon, project_root)
        except NotRunningError:  # it ended after it was found
            if time.monotonic() >= deadline:
                raise
        time.sleep(ENDING_PAUSE_S)


def _describe_as_project(daemon: RuntimeState, project_root: Path, project_id: str) -> RuntimeState:
    return daemon.model_copy(update={"project_root": str(project_root), "project_id": project_id})
