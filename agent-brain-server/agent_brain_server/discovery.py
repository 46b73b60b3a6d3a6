"""The front door for agents: find the project's server, or start it.

    from agent_brain_server.discovery import discover_or_start, request_json

    server = discover_or_start(Path.cwd())
    question = {"query": "where is the lock released?", "project_id": server.project_id}
    answer = request_json(server, "POST", "/query", question)

The server is the project's own, or the shared daemon where the project is meant for that (see `membership`). The daemon
needs `project_id` in every call and a project's own server ignores it: whoever sends it along need not tell them apart.

A server of another version is returned if it answers with the instance id in its runtime file and writes the same
schema of that file; `RuntimeState.version` is its version. `agent-brain start` replaces it when it is idle.

All functions may be called from any number of processes and threads at once.
"""

from pathlib import Path

from agent_brain_server.errors import ServerRefusedError, UnknownSchemaError
from agent_brain_server.locking import cleanup_stale, is_stale
from agent_brain_server.project_root import require_project, resolve_project_root
from agent_brain_server.runtime import RuntimeState, read_runtime, validate_runtime
from agent_brain_server.storage_paths import resolve_state_dir
from agent_brain_server.support.http_client import request_json

__all__ = [
    "RuntimeState",
    "discover",
    "discover_async",
    "discover_or_start",
    "discover_or_start_async",
    "request_json",
]


def discover(project_root: Path, *, state_dir: Path | None = None, exact: bool = False) -> RuntimeState | None:
    """Return the running server of a project, or `None` if none answers.

    The files of a dead server are removed; one that is alive and does not answer is left alone. The shared daemon is
    asked whether it serves the project: if it does not yet, it is not the project's server.

    Args:
        project_root: Any path in the project; the root is found as in `project_root.resolve_project_root`.
        state_dir: The state directory, if it is not the default one.
        exact: `project_root` is the root itself; no other is searched for.

    Raises:
        UnknownSchemaError: A server of an unknown version is running.
        StateDirError: The state directory is unusable.
    """
    root = _find_root(project_root, exact=exact)
    place = resolve_state_dir(root, state_dir)
    return _find_own_server(root, place) or _find_shared_server(root, place)


def discover_or_start(project_root: Path, *, state_dir: Path | None = None, exact: bool = False) -> RuntimeState:
    """Return the running server of a project, started on behalf of an agent if none runs.

    If the project uses the shared daemon, that is started, and serves the project from then on.

    Args:
        project_root: Any path in the project; the root is found as in `project_root.resolve_project_root`.
        state_dir: The state directory, if it is not the default one.
        exact: `project_root` is the root itself; no other is searched for, and the home directory is allowed.

    Raises:
        ConfigError: The path is in no project, and is `/`, the home directory or one above it.
        DeadlineError: A server is there and has not answered for three seconds.
        AgentBrainError: No server could be started; the message says why.
    """
    root = _find_root(project_root, exact=exact)
    if not exact:
        require_project(root)
    place = resolve_state_dir(root, state_dir)
    own = _find_own_server(root, place)
    if own is not None:
        return own
    # only who finds no server of its own pays for these
    from agent_brain_server.lifecycle import control as lifecycle  # noqa: PLC0415
    from agent_brain_server.lifecycle.registry import SERVER_RUNNING_CODE  # noqa: PLC0415
    from agent_brain_server.shared import daemon  # noqa: PLC0415
    from agent_brain_server.shared import mode as membership  # noqa: PLC0415

    belonging = membership.read_membership(root, place)
    if belonging.is_shared:
        running = daemon.find_project(root, belonging)
        if running is not None:
            daemon.ensure_pointer(running, root, place)
            return running
        try:
            return daemon.open_project(root, place, belonging)
        except ServerRefusedError as refusal:
            if refusal.code != SERVER_RUNNING_CODE:
                raise
        # a server of its own has come first: it is waited for
    limit_s = lifecycle.SILENT_LIMIT_S
    return lifecycle.start_server(root, state_dir=place, started_by="agent", silent_timeout_s=limit_s).state


async def discover_async(
    project_root: Path, *, state_dir: Path | None = None, exact: bool = False
) -> RuntimeState | None:
    """Like `discover`, without blocking the event loop: it runs in a thread of the loop's default executor.

    Cancelling returns at once; the thread ends within the seconds that a silent server is waited for.

    Args:
        project_root: As for `discover`.
        state_dir: As for `discover`.
        exact: As for `discover`.

    Raises:
        AgentBrainError: As for `discover`.
    """
    import asyncio  # noqa: PLC0415 - only callers with an event loop pay for it, and they have it loaded

    return await asyncio.to_thread(discover, project_root, state_dir=state_dir, exact=exact)


async def discover_or_start_async(
    project_root: Path, *, state_dir: Path | None = None, exact: bool = False
) -> RuntimeState:
    """Like `discover_or_start`, without blocking the event loop: it runs in a thread of the loop's default executor.

    Cancelling returns at once; a server that is being started is started all the same, for the next caller.

    Args:
        project_root: As for `discover_or_start`.
        state_dir: As for `discover_or_start`.
        exact: As for `discover_or_start`.

    Raises:
        AgentBrainError: As for `discover_or_start`.
    """
    import asyncio  # noqa: PLC0415 - only callers with an event loop pay for it, and they have it loaded

    return await asyncio.to_thread(discover_or_start, project_root, state_dir=state_dir, exact=exact)


def _find_root(path: Path, *, exact: bool) -> Path:
    return path.expanduser().resolve() if exact else resolve_project_root(path)


def _find_own_server(root: Path, place: Path) -> RuntimeState | None:
    try:
        state = read_runtime(place)
    except UnknownSchemaError:
        if cleanup_stale(place):
            return None
        raise
    # a file that came with a copy or a clone may name any address; the lock of a server that lives can't be copied
    if state is None or state.mode != "project" or is_stale(place) or not validate_runtime(state, state_dir=place):
        return None
    # a named state directory may belong to another project
    return state if state.project_root == str(root) else None


def _find_shared_server(root: Path, place: Path) -> RuntimeState | None:
    # only who finds no server of its own pays for these
    from agent_brain_server.shared import daemon  # noqa: PLC0415
    from agent_brain_server.shared import mode as membership  # noqa: PLC0415

    belonging = membership.read_membership(root, place)
    found = daemon.find_project(root, belonging) if belonging.is_shared else None
    if found is None:
        cleanup_stale(place)
    return found
