"""`agent-brain stop`: stop the project's server or the shared daemon."""

import click

from agent_brain_cli.options import Target, mode_option, target_options, timeout_option
from agent_brain_cli.output import Json, show
from agent_brain_cli.servers import resolve_mode
from agent_brain_server.errors import ConflictError, DaemonNotRunningError, NotRunningError
from agent_brain_server.lifecycle.control import StopResult, stop_daemon, stop_server
from agent_brain_server.lifecycle.registry import require_own_state_dir
from agent_brain_server.shared.daemon import require_daemon
from agent_brain_server.storage_paths import brain_home


@click.command()
@mode_option
@click.option("--force", is_flag=True, help="Kill a server that does not stop in time.")
@timeout_option
@target_options
def stop(target: Target, mode: str | None, force: bool, timeout: float) -> None:
    """Stop the project's server.

    Returns when the server has ended and its files are removed. Files of a server that was killed are removed too. With
    --mode shared, stop the shared daemon.
    """
    if mode == "shared":
        result = stop_daemon(timeout_s=timeout, force=force)
        report(target, result, {"mode": "shared", "state_dir": str(brain_home())})
        if not result.stopped:
            raise DaemonNotRunningError("The shared daemon is not running.")
        return
    if not target.explicit:
        require_own_state_dir(target.project_root, target.state_dir)
    result = stop_server(target.state_dir, timeout_s=timeout, force=force)
    report(target, result, {"project_root": str(target.project_root), "state_dir": str(target.state_dir)})
    if result.stopped:
        return
    project_mode = resolve_mode(target)
    if mode is None and project_mode.is_shared:
        require_daemon(project_mode)
        raise ConflictError(
            f"{target.project_root} is served by the shared daemon, which serves other projects too.",
            hint="Stop it for all projects with: agent-brain stop --mode shared",
            code="shared_daemon",
        )
    raise NotRunningError(
        f"No server of {target.project_root} is running.", hint="List all servers with: agent-brain list"
    )


def report(target: Target, result: StopResult, paths: Json) -> None:
    """Show which server was stopped; if there was none, only the JSON document reports it here."""
    document: Json = {"stopped": result.stopped, "forced": result.forced, "pid": result.pid, **paths}
    if result.stopped or target.as_json:
        show(document, render_stop, as_json=target.as_json)


def render_stop(document: Json) -> str:
    """Return which server was stopped, and how."""
    verb = "Killed" if document["forced"] else "Stopped"
    name = "shared daemon" if document.get("mode") == "shared" else "server"
    return f"{verb} the {name} (pid {document['pid']})."
