"""`agent-brain status`: where the project's server is and what its index holds."""

from pathlib import Path

import click

from agent_brain_cli.client import Client
from agent_brain_cli.ignored import note_ignored
from agent_brain_cli.options import Target, mode_option, target_options
from agent_brain_cli.render import Json, show
from agent_brain_cli.render_status import render_daemon_status, render_status, runtime_document
from agent_brain_cli.servers import describe_versions, find_server, note_version, resolve_mode
from agent_brain_server.errors import DeadlineError, NotRunningError
from agent_brain_server.locking import is_stale
from agent_brain_server.runtime import RuntimeState, measure_uptime
from agent_brain_server.shared.daemon import count_projects, find_daemon, list_projects, require_daemon
from agent_brain_server.storage_paths import brain_home

STATUS_TIMEOUT_S = 10.0  # a server that indexes answers in milliseconds


@click.command()
@mode_option
@target_options
def status(target: Target, mode: str | None) -> None:
    """Show the project's server and what its index holds.

    With --mode shared, the daemon that projects share is shown, and which projects it serves.
    """
    if mode == "shared":
        show_daemon(target)
        return
    note_ignored(target)
    found = find_server(target)
    if found.state is None or mode not in (None, found.state.mode):
        report_absence(target, is_shared=found.mode == "shared" and mode is None)
    else:
        show(describe(target, found.state), render_status, as_json=target.as_json)
        note_version(found.state)


def describe(target: Target, state: RuntimeState) -> Json:
    """Return what there is to know of a server that runs."""
    index = Client(state, timeout_s=STATUS_TIMEOUT_S).get("/health/status")
    runtime = runtime_document(state)
    if state.mode == "shared":
        runtime["active_projects"] = count_projects(state)
    places = {"project_root": str(target.project_root), "state_dir": str(target.state_dir)}
    uptime = measure_uptime(state)
    return {
        "running": True,
        "state": "running",
        **runtime,
        **describe_versions(state),
        **places,
        "uptime_seconds": uptime,
        "index": index,
    }


def show_daemon(target: Target) -> None:
    """Show the daemon and the projects that it serves."""
    daemon = find_daemon()
    if daemon is None:
        show_absence(target, "shared", brain_home())
        daemon = require_daemon()  # raises the error that tells a missing daemon from a silent one
    projects = list_projects(daemon, timeout_s=STATUS_TIMEOUT_S)
    runtime = runtime_document(daemon)
    document: Json = {"running": True, "state": "running", **runtime, **describe_versions(daemon)}
    document["state_dir"] = str(brain_home())
    document |= {"uptime_seconds": measure_uptime(daemon), "active_projects": len(projects)}
    show({**document, "projects": projects}, render_daemon_status, as_json=target.as_json)
    note_version(daemon)


def report_absence(target: Target, *, is_shared: bool) -> None:
    """Say that no server answers, and raise the error that tells a missing one from a silent one."""
    stopped = show_absence(target, "shared" if is_shared else "project", target.state_dir)
    if is_shared:
        require_daemon(resolve_mode(target))
        raise NotRunningError(f"The shared daemon does not serve {target.project_root} yet.")
    if stopped:
        raise NotRunningError(f"No server of {target.project_root} is running.")
    raise DeadlineError(
        f"The state directory {target.state_dir} is in use, but no server of {target.project_root} answers.",
        hint="Wait if it is just starting, or end it with: agent-brain stop --force",
    )


def show_absence(target: Target, mode: str, state_dir: Path) -> bool:
    """Print the document of a server that does not answer, where JSON is wanted; True where none is there at all."""
    stopped = is_stale(brain_home() if mode == "shared" else state_dir)
    if target.as_json:
        places = {"project_root": str(target.project_root), "state_dir": str(state_dir)}
        state = "stopped" if stopped else "not_answering"
        show({"running": False, "state": state, "mode": mode, **places}, str, as_json=True)
    return stopped
