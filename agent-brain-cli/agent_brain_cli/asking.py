"""Ask a server that answers from the index; index a project first that was never indexed."""

from collections.abc import Callable

from agent_brain_cli.client import Client
from agent_brain_cli.jobs import has_reached, wait_for_job
from agent_brain_cli.options import Target
from agent_brain_cli.output import Json, note
from agent_brain_server.errors import ServerRefusedError

MAX_WAIT_MS = 10_000
DEFAULT_WAIT_MS = 500  # a saved file is indexed in about 150 ms; without changes there is no wait

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
        is_empty = answer["index"]["last_indexed_at"] is None
    if not is_empty:
        return answer
    await_first_index(client, target)
    return send()


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
