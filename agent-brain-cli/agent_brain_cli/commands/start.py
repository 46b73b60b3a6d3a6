"""`agent-brain start`: the project's server, started once."""

import os
import sys

import click

from agent_brain_cli.options import Target, target_options, timeout_option
from agent_brain_cli.render import note, show
from agent_brain_cli.render_status import render_server, runtime_document
from agent_brain_server.lifecycle import start_server

MAX_PORT = 65_535


@click.command()
@click.option("--host", metavar="ADDRESS", help="Where to listen.  [default: of config.json]")
@click.option(
    "--port", type=click.IntRange(0, MAX_PORT), metavar="N", help="0: the system chooses.  [default: of config.json]"
)
@timeout_option
@click.option("--foreground", is_flag=True, help="Stay in the terminal until Ctrl-C.")
@target_options
def start(target: Target, host: str | None, port: int | None, timeout: float, foreground: bool) -> None:
    """Start the project's server, or show the one that runs.

    Returns when the server answers. It stays until `agent-brain stop`.
    """
    if foreground:
        if target.as_json:
            raise click.UsageError("--foreground prints no JSON document, because it does not return.")
        run_in_foreground(target, host, port)
    overrides = {name: value for name, value in (("bind_host", host), ("port", port)) if value is not None}
    result = start_server(
        target.project_root, state_dir=target.state_dir, overrides=overrides, started_by="person", timeout_s=timeout
    )
    if not result.started:
        note("The server was running already.")
    show(runtime_document(result.state), render_server, as_json=target.as_json)


def run_in_foreground(target: Target, host: str | None, port: int | None) -> None:
    """Become the server process."""
    arguments = ["--project-root", str(target.project_root), "--state-dir", str(target.state_dir)]
    arguments += ["--host", host] if host is not None else []
    arguments += ["--port", str(port)] if port is not None else []
    # -P: a module of the same name in the current directory must not be run instead
    os.execv(sys.executable, [sys.executable, "-P", "-m", "agent_brain_server", *arguments])
