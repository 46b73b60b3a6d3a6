"""The client API for agents: find the server of a project, or start it.

    from agent_brain_server.discovery import discover_or_start, request_json

    server = discover_or_start(Path.cwd())
    query = {"query": "where is the lock released?", "project_id": server.project_id}
    answer = request_json(server, "POST", "/query", query)

A project has its own server or uses the shared daemon (see `shared.mode`). The daemon requires `project_id` in every
request and a project's own server ignores it, so a client can always send it.

A server of another version is returned if it answers with the instance id in its runtime file and uses the same schema
of that file; `RuntimeState.version` is its version. `agent-brain start` replaces it when it is idle.

All functions can be called from any number of processes and threads at once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent_brain_server.errors import NotRunningError, ServerRefusedError
from agent_brain_server.locking import cleanup_stale
from agent_brain_server.models import Mode
from agent_brain_server.project_root import Project, locate_project, make_too_wide_error
from agent_brain_server.runtime import RuntimeState, find_server
from agent_brain_server.support.http_client import request_json

__all__ = [
    "Resolution",
    "RuntimeState",
    "discover",
    "discover_async",
    "discover_or_start",
    "discover_or_start_async",
    "request_json",
    "resolve_server",
]


@dataclass(frozen=True, slots=True)
class Resolution:
    """The server that serves a project.

    Attributes:
        project: The project: its root and its state directory.
        mode: `shared` if the daemon serves the project, whether or not it is running.
        state: The running server, with its address and token; `None` if none answers.
        started: This call started it.
    """

    project: Project
    mode: Mode
    state: RuntimeState | None
    started: bool = False

    def require_state(self) -> RuntimeState:
        """Return the running server.

        Raises:
            NotRunningError: None answers.
        """
        if self.state is None:
            raise NotRunningError(f"No server of {self.project.root} is running.")
        return self.state


def resolve_server(
    path: Path | Project,
    *,
    start: bool,
    start_daemon: bool = True,
    on_start: Callable[[Project], None] = lambda _: None,
) -> Resolution:
    """Find the server that serves a project, and start it if none answers.

    This is the only implementation of that question. A running server of the project itself comes first. Otherwise the
    project's mode decides between the shared daemon and a separate server.

    Args:
        path: Any path in the project, or a located project.
        start: Start a server that is not running, on behalf of an agent. Otherwise nothing that runs is changed, and
            only the files of servers that have ended are removed.
        start_daemon: Start the daemon too. Otherwise a daemon that is not running is an error.
        on_start: Called before a separate server is started, or waited for because another process starts it.

    Raises:
        ConfigError: `start` is set and the path is in no project: it is `/`, the home directory or one above it.
        DaemonNotRunningError: The project uses the daemon, which is not running, and `start_daemon` is not set.
        DeadlineError: A server is running and did not answer for three seconds.
        AgentBrainError: No server could be started; the message says why.
    """
    project = path if isinstance(path, Project) else locate_project(path)
    if start and project.is_too_wide:
        raise make_too_wide_error(project.root)
    own = find_server(project.state_dir)
    # a state directory that the user names may belong to another project
    if own is not None and own.mode == "project" and own.project_root == str(project.root):
        return Resolution(project, "project", own)
    return _resolve_by_mode(project, start=start, start_daemon=start_daemon, on_start=on_start)


def _resolve_by_mode(
    project: Project, *, start: bool, start_daemon: bool, on_start: Callable[[Project], None]
) -> Resolution:
    # imported late: a client that finds the project's own server does not pay for these
    from agent_brain_server.lifecycle.registry import SERVER_RUNNING_CODE  # noqa: PLC0415
    from agent_brain_server.shared import daemon as shared  # noqa: PLC0415
    from agent_brain_server.shared.mode import resolve_mode  # noqa: PLC0415

    root, state_dir = project.root, project.state_dir
    mode = resolve_mode(root, state_dir)
    if mode.is_shared:
        running = shared.find_project(root, mode)
        if running is not None:
            if start:
                shared.repair_registration(running, root, state_dir, mode)
            return Resolution(project, "shared", running)
        if start:
            try:
                if start_daemon:
                    return Resolution(project, "shared", *shared.open_project(root, state_dir, mode))
                registered = shared.register_project(shared.require_daemon(mode), root, state_dir)
                return Resolution(project, "shared", registered)
            except ServerRefusedError as refusal:
                if refusal.code != SERVER_RUNNING_CODE:
                    raise
                # a separate server was started first: wait for it
    cleanup_stale(state_dir)
    if not start:
        return Resolution(project, "shared" if mode.is_shared else "project", None)
    return _start_own_server(project, on_start)


def _start_own_server(project: Project, on_start: Callable[[Project], None]) -> Resolution:
    from agent_brain_server.lifecycle.control import SILENT_LIMIT_S, start_server  # noqa: PLC0415 - see above

    on_start(project)
    found = start_server(project.root, state_dir=project.state_dir, started_by="agent", silent_timeout_s=SILENT_LIMIT_S)
    return Resolution(project, "project", found.state, started=found.started)


def discover(project_root: Path, *, state_dir: Path | None = None, exact: bool = False) -> RuntimeState | None:
    """Return the running server of a project, or `None` if none answers.

    The files of a server that has ended are removed; a server that runs and does not answer is left alone. The shared
    daemon is the project's server only if it serves the project already.

    Args:
        project_root: Any path in the project; the root is found as in `project_root.resolve_project_root`.
        state_dir: The state directory, if it is not the default one.
        exact: `project_root` is the root itself; no other is searched for.

    Raises:
        UnknownSchemaError: A server of an incompatible version is running.
        StateDirError: The state directory is unusable.
    """
    return resolve_server(locate_project(project_root, state_dir, exact=exact), start=False).state


def discover_or_start(project_root: Path, *, state_dir: Path | None = None, exact: bool = False) -> RuntimeState:
    """Return the running server of a project; start it on behalf of an agent if none runs.

    If the project uses the shared daemon, that is started, and the project is registered with it.

    Args:
        project_root: Any path in the project; the root is found as in `project_root.resolve_project_root`.
        state_dir: The state directory, if it is not the default one.
        exact: `project_root` is the root itself; no other is searched for, and the home directory is allowed.

    Raises:
        ConfigError: The path is in no project: it is `/`, the home directory or one above it.
        DeadlineError: A server is running and did not answer for three seconds.
        AgentBrainError: No server could be started; the message says why.
    """
    return resolve_server(locate_project(project_root, state_dir, exact=exact), start=True).require_state()


async def discover_async(
    project_root: Path, *, state_dir: Path | None = None, exact: bool = False
) -> RuntimeState | None:
    """Run `discover` in a thread of the event loop's default executor.

    Cancelling returns at once; the thread ends within the seconds that it waits for a silent server.

    Args:
        project_root: As for `discover`.
        state_dir: As for `discover`.
        exact: As for `discover`.

    Raises:
        AgentBrainError: As for `discover`.
    """
    import asyncio  # noqa: PLC0415 - only callers with an event loop pay for it, and they have imported it

    return await asyncio.to_thread(discover, project_root, state_dir=state_dir, exact=exact)


async def discover_or_start_async(
    project_root: Path, *, state_dir: Path | None = None, exact: bool = False
) -> RuntimeState:
    """Run `discover_or_start` in a thread of the event loop's default executor.

    Cancelling returns at once; a server that is being started still starts, for the next caller.

    Args:
        project_root: As for `discover_or_start`.
        state_dir: As for `discover_or_start`.
        exact: As for `discover_or_start`.

    Raises:
        AgentBrainError: As for `discover_or_start`.
    """
    import asyncio  # noqa: PLC0415 - only callers with an event loop pay for it, and they have imported it

    return await asyncio.to_thread(discover_or_start, project_root, state_dir=state_dir, exact=exact)
