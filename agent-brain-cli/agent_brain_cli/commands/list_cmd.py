"""`agent-brain list`: list the servers of all projects and the shared daemon."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from agent_brain_cli.options import Target, target_options
from agent_brain_cli.output import Json, format_table, note, show
from agent_brain_cli.servers import runtime_document
from agent_brain_server.errors import AgentBrainError
from agent_brain_server.lifecycle import registry
from agent_brain_server.lifecycle.registry import RegistryEntry
from agent_brain_server.locking import is_stale
from agent_brain_server.runtime import read_runtime, validate_runtime
from agent_brain_server.shared.daemon import unregister_project
from agent_brain_server.storage_paths import brain_home
from agent_brain_server.support.text import pluralize

MAX_CHECKS = 64  # at once: a silent server takes a whole timeout, and the registry may list many
CHECK_TIMEOUT_S = 0.8  # a server answers within 60 ms even while it indexes, and `list` should take under a second

OCCUPIED = ("running", "not_answering")
ABSENT = "-"


@click.command("list")
@click.option(
    "--prune", is_flag=True, help="Forget projects whose directory is gone, and delete their indexes in the daemon."
)
@target_options
def list_servers(target: Target, prune: bool) -> None:
    """List the servers of all projects.

    Includes every project that was used on this machine, and the shared daemon. A project whose directory no longer
    exists is shown as gone while the daemon has its index; --prune deletes that index. With --project-root or
    --state-dir, list only that project.
    """
    entries = [entry for entry in registry.entries() if not target.explicit or entry.state_dir == target.state_dir]
    with ThreadPoolExecutor(max_workers=MAX_CHECKS) as pool:
        checked_daemon = pool.submit(check_state, brain_home())
        checked = dict(zip(entries, pool.map(check_entry, entries), strict=True))
        found_daemon = checked_daemon.result()
    forgettable = ("forgotten", "gone") if prune else ("forgotten",)
    forget([entry for entry, found in checked.items() if found["state"] in forgettable])
    registrations = {project.project_id: project.root for project in registry.list_registrations()}
    if prune and found_daemon["state"] in ("running", "stopped"):  # waiting for a silent one would take long
        registrations = drop_gone(registrations)
    daemon = describe_daemon(found_daemon, len(registrations))
    own = [found for found in checked.values() if found["state"] not in forgettable]
    served = [
        describe_served(project_id, root, daemon)
        for project_id, root in registrations.items()
        if not target.explicit or root == target.project_root
    ]
    projects = merge(own, served)
    show({"projects": projects, "daemon": daemon}, render_list, as_json=target.as_json)
    if gone := sum(project["state"] == "gone" for project in projects):
        note(f"{pluralize(gone, 'project')} gone. Delete with: agent-brain list --prune")


def check_entry(entry: RegistryEntry) -> Json:
    """Return a registry entry with the current state of its server."""
    paths = {
        "name": entry.project_root.name,
        "project_root": str(entry.project_root),
        "state_dir": str(entry.state_dir),
    }
    if not entry.state_dir.is_dir():
        return {**paths, "state": "forgotten" if is_gone(entry.project_root) else "gone"}
    found = check_state(entry.state_dir)
    if found["state"] == "stopped" and is_gone(entry.project_root):
        return {**paths, "state": "forgotten"}
    return {**found, **paths}


def check_state(state_dir: Path) -> Json:
    """Return the state of a state directory's server, and its runtime state if it has one."""
    try:
        if is_stale(state_dir):  # testing the lock is free; only a running server is worth a request
            return {"state": "stopped"}
        state = read_runtime(state_dir)
        document = runtime_document(state) if state else {}
        answers = state is not None and validate_runtime(state, state_dir=state_dir, timeout=CHECK_TIMEOUT_S)
        return {**document, "state": "running" if answers else "not_answering"}
    except AgentBrainError as error:
        return {"state": "unreadable", "error": error.message}


def is_gone(directory: Path) -> bool:
    """Return whether a directory certainly does not exist; one that cannot be examined may exist."""
    try:
        directory.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def drop_gone(registrations: dict[str, Path]) -> dict[str, Path]:
    """Delete the daemon's indexes of projects whose directory is gone, and return the other projects."""
    gone = {project_id for project_id, root in registrations.items() if is_gone(root)}
    dropped = {project_id for project_id in gone if unregister_project(project_id, forget=True)}
    return {project_id: root for project_id, root in registrations.items() if project_id not in dropped}


def forget(entries: list[RegistryEntry]) -> None:
    """Remove projects from the registry."""
    if entries:
        registry.unregister(*(entry.state_dir for entry in entries))


def describe_daemon(found: Json, project_count: int) -> Json | None:
    """Return the daemon with the number of its projects; `None` if it was never used."""
    if found["state"] == "stopped" and not project_count:
        return None
    return {**found, "mode": "shared", "state_dir": str(brain_home()), "active_projects": project_count}


def describe_served(project_id: str, root: Path, daemon: Json | None) -> Json:
    """Return the entry of a project that the daemon serves."""
    paths = {"name": root.name, "project_root": str(root), "project_id": project_id, "mode": "shared"}
    if is_gone(root):
        return {**paths, "state": "gone"}
    if daemon is None:
        return {**paths, "state": "stopped"}
    where: Json = {name: daemon[name] for name in ("base_url", "pid", "state_dir", "state") if name in daemon}
    return {**where, **paths}


def merge(own: list[Json], served: list[Json]) -> list[Json]:
    """Return each project once: with its own server if that is running, else as served by the daemon."""
    occupied = {project["project_root"] for project in own if project["state"] in OCCUPIED}
    kept = [project for project in served if project["project_root"] not in occupied]
    shared = {project["project_root"] for project in kept}
    return [project for project in own if project["project_root"] not in shared] + kept


def render_list(document: Json) -> str:
    """Return a table: the daemon, then the projects, running ones first."""
    if not document["projects"] and not document["daemon"]:
        return "No projects yet. Start a server with: agent-brain start"
    projects = sorted(
        document["projects"], key=lambda project: (project["state"] != "running", project["project_root"])
    )
    columns = ("name", "base_url", "mode", "pid", "state", "project_root")
    rows = [[show_cell(project, column) for column in columns] for project in projects]
    daemon = document["daemon"]
    if daemon:
        count = pluralize(daemon["active_projects"], "active project" if daemon["state"] == "running" else "project")
        row = {**daemon, "name": "shared daemon", "state": f"{daemon['state']}, {count}"}
        rows.insert(0, [show_cell({**row, "project_root": daemon["state_dir"]}, column) for column in columns])
    return format_table(("PROJECT", "URL", "MODE", "PID", "STATE", "ROOT"), rows)


def show_cell(project: Json, column: str) -> str:
    """Return one cell of a row."""
    value = project.get(column, ABSENT)
    return "(shared)" if column == "mode" and value == "shared" else str(value)
