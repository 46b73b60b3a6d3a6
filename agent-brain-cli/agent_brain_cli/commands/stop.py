"""`agent-brain stop`: the end of the project's server."""

import click

from agent_brain_cli.options import Target, target_options, timeout_option
from agent_brain_cli.render import Json, show
from agent_brain_server.errors import NotRunningError
from agent_brain_server.lifecycle import stop_server


@click.command()
@click.option("--force", is_flag=True, help="End a server that does not stop in time.")
@timeout_option
@target_options
def stop(target: Target, force: bool, timeout: float) -> None:
    """Stop the project's server.

    Returns when the server has ended and its files are gone. What a dead server left is removed as well.
    """
    result = stop_server(target.state_dir, timeout_s=timeout, force=force)
    document: Json = {
        "stopped": result.stopped,
        "forced": result.forced,
        "pid": result.pid,
        "project_root": str(target.project_root),
        "state_dir": str(target.state_dir),
    }
    if result.stopped or target.as_json:
        show(document, render_stop, as_json=target.as_json)
    if not result.stopped:
        raise NotRunningError(f"No server of {target.project_root} is running.")


def render_stop(document: Json) -> str:
    """Say what was stopped."""
    how = " by force" if document["forced"] else ""
    return f"Stopped the server{how} (pid {document['pid']})."
