"""Find, start and describe the server of the project that a command concerns."""

from typing import TYPE_CHECKING

from agent_brain_cli.client import Client
from agent_brain_cli.options import Target
from agent_brain_cli.output import Json, note
from agent_brain_server import __version__
from agent_brain_server.config.trust import may_need_trust
from agent_brain_server.discovery import Resolution, resolve_server
from agent_brain_server.errors import AgentBrainError
from agent_brain_server.locking import is_stale
from agent_brain_server.project_root import Project
from agent_brain_server.runtime import RuntimeState
from agent_brain_server.storage_paths import config_path

if TYPE_CHECKING:
    from agent_brain_server.shared.mode import ProjectMode


def connect(target: Target) -> Client:
    """Return a client of the project's server, which is started if it is not running, with a note on stderr.

    Raises:
        ConfigError: The current directory is the home directory or above it, and was not named.
        DaemonNotRunningError: The project uses the shared daemon, which only `agent-brain start` starts.
        DeadlineError: A server is running and does not answer.
        AgentBrainError: The server could not be started.
    """
    found = resolve_server(target.project, start=True, start_daemon=False, on_start=_note_start)
    note_ignored(target)
    return Client(found.require_state())


def find_server(target: Target) -> Resolution:
    """Return which server serves the project; none is started."""
    return resolve_server(target.project, start=False)


def resolve_mode(target: Target) -> "ProjectMode":
    """Return whether the project has its own server or uses the shared daemon."""
    from agent_brain_server.shared import mode  # noqa: PLC0415 - a command that finds a server does not need it

    return mode.resolve_mode(target.project_root, target.state_dir)


def attach_to_daemon(target: Target) -> RuntimeState:
    """Register the project with the running daemon, and return the daemon as the project's server.

    Raises:
        ConfigError: The project's settings name a daemon at another address.
        DaemonNotRunningError: No daemon is running.
        DeadlineError: A daemon is running and does not answer.
        ServerRefusedError: The project's own server is running.
    """
    from agent_brain_server.shared.daemon import register_project, require_daemon  # noqa: PLC0415 - likewise

    return register_project(require_daemon(resolve_mode(target)), target.project_root, target.state_dir)


def note_ignored(target: Target) -> None:
    """Report on stderr which settings of the project's file are ignored, and how to allow them."""
    if not may_need_trust(config_path(target.state_dir)):
        return
    from agent_brain_server.config.settings import load_settings  # noqa: PLC0415 - a tenth of a query's time

    try:
        ignored = load_settings(target.state_dir).ignored
    except AgentBrainError:
        return  # reported by the command that uses the settings
    if ignored:
        note(f"Warning: {ignored.describe()} {ignored.hint}")


def runtime_document(state: RuntimeState, *, with_token: bool = False) -> Json:
    """Return a server's runtime state as JSON; only `start` includes the token."""
    return state.model_dump(mode="json", exclude=None if with_token else {"token"}, exclude_none=True)


def describe_versions(state: RuntimeState) -> Json:
    """Return the JSON field that reports a server of another version than the command's; empty if they are the same."""
    if not state.has_version_skew:
        return {}
    return {"version_skew": {"server": state.version, "command": __version__}}


def note_version(state: RuntimeState, *, in_use: str | None = None) -> None:
    """Report a server of another version than the command's on stderr, with the command that replaces it.

    Args:
        state: The running server.
        in_use: Why `start` did not replace it; `None` if that was not tried.
    """
    if not state.has_version_skew:
        return
    option = " --mode shared" if state.mode == "shared" else ""
    name = "shared daemon" if state.mode == "shared" else "server"
    versions = f"The {name} is of version {state.version or 'unknown'}, this command of {__version__}."
    if in_use is None:
        note(f"{versions} Replace it with: agent-brain start{option}")
    else:
        note(f"{versions} It was not replaced, because {in_use}.")
        note(f"Run agent-brain start{option} again when it is idle, or stop it first: {stop_command(state)}")


def stop_command(state: RuntimeState) -> str:
    """Return the command that stops a server."""
    return "agent-brain stop --mode shared" if state.mode == "shared" else "agent-brain stop"


def _note_start(project: Project) -> None:
    verb = "Starting" if is_stale(project.state_dir) else "Waiting for"
    note(f"{verb} the server of {project.root}.")
