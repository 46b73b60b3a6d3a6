"""`agent-brain start`: start the project's server or the shared daemon."""

import os
import sys

import click

from agent_brain_cli.options import Target, mode_option, target_options, timeout_option
from agent_brain_cli.output import Json, note, show, visible
from agent_brain_cli.servers import (
    attach_to_daemon,
    describe_versions,
    find_server,
    note_ignored,
    note_version,
    resolve_mode,
    runtime_document,
    stop_command,
)
from agent_brain_server.lifecycle.control import StartResult, start_daemon, start_server
from agent_brain_server.runtime import RuntimeState
from agent_brain_server.shared.daemon import count_projects
from agent_brain_server.support.text import pluralize

MAX_PORT = 65_535
ANY_PORT = 0  # the system chooses, so the port of a running server is always right

OPTIONS = {"bind_host": "--host", "port": "--port"}
"""The options that set the server's address, by the name of the setting."""

Overrides = dict[str, str | int]


@click.command()
@mode_option
@click.option("--host", metavar="ADDRESS", help="Listen on this address.  [default: from config.json]")
@click.option(
    "--port",
    type=click.IntRange(0, MAX_PORT),
    metavar="N",
    help="Listen on this port; 0 lets the system choose.  [default: from config.json]",
)
@timeout_option
@click.option("--foreground", is_flag=True, help="Run in the terminal until Ctrl-C.")
@target_options
def start(
    target: Target, mode: str | None, host: str | None, port: int | None, timeout: float, foreground: bool
) -> None:
    """Start the project's server, or show the running one.

    Returns when the server answers. The server runs until `agent-brain stop`. (A server that an agent started stops
    after three hours without a request.) A running server of another version is replaced if it is idle. With --mode
    shared, start the shared daemon. In a project that uses the daemon, show the daemon.
    """
    overrides: Overrides = {name: value for name, value in (("bind_host", host), ("port", port)) if value is not None}
    if mode != "shared":
        target.require_project()
    note_ignored(target)
    uses_daemon = mode is None and resolve_mode(target).is_shared
    if foreground:
        run_in_foreground(target, "shared" if uses_daemon else mode or "project", overrides)
    if mode == "shared":
        document = start_shared(target, overrides, timeout)
    elif uses_daemon:
        document = show_shared(target, overrides)
    else:
        result = start_server(
            target.project_root,
            state_dir=target.state_dir,
            overrides=overrides,
            started_by="user",
            timeout_s=timeout,
            replace_other_version=True,
        )
        document = runtime_document(result.state, with_token=True) | describe_start(result, overrides)
    show(document, render_server, as_json=target.as_json)


def start_shared(target: Target, overrides: Overrides, timeout_s: float) -> Json:
    """Start the daemon; register the project if it uses the daemon."""
    result = start_daemon(overrides=overrides, started_by="user", timeout_s=timeout_s, replace_other_version=True)
    uses_daemon = resolve_mode(target).is_shared
    document = describe_shared(attach_to_daemon(target) if uses_daemon else result.state)
    return document | describe_start(result, overrides)


def show_shared(target: Target, overrides: Overrides) -> Json:
    """Return the running daemon, with the project registered; a project's `start` does not start the daemon."""
    state = find_server(target).state or attach_to_daemon(target)
    document = describe_shared(state) if state.mode == "shared" else runtime_document(state, with_token=True)
    return document | describe_start(StartResult(state, started=False), overrides)


def describe_shared(state: RuntimeState) -> Json:
    """Return the daemon's runtime state and the number of its projects."""
    return {**runtime_document(state, with_token=True), "active_projects": count_projects(state)}


def describe_start(result: StartResult, overrides: Overrides) -> Json:
    """Report on stderr what else `start` did or did not do, and return the same as JSON fields."""
    name = "shared daemon" if result.state.mode == "shared" else "server"
    if result.started:
        if result.replaced is None:
            return {}
        note(f"Replaced the {name} of version {result.replaced.version}, which was idle.")
        return {"replaced": {"version": result.replaced.version, "pid": result.replaced.pid}}
    note(f"The {name} is already running.")
    note_version(result.state, in_use=result.in_use)
    document = describe_versions(result.state)
    if result.in_use is not None:
        document["in_use"] = result.in_use
    if ignored := find_ignored(result.state, overrides):
        given = " ".join(f"{option} {value}" for option, value in ignored.items())
        note(f"Ignored {given}: the {name} listens on {result.state.bind_host}, port {result.state.port}.")
        note(f"To change that, stop it first: {stop_command(result.state)}")
        document["ignored_options"] = list(ignored)
    return document


def find_ignored(state: RuntimeState, overrides: Overrides) -> dict[str, str | int]:
    """Return the address options that differ from the running server's address, with their values."""
    actual = {"bind_host": state.bind_host, "port": state.port}
    ignored = {name: value for name, value in overrides.items() if value != actual[name]}
    return {OPTIONS[name]: value for name, value in ignored.items() if (name, value) != ("port", ANY_PORT)}


def run_in_foreground(target: Target, mode: str, overrides: Overrides) -> None:
    """Replace this process by the server."""
    if target.as_json:
        raise click.UsageError("--foreground cannot be used with --json, because it does not return.")
    paths = ["--project-root", str(target.project_root), "--state-dir", str(target.state_dir)]
    arguments = ["--mode", "shared"] if mode == "shared" else paths
    for name, value in overrides.items():
        arguments += ["--set", f"{name}={value}"]
    # -P: a module of the same name in the current directory must not be run instead
    os.execv(sys.executable, [sys.executable, "-P", "-m", "agent_brain_server", *arguments])


def render_server(document: Json) -> str:
    """Return the server's address and what it serves."""
    address = f"{document['base_url']} (pid {document['pid']})"
    if document["mode"] == "project":
        return f"{address} serves {visible(document['project_root'])}"
    count = pluralize(document["active_projects"], "active project")
    served = f", serves {visible(document['project_root'])}" if document.get("project_root") else ""
    return f"{address} (shared){served}, {count}"
