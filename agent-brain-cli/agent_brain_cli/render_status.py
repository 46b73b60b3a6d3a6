"""A server as data and as text."""

from datetime import UTC, datetime

from agent_brain_cli.progress import count_reasons, describe_progress
from agent_brain_cli.render import Json, format_duration, format_fields, format_share, visible
from agent_brain_server.runtime import RuntimeState


def uptime_s(started_at: str) -> float:
    """Return the seconds since an ISO 8601 time."""
    return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(started_at)).total_seconds())


def runtime_document(state: RuntimeState) -> Json:
    """Return a server's runtime state for others to read: all but its token, which stays in runtime.json."""
    return state.model_dump(mode="json", exclude={"token"}, exclude_none=True)


def render_server(document: Json) -> str:
    """Say where a server is."""
    return f"{document['base_url']} (pid {document['pid']}) serves {visible(document['project_root'])}"


def render_status(document: Json) -> str:
    """Return the status as aligned `name  value` lines."""
    index = document["index"]
    fields = {
        "Server": f"{document['base_url']} (pid {document['pid']}, up {format_duration(document['uptime_seconds'])})",
        "Project": document["project_root"],
        "State": document["state_dir"],
        "Index": f"{index['total_documents']:,} files, {index['total_chunks']:,} chunks",
        "Vectors": f"{index['total_vectors']:,} ({format_share(index['vector_coverage'])}), {index['embedding_model']}",
        "Indexed": index["last_indexed_at"] or "never; index it with: agent-brain index",
    }
    if index["skipped"]:
        fields["Skipped"] = count_reasons(index["skipped"])
    if index["current_job"]:
        fields["Job"] = f"{index['current_job']['job_id']}, {describe_progress(index['current_job'])}"
    if index["last_job"] and index["last_job"]["state"] == "failed":
        fields["Failed"] = f"{index['last_job']['job_id']}: {index['last_job']['error']}"
    return format_fields(fields)
