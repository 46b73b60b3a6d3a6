"""`agent-brain list`: the servers of all projects, and the daemon that projects share."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from agent_brain_cli.options import Target, target_options
from agent_brain_cli.render import Json, format_table, note, show
from agent_brain_cli.render_status import runtime_document
from agent_brain_server.errors import AgentBrainError
from agent_brain_server.lifecycle import registry
from agent_brain_server.lifecycle.registry import RegistryEntry
from agent_brain_server.locking import is_stale
from agent_brain_server.runtime import read_runtime, validate_runtime
from agent_brain_server.shared.daemon import unregister_project
from agent_brain_server.storage_paths import brain_home
from agent_brain_server.support.text import pluralize

MAX_CHECKS = 64  # at once: a silent server costs a time limit, and a registry may hold many
CHECK_TIMEOUT_S = 0.8  # a server answers within 60 ms even while it indexes, and a list should be there in a second

OCCUPIED = ("running", "not_answering")
ABSENT = "-"


@click.command("list")
@click.option(
    "--prune", is_flag=True, help="Forget the projects that are gone, and delete what the daemon has of them."
)
@target_options
def list_servers(target: Target, prune: bool) -> None:
    """List the servers of all projects.

    The server of each project that is known on this machine is asked, and the shared daemon. A project whose directory
    no longer exists is shown as gone if the shared daemon still has its index; --prune deletes that. With
    --project-root or --state-dir, only the projects that these name are shown.
    """
    entries = [entry for entry in registry.entries() if not target.explicit or is_meant(entry, target)]
    with ThreadPoolExecutor(max_workers=MAX_CHECKS) as pool:
        checked_daemon = pool.submit(check_state, brain_home())
        checked = dict(zip(entries, pool.map(check_entry, entries), strict=True))
        found_daemon = checked_daemon.result()
    forgettable = ("forgotten", "gone") if prune else ("forgotten",)
    forget([entry for entry, found in checked.items() if found["state"] in forgettable])
    registrations = {project.project_id: project.root for project in registry.list_registrations()}
    if prune and found_daemon["state"] in ("running", "stopped"):  # a silent one would be waited for
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
        note(f"{pluralize(gone, 'project')} gone. Forget with: agent-brain list --prune")


def is_meant(entry: RegistryEntry, target: Target) -> bool:
    """Tell whether a registry entry is the one that the options name."""
    return entry.state_dir == target.state_dir


def check_entry(entry: RegistryEntry) -> Json:
    """Return an entry with what is true of it now."""
    places = {
        "name": entry.project_root.name,
        "project_root": str(entry.project_root),
        "state_dir": str(entry.state_dir),
    }
    if not entry.state_dir.is_dir():
        return {**places, "state": "forgotten" if is_gone(entry.project_root) else "gone"}
    found = check_state(entry.state_dir)
    if found["state"] == "stopped" and is_gone(entry.project_root):
        return {**places, "state": "forgotten"}
    return {**found, **places}


def check_state(state_dir: Path) -> Json:
    """Return whether the server of a state directory answers, and where."""
    try:
        if is_stale(state_dir):  # the lock costs nothing; only a server that lives is worth a wait
            return {"state": "stopped"}
        state = read_runtime(state_dir)
        document = runtime_document(state) if state else {}
        answers = state is not None and validate_runtime(state, state_dir=state_dir, timeout=CHECK_TIMEOUT_S)
        return {**document, "state": "running" if answers else "not_answering"}
    except AgentBrainError as error:
        return {"state": "unreadable", "error": error.message}


def is_gone(directory: Path) -> bool:
    """True where there is certainly no such directory; one that can't be looked at may be there."""
    try:
        directory.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def drop_gone(registrations: dict[str, Path]) -> dict[str, Path]:
    """Delete what the daemon has of projects whose directory is gone, and return the others."""
    gone = {project_id for project_id, root in registrations.items() if is_gone(root)}
    dropped = {project_id for project_id in gone if unregister_project(project_id, forget=True)}
    return {project_id: root for project_id, root in registrations.items() if project_id not in dropped}


def forget(entries: list[RegistryEntry]) -> None:
    """Take projects out of the registry."""
    if entries:
        registry.unregister(*(entry.state_dir for entry in entries))


def describe_daemon(found: Json, project_count: int) -> Json | None:
    """Return the daemon with the number of its projects, or None where there never was one."""
    if found["state"] == "stopped" and not project_count:
        return None
    return {**found, "mode": "shared", "state_dir": str(brain_home()), "active_projects": project_count}


def describe_served(project_id: str, root: Path, daemon: Json | None) -> Json:
    """Return a project as the daemon serves it."""
    places = {"name": root.name, "project_root": str(root), "project_id": project_id, "mode": "shared"}
    if is_gone(root):
        return {**places, "state": "gone"}
    if daemon is None:
        return {**places, "state": "stopped"}
    where: Json = {name: daemon[name] for name in ("base_url", "pid", "state_dir", "state") if name in daemon}
    return {**where, **places}


def merge(own: list[Json], served: list[Json]) -> list[Json]:
    """Return each project once: with its own server where that lives, else as the daemon serves it."""
    occupied = {project["project_root"] for project in own if project["state"] in OCCUPIED}
    kept = [project for project in served if project["project_root"] not in occupied]
    shared = {project["project_root"] for project in kept}
    return [project for project in own if project["project_root"] not in shared] + kept


def render_list(document: Json) -> str:
    """Return a table of projects, the running ones first, under the daemon."""
    if not document["projects"] and not document["daemon"]:
        return "No project is known yet. Start one with: agent-brain start"
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
    """Return one cell of a project's row."""
    value = project.get(column, ABSENT)
    return "(shared)" if column == "mode" and value == "shared" else str(value)
