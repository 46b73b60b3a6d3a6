"""A server as data and as text."""

from agent_brain_cli.progress import count_reasons, describe_progress
from agent_brain_cli.render import Json, format_duration, format_fields, format_moment, format_share, visible
from agent_brain_server.runtime import RuntimeState
from agent_brain_server.support.text import pluralize


def runtime_document(state: RuntimeState, *, with_token: bool = False) -> Json:
    """Return a server's runtime state; its token only for whoever started the server, to ask it with."""
    return state.model_dump(mode="json", exclude=None if with_token else {"token"}, exclude_none=True)


def render_server(document: Json) -> str:
    """Say where a server is, and for what."""
    where = f"{document['base_url']} (pid {document['pid']})"
    if document["mode"] == "project":
        return f"{where} serves {visible(document['project_root'])}"
    count = pluralize(document["active_projects"], "active project")
    served = f", serves {visible(document['project_root'])}" if document.get("project_root") else ""
    return f"{where} (shared){served}, {count}"


def describe_process(document: Json) -> str:
    """Return address, process and age of a server, and how many projects share it."""
    text = f"{document['base_url']} (pid {document['pid']}, up {format_duration(document['uptime_seconds'])})"
    if document["mode"] == "project":
        return text
    return f"{text} (shared), {pluralize(document['active_projects'], 'active project')}"


def render_daemon_status(document: Json) -> str:
    """Return the daemon's status as aligned `name  value` lines, one for each project."""
    fields = {"Server": describe_process(document), "State": document["state_dir"]}
    projects = {project["project_id"]: project["project_root"] for project in document["projects"]}
    return format_fields(fields | projects)


def describe_last_indexing(index: Json) -> str:
    """Say when a job has brought the index up to date; where none has yet, whether one is at it."""
    if index["last_indexed_at"]:
        return format_moment(index["last_indexed_at"])
    return "not yet: a job is at work" if index["current_job"] else "never; index it with: agent-brain index"


def describe_watch(watch: Json) -> str:
    """Return how changes of the tree are noticed."""
    if watch["state"] == "off":
        return "off (the setting watch); bring the index up to date with: agent-brain index"
    text = f"{watch['directories']:,} directories"
    if watch["unwatched"]:
        path, reason = next(iter(watch["unwatched"].items()))
        text += f"; {watch['unwatched_directories']:,} compared every few seconds, such as {visible(path)}: {reason}"
    if watch["recrawls"]:
        text += f"; every file compared again {watch['recrawls']:,} times, last: {visible(watch['last_recrawl'])}"
    return text


def render_status(document: Json) -> str:
    """Return the status as aligned `name  value` lines."""
    index = document["index"]
    fields = {
        "Server": describe_process(document),
        "Project": document["project_root"],
        "State": index["state_dir"],  # the server knows where it keeps things, and so which of the modes is in use
        "Index": f"{pluralize(index['total_documents'], 'file')}, {pluralize(index['total_chunks'], 'chunk')}",
        "Vectors": f"{index['total_vectors']:,} ({format_share(index['vector_coverage'])}), {index['embedding_model']}",
        "Indexed": describe_last_indexing(index),
    }
    if watch := index.get("watch"):  # absent if an older server answers
        fields["Watching"] = describe_watch(watch)
    if server := index.get("vector_server"):
        fields["Chroma"] = f"{server}, {pluralize(index['vectors_behind'], 'change')} behind"
    if index.get("vector_fault"):
        fields["Fault"] = index["vector_fault"]
    if index["skipped"]:
        fields["Skipped"] = count_reasons(index["skipped"])
    if repairs := index.get("repairs"):  # absent where an older server answers
        fields["At start"] = visible("; ".join(repairs))
    if index["current_job"]:
        fields["Job"] = f"{index['current_job']['job_id']}, {describe_progress(index['current_job'])}"
    if index["last_job"] and index["last_job"]["state"] == "failed":
        fields["Failed"] = f"{index['last_job']['job_id']}: {index['last_job']['error']}"
    return format_fields(fields)
