"""`agent-brain list`: the servers of all projects."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from agent_brain_cli.options import Target, target_options
from agent_brain_cli.render import Json, format_table, show
from agent_brain_cli.render_status import runtime_document
from agent_brain_server import registry
from agent_brain_server.errors import AgentBrainError
from agent_brain_server.locking import is_stale
from agent_brain_server.registry import RegistryEntry
from agent_brain_server.runtime import read_runtime, validate_runtime

MAX_CHECKS = 64  # at once: a silent server costs a time limit, and a registry may hold many
CHECK_TIMEOUT_S = 0.8  # a server answers within 60 ms even while it indexes, and a list should be there in a second

ABSENT = "-"


@click.command("list")
@target_options
def list_servers(target: Target) -> None:
    """List the servers of all projects.

    Every project that is known on this machine is asked. With --project-root or --state-dir, only that one is.
    """
    entries = [entry for entry in registry.entries() if not target.explicit or is_meant(entry, target)]
    with ThreadPoolExecutor(max_workers=MAX_CHECKS) as pool:
        projects = list(pool.map(check_entry, entries))
    show({"projects": projects}, render_list, as_json=target.as_json)


def is_meant(entry: RegistryEntry, target: Target) -> bool:
    """Tell whether a registry entry is the one that the options name."""
    return Path(entry.state_dir) == target.state_dir


def check_entry(entry: RegistryEntry) -> Json:
    """Return an entry with what is true of it now."""
    root, state_dir = Path(entry.project_root), Path(entry.state_dir)
    places: Json = {"name": root.name, "project_root": str(root), "state_dir": str(state_dir)}
    if not state_dir.is_dir():
        return {**places, "state": "gone"}
    try:
        state = read_runtime(state_dir)
        if state is not None and validate_runtime(state, timeout=CHECK_TIMEOUT_S):
            return {**runtime_document(state), **places, "state": "running"}
        if is_stale(state_dir):
            return {**places, "state": "stopped"}
        return {**(runtime_document(state) if state else {}), **places, "state": "not_answering"}
    except AgentBrainError as error:
        return {**places, "state": "unreadable", "error": error.message}


def render_list(document: Json) -> str:
    """Return a table of projects, the running ones first."""
    if not document["projects"]:
        return "No project is known yet. Start one with: agent-brain start"
    projects = sorted(
        document["projects"], key=lambda project: (project["state"] != "running", project["project_root"])
    )
    columns = ("name", "base_url", "mode", "pid", "state", "project_root")
    rows = [[str(project.get(column, ABSENT)) for column in columns] for project in projects]
    return format_table(("PROJECT", "URL", "MODE", "PID", "STATE", "ROOT"), rows)
