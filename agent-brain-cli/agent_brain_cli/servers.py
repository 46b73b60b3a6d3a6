"""Which server answers for a project: its own, or the shared daemon where the project is meant for that."""

from dataclasses import dataclass

from agent_brain_cli.options import Target
from agent_brain_server import daemon
from agent_brain_server.discovery import discover
from agent_brain_server.runtime import RuntimeState


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
    # before discovery, which removes the pointer that a dead daemon left
    pointed = daemon.has_pointer(target.project_root, target.state_dir)
    state = discover(target.project_root, state_dir=target.state_dir)
    if state is not None:
        return Found(state, state.mode == "shared")
    return Found(None, daemon.is_shared(target.project_root, target.state_dir, pointed=pointed))


def attach_to_daemon(target: Target) -> RuntimeState:
    """Let the daemon that runs serve the project, and return it as the project's server.

    Raises:
        DaemonNotRunningError: No daemon runs.
        DeadlineError: One is there and does not answer.
        ServerRefusedError: The project has a server of its own that runs.
    """
    return daemon.register_project(daemon.require_daemon(), target.project_root)
