"""`agent-brain status`: where the project's server is and what its index holds."""

import click

from agent_brain_cli.client import Client
from agent_brain_cli.options import Target, target_options
from agent_brain_cli.render import Json, show
from agent_brain_cli.render_status import render_status, runtime_document, uptime_s
from agent_brain_server.discovery import discover
from agent_brain_server.errors import DeadlineError, NotRunningError
from agent_brain_server.locking import is_stale
from agent_brain_server.runtime import RuntimeState

STATUS_TIMEOUT_S = 10.0  # a server that indexes answers in milliseconds


@click.command()
@target_options
def status(target: Target) -> None:
    """Show the project's server and what its index holds."""
    state = discover(target.project_root, state_dir=target.state_dir)
    if state is None:
        report_absence(target)
    else:
        show(describe(target, state), render_status, as_json=target.as_json)


def describe(target: Target, state: RuntimeState) -> Json:
    """Return what there is to know of a server that runs."""
    index = Client(state, timeout_s=STATUS_TIMEOUT_S).get("/health/status")
    runtime = runtime_document(state)
    places = {"project_root": str(target.project_root), "state_dir": str(target.state_dir)}
    uptime = uptime_s(runtime["started_at"])
    return {"running": True, "state": "running", **runtime, **places, "uptime_seconds": uptime, "index": index}


def report_absence(target: Target) -> None:
    """Say that no server answers, and raise the error that tells a missing one from a silent one."""
    stopped = is_stale(target.state_dir)
    if target.as_json:
        places = {"project_root": str(target.project_root), "state_dir": str(target.state_dir)}
        show({"running": False, "state": "stopped" if stopped else "not_answering", **places}, str, as_json=True)
    if stopped:
        raise NotRunningError(f"No server of {target.project_root} is running.")
    raise DeadlineError(
        f"The state directory {target.state_dir} is in use, but no server of {target.project_root} answers.",
        hint="Wait if it is just starting, or end it with: agent-brain stop --force",
    )
