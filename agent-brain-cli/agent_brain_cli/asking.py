"""Ask a server that answers from the index; index a project first that was never indexed."""

from collections.abc import Callable, Iterable, Mapping

from agent_brain_cli.client import Client
from agent_brain_cli.jobs import has_reached, wait_for_job
from agent_brain_cli.options import Target
from agent_brain_cli.output import Json, note, show
from agent_brain_cli.results import describe_freshness
from agent_brain_cli.servers import connect, describe_versions, note_version
from agent_brain_server.errors import ServerRefusedError

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


def ask_about(
    target: Target,
    path: str,
    parameters: Mapping[str, object],
    render: Callable[[Json], str],
    describe: Callable[[Json], Iterable[str | None]] = lambda _: (),
) -> None:
    """Send a GET request to the project's server, and show the answer and remarks about it.

    Args:
        target: The project.
        path: Of the request, quoted for a URL.
        parameters: Of the request.
        render: Returns the answer as text.
        describe: Returns remarks about the answer, for stderr.
    """
    client = connect(target)
    answer = ask(client, target, lambda: client.get(path, parameters)) | describe_versions(client.state)
    show(answer, lambda found: render(found) or None, as_json=target.as_json)
    for remark in (*describe(answer), describe_freshness(answer)):
        if remark:
            note(remark)
    note_version(client.state)
