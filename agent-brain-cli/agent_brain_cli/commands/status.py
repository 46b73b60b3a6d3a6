"""`agent-brain status`: show the project's server and its index."""

from pathlib import Path

import click

from agent_brain_cli.client import Client
from agent_brain_cli.jobs import count_reasons, describe_progress
from agent_brain_cli.options import Target, mode_option, target_options
from agent_brain_cli.output import Json, format_duration, format_fields, format_share, format_time, show, visible
from agent_brain_cli.servers import (
    describe_versions,
    find_server,
    note_ignored,
    note_version,
    resolve_mode,
    runtime_document,
)
from agent_brain_server.errors import DeadlineError, NotRunningError
from agent_brain_server.locking import is_stale
from agent_brain_server.runtime import RuntimeState, measure_uptime
from agent_brain_server.shared.daemon import count_projects, find_daemon, list_projects, require_daemon
from agent_brain_server.storage_paths import brain_home
from agent_brain_server.support.text import pluralize

STATUS_TIMEOUT_S = 10.0  # a server answers in milliseconds even while it indexes


@click.command()
@mode_option
@target_options
def status(target: Target, mode: str | None) -> None:
    """Show the project's server and its index.

    With --mode shared, show the shared daemon and the projects that it serves.
    """
    if mode == "shared":
        show_daemon(target)
        return
    note_ignored(target)
    found = find_server(target)
    if found.state is None or mode not in (None, found.state.mode):
        report_absence(target, is_shared=found.mode == "shared" and mode is None)
    else:
        show(describe_server(target, found.state), render_status, as_json=target.as_json)
        note_version(found.state)


def describe_server(target: Target, state: RuntimeState) -> Json:
    """Return the status of a running server and its index."""
    index = Client(state, timeout_s=STATUS_TIMEOUT_S).get("/health/status")
    runtime = runtime_document(state)
    if state.mode == "shared":
        runtime["active_projects"] = count_projects(state)
    paths = {"project_root": str(target.project_root), "state_dir": str(target.state_dir)}
    uptime = measure_uptime(state)
    return {
        "running": True,
        "state": "running",
        **runtime,
        **describe_versions(state),
        **paths,
        "uptime_seconds": uptime,
        "index": index,
    }


def show_daemon(target: Target) -> None:
    """Show the shared daemon and the projects that it serves."""
    daemon = find_daemon()
    if daemon is None:
        show_absence(target, "shared", brain_home())
        daemon = require_daemon()  # raises: no daemon is running, or it does not answer
    projects = list_projects(daemon, timeout_s=STATUS_TIMEOUT_S)
    runtime = runtime_document(daemon)
    document: Json = {"running": True, "state": "running", **runtime, **describe_versions(daemon)}
    document["state_dir"] = str(brain_home())
    document |= {"uptime_seconds": measure_uptime(daemon), "active_projects": len(projects)}
    show({**document, "projects": projects}, render_daemon_status, as_json=target.as_json)
    note_version(daemon)


def report_absence(target: Target, *, is_shared: bool) -> None:
    """Report that no server answers, and raise the error that says why."""
    stopped = show_absence(target, "shared" if is_shared else "project", target.state_dir)
    if is_shared:
        require_daemon(resolve_mode(target))
        raise NotRunningError(f"The shared daemon does not serve {target.project_root} yet.")
    if stopped:
        raise NotRunningError(f"No server of {target.project_root} is running.")
    raise DeadlineError(
        f"The state directory {target.state_dir} is in use, but no server of {target.project_root} answers.",
        hint="Wait if it is starting, or end it with: agent-brain stop --force",
    )


def show_absence(target: Target, mode: str, state_dir: Path) -> bool:
    """Return whether no server is running; with `--json`, print the document of a server that does not answer."""
    stopped = is_stale(brain_home() if mode == "shared" else state_dir)
    if target.as_json:
        paths = {"project_root": str(target.project_root), "state_dir": str(state_dir)}
        state = "stopped" if stopped else "not_answering"
        show({"running": False, "state": state, "mode": mode, **paths}, str, as_json=True)
    return stopped


def render_daemon_status(document: Json) -> str:
    """Return the daemon's status as aligned lines, with one line for each project."""
    fields = {"Server": describe_process(document), "State": document["state_dir"]}
    projects = {project["project_id"]: project["project_root"] for project in document["projects"]}
    return format_fields(fields | projects)


def render_status(document: Json) -> str:
    """Return the status of a server and its index as aligned lines."""
    index = document["index"]
    fields = {
        "Server": describe_process(document),
        "Project": document["project_root"],
        "State": index["state_dir"],  # as the server reports it, which shows the mode in use
        "Index": f"{pluralize(index['total_documents'], 'file')}, {pluralize(index['total_chunks'], 'chunk')}",
        "Vectors": f"{index['total_vectors']:,} ({format_share(index['vector_coverage'])}), {index['embedding_model']}",
        "Indexed": describe_last_indexing(index),
    }
    if symbols := describe_symbols(index):
        fields["Symbols"] = symbols
    if watch := index.get("watch"):  # absent if an older server answers
        fields["Watching"] = describe_watch(watch)
    if server := index.get("vector_server"):
        fields["Chroma"] = f"{server}, {pluralize(index['vectors_behind'], 'change')} behind"
    if index.get("vector_fault"):
        fields["Fault"] = index["vector_fault"]
    if index["skipped"]:
        fields["Skipped"] = count_reasons(index["skipped"])
    if repairs := index.get("repairs"):  # absent if an older server answers
        fields["At start"] = visible("; ".join(repairs))
    if index["current_job"]:
        fields["Job"] = f"{index['current_job']['job_id']}, {describe_progress(index['current_job'])}"
    if index["last_job"] and index["last_job"]["state"] == "failed":
        fields["Failed"] = f"{index['last_job']['job_id']}: {index['last_job']['error']}"
    return format_fields(fields)


def describe_process(document: Json) -> str:
    """Return address, process and uptime of a server, and the number of projects if it is the daemon."""
    text = f"{document['base_url']} (pid {document['pid']}, up {format_duration(document['uptime_seconds'])})"
    if document["mode"] == "project":
        return text
    return f"{text} (shared), {pluralize(document['active_projects'], 'active project')}"


def describe_last_indexing(index: Json) -> str:
    """Return when the index was last brought up to date, or why it never was."""
    if index["last_indexed_at"]:
        return format_time(index["last_indexed_at"])
    return "not yet: a job is running" if index["current_job"] else "never; index it with: agent-brain index"


def describe_symbols(index: Json) -> str:
    """Return how many definitions and references are known; "" if none are, or an older server answers."""
    definitions, references = index.get("total_definitions", 0), index.get("total_references", 0)
    partial = index.get("files_partial", 0)
    if not (definitions or references or partial):
        return ""
    text = f"{pluralize(definitions, 'definition')}, {pluralize(references, 'reference')}"
    return f"{text}; {pluralize(partial, 'file')} parsed only in part" if partial else text


def describe_watch(watch: Json) -> str:
    """Return how changes of files are noticed."""
    if watch["state"] == "off":
        return "off (setting watch); index changes with: agent-brain index"
    text = f"{watch['directories']:,} directories"
    if watch["unwatched"]:
        path, reason = next(iter(watch["unwatched"].items()))
        text += f"; {watch['unwatched_directories']:,} compared every few seconds, such as {visible(path)}: {reason}"
    if watch["recrawls"]:
        text += f"; all files compared again {watch['recrawls']:,} times, last reason: {visible(watch['last_recrawl'])}"
    return text
