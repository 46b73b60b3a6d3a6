"""Which server answers for a project: its own, or the shared daemon where the project is meant for that."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent_brain_cli.client import Client
from agent_brain_cli.options import Target
from agent_brain_cli.output import Json, note
from agent_brain_server import __version__
from agent_brain_server.config.trust import may_need_trust
from agent_brain_server.discovery import discover
from agent_brain_server.errors import AgentBrainError
from agent_brain_server.locking import is_stale
from agent_brain_server.runtime import RuntimeState
from agent_brain_server.storage_paths import config_path

if TYPE_CHECKING:
    from agent_brain_server.shared.mode import Membership


@dataclass(frozen=True, slots=True)
class Found:
    """What was found of a project's server.

    Attributes:
        state: The server that answers for the project; None where none does.
        is_shared: The daemon serves the project, or is meant to.
    """

    state: RuntimeState | None
    is_shared: bool


def look_for_server(target: Target) -> Found:
    """Find out which server answers for the project, starting none."""
    state = discover(target.project_root, state_dir=target.state_dir, exact=True)
    if state is not None:
        return Found(state, state.mode == "shared")
    return Found(None, membership_of(target).is_shared)


def connect(target: Target) -> Client:
    """Return a client of the project's server; start the server if none is running, with a note on stderr.

    Raises:
        ConfigError: The current directory is the home directory or a parent of it, and was not named.
        DaemonNotRunningError: The project uses the shared daemon, which only `agent-brain start` starts.
    """
    target.require_project()
    note_ignored(target)
    found = look_for_server(target)
    state = found.state
    if state is None and found.is_shared:
        state = attach_to_daemon(target)
    elif state is None:
        doing = "Starting" if is_stale(target.state_dir) else "Waiting for"
        note(f"{doing} the server of {target.project_root}.")
        state = start_own_server(target)
    elif found.is_shared:
        from agent_brain_server.shared.daemon import ensure_pointer  # noqa: PLC0415 - only the daemon needs it

        ensure_pointer(state, target.project_root, target.state_dir)
    return Client(state)


def start_own_server(target: Target) -> RuntimeState:
    """Return the project's own server, started on behalf of an agent if none is running.

    Raises:
        DeadlineError: A server holds the lock and does not answer.
        AgentBrainError: The server could not be started.
    """
    from agent_brain_server.lifecycle.control import SILENT_LIMIT_S, start_server  # noqa: PLC0415 - unless one is running

    root, state_dir = target.project_root, target.state_dir
    return start_server(root, state_dir=state_dir, started_by="agent", silent_timeout_s=SILENT_LIMIT_S).state


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
    if state.version == __version__:
        return {}
    return {"version_skew": {"server": state.version, "command": __version__}}


def note_version(state: RuntimeState, *, in_use: str | None = None) -> None:
    """Report a server of another version than the command's on stderr, with the command that replaces it.

    Args:
        state: The running server.
        in_use: Why `start` did not replace it; `None` if that was not tried.
    """
    if state.version == __version__:
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


def membership_of(target: Target) -> "Membership":
    """Return what the project says of the shared daemon."""
    from agent_brain_server.shared.mode import read_membership  # noqa: PLC0415 - who finds a server needs none of it

    return read_membership(target.project_root, target.state_dir)


def attach_to_daemon(target: Target) -> RuntimeState:
    """Let the daemon that runs serve the project, and return it as the project's server.

    Raises:
        ConfigError: The project means a daemon at another address.
        DaemonNotRunningError: No daemon runs.
        DeadlineError: One is there and does not answer.
        ServerRefusedError: The project has a server of its own that runs.
    """
    from agent_brain_server.shared.daemon import register_project, require_daemon  # noqa: PLC0415 - likewise

    return register_project(require_daemon(membership_of(target)), target.project_root, target.state_dir)
