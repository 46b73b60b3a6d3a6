"""The front door for agents: find the project's server, or start it.

    from agent_brain_server.discovery import discover_or_start, request_json

    server = discover_or_start(project_root)
    answer = request_json(server, "POST", "/query", {"query": "where is the lock released?"})

A server of another version is returned as long as it answers with the instance id of its runtime file and writes the
same schema of that file: `RuntimeState.version` tells which version it is.
"""

from pathlib import Path

from agent_brain_server.errors import UnknownSchemaError
from agent_brain_server.local_http import request_json
from agent_brain_server.locking import cleanup_stale
from agent_brain_server.runtime import RuntimeState, read_runtime, validate_runtime
from agent_brain_server.storage_paths import resolve_state_dir

__all__ = ["RuntimeState", "discover", "discover_or_start", "request_json"]


def discover(project_root: Path, *, state_dir: Path | None = None) -> RuntimeState | None:
    """Return the running server of a project, or None where none answers.

    What a dead server left is cleaned up; a server that lives and does not answer is left alone.

    Args:
        project_root: Root of the project, as `project_root.resolve_project_root` gives it.
        state_dir: Where its state lies, if not in the default place.

    Raises:
        UnknownSchemaError: A server of a version that can't be understood is running.
        StateDirError: The state directory is unusable.
    """
    root = project_root.expanduser().resolve()
    place = resolve_state_dir(root, state_dir)
    try:
        state = read_runtime(place)
    except UnknownSchemaError:
        if cleanup_stale(place):
            return None
        raise
    if state is not None and validate_runtime(state):
        # a named state directory may belong to another project
        return state if state.project_root == str(root) else None
    cleanup_stale(place)
    return None


def discover_or_start(project_root: Path, *, state_dir: Path | None = None) -> RuntimeState:
    """Return the running server of a project, started on behalf of an agent if none runs.

    Args:
        project_root: Root of the project, as `project_root.resolve_project_root` gives it.
        state_dir: Where its state lies, if not in the default place.

    Raises:
        AgentBrainError: No server could be started; the message says why.
    """
    running = discover(project_root, state_dir=state_dir)
    if running is not None:
        return running
    from agent_brain_server.lifecycle import start_server  # noqa: PLC0415 - only a start pays for it

    return start_server(project_root, state_dir=state_dir, started_by="agent").state
