"""Finding the server, starting jobs and waiting for them: what `index` and `query` share."""

import time
from typing import Literal

from agent_brain_cli.client import ENDED_STATES, Client
from agent_brain_cli.progress import open_progress
from agent_brain_cli.render import Json, note
from agent_brain_server.errors import NotRunningError, ServerRefusedError
from agent_brain_server.project_root import describe_large_project

Milestone = Literal["keywords", "end"]
"""How far to wait: until keyword answers are complete, or until the vectors are as well."""


def wait_for_job(client: Client, job_id: str, milestone: Milestone, *, timeout_s: float | None = None) -> Json:
    """Follow a job on stderr and return its status at the milestone.

    Args:
        client: Of the server that runs the job.
        job_id: The job.
        milestone: How far to wait.
        timeout_s: Longest wait; None waits for as long as the job takes.

    Raises:
        DeadlineError: The milestone was not reached in time.
        NotRunningError: The server went away.
        ServerRefusedError: The job failed or was cancelled.
    """
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    job: Json = {}
    remark: str | None = None
    try:
        with open_progress() as display:
            for job in client.follow_job(job_id, deadline=deadline):
                if remark is None and (remark := describe_large_project(job["progress"]["files_total"])):
                    note(remark)
                display.update(job)
                if has_reached(job, milestone):
                    break
    except NotRunningError as error:
        hint = "Its job goes on when it starts again: agent-brain start"
        raise NotRunningError("The server ended while it was indexing.", hint=hint) from error
    except KeyboardInterrupt:
        note("The job goes on in the server; see how far it is with: agent-brain status")
        raise
    check_job(job)
    return job


def has_reached(job: Json, milestone: Milestone) -> bool:
    """Tell whether there is nothing more to wait for."""
    return job["state"] in ENDED_STATES or (milestone == "keywords" and bool(job["progress"]["keywords_ready"]))


def check_job(job: Json) -> None:
    """Raise where a job ended without having done its work."""
    if job["state"] == "failed":
        message = job["error"] or "The job failed without saying why."
        raise ServerRefusedError(message, hint="Try again with: agent-brain index", code="job_failed")
    if job["state"] == "cancelled":
        hint = "Start it again with: agent-brain index"
        raise ServerRefusedError("The job was cancelled.", hint=hint, code="job_cancelled")
