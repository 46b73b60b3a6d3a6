"""Ask a server that answers from the index; index a project first that was never indexed."""

from collections.abc import Callable, Mapping

from agent_brain_cli.client import Client
from agent_brain_cli.formats import find_paths_from, is_run_by_agent
from agent_brain_cli.jobs import has_reached, wait_for_job
from agent_brain_cli.options import Target
from agent_brain_cli.output import Json, note, show
from agent_brain_cli.results import describe_freshness
from agent_brain_cli.servers import connect, describe_versions, note_version
from agent_brain_server.errors import ServerRefusedError
from agent_brain_server.models import MAX_BUDGET

MISSING_CODES = frozenset({"not_indexed", "path_not_found"})
"""Errors about a path that may be caused by an index that is still empty."""


def ask(client: Client, target: Target, send: Callable[[], Json]) -> Json:
    """Return an answer; if the project was never indexed, index it and ask again.

    Args:
        client: A client of the project's server.
        target: The project.
        send: Sends the request.

    Raises:
        NotRunningError: The server ended.
        ServerRefusedError: The request was refused, or the job failed or was cancelled.
    """
    try:
        answer = send()
    except ServerRefusedError as error:
        if error.code not in MISSING_CODES:
            raise
        is_empty = True
    else:
        is_empty = _is_never_indexed(answer)
    if not is_empty:
        return answer
    await_first_index(client, target)
    return send()


def _is_never_indexed(answer: Json) -> bool:
    """Return whether an answer comes from an index that was never filled; one within a budget leaves nulls out."""
    index = answer.get("index")
    return index is not None and index.get("last_indexed_at") is None and not answer.get("total_results")


def await_first_index(client: Client, target: Target) -> None:
    """Wait until the project's first index can answer; start the job unless another command has.

    Another command may also have finished its job since the request was sent.

    Raises:
        NotRunningError: The server ended.
        ServerRefusedError: The job failed or was cancelled.
    """
    status = client.get("/health/status")
    job, last = status["current_job"], status["last_job"]
    if job is None and not status["total_documents"] and (last is None or last["state"] == "failed"):
        note(f"{target.project_root} was never indexed; indexing it now.")
        submitted = client.post("/index", {"folder_path": str(target.project_root)})
        wait_for_job(client, submitted["job_id"], "keywords")
    elif job is not None and not has_reached(job, "keywords"):
        wait_for_job(client, job["job_id"], "keywords")


def ask_about(target: Target, path: str, parameters: Mapping[str, object], budget: int | None) -> None:
    """Send a GET request to the project's server, and show the answer as text, or as JSON.

    Args:
        target: The project.
        path: Of the request, quoted for a URL.
        parameters: Of the request.
        budget: Maximum tokens; `None`: the server's default for agents, and no limit for others.
    """
    asked = dict(parameters)
    if target.as_json:
        asked["max_tokens"] = budget
    else:
        limit = budget or (None if is_run_by_agent() else MAX_BUDGET)
        asked |= {"format": "compact", "max_tokens": limit, "paths_from": find_paths_from(target.project_root)}
    client = connect(target)
    answer = ask(client, target, lambda: client.get(path, asked))
    if budget is None:  # a document within a budget contains what was counted, and nothing else
        answer |= describe_versions(client.state)
    show(answer, lambda found: found["text"] or None, as_json=target.as_json)
    if remark := describe_freshness(answer):
        note(remark)
    note_version(client.state)
