"""Finding the server, starting jobs and waiting for them: what `index` and `query` share."""

import time
from typing import Literal

from agent_brain_cli.client import ENDED_STATES, Client
from agent_brain_cli.ignored import note_ignored
from agent_brain_cli.options import Target
from agent_brain_cli.progress import open_progress
from agent_brain_cli.render import Json, note
from agent_brain_cli.servers import attach_to_daemon, look_for_server
from agent_brain_server.errors import NotRunningError, ServerRefusedError
from agent_brain_server.locking import is_stale
from agent_brain_server.project_root import describe_large_project
from agent_brain_server.runtime import RuntimeState

Milestone = Literal["keywords", "end"]
"""How far to wait: until keyword answers are complete, or until the vectors are as well."""


def connect(target: Target) -> Client:
    """Return a client of the project's server, which is started if it is not running, with a note on stderr.

    Raises:
        ConfigError: The current directory is the home directory or above it, and was not named.
        DaemonNotRunningError: The project uses the shared daemon, which is started by hand.
    """
    target.require_project()
    note_ignored(target)
    found = look_for_server(target)
    state = found.state
    if state is None and found.is_shared:
        state = attach_to_daemon(target)
    elif state is None:
        doing = "Starting" if is_stale(target.state_dir) else "Waiting for"
        note(f"{doing} the server of {target.project_root}.")
        state = start_own_server(target)
    elif found.is_shared:
        from agent_brain_server.shared.daemon import ensure_pointer  # noqa: PLC0415 - a server of one's own needs none of it

        ensure_pointer(state, target.project_root, target.state_dir)
    return Client(state)


def start_own_server(target: Target) -> RuntimeState:
    """Return the project's own server, started on behalf of an agent if none runs.

    Raises:
        DeadlineError: A server is there and does not answer.
        AgentBrainError: The server could not be started.
    """
    from agent_brain_server.lifecycle.control import SILENT_LIMIT_S, start_server  # noqa: PLC0415 - a server that runs needs none

    root, state_dir = target.project_root, target.state_dir
    return start_server(root, state_dir=state_dir, started_by="agent", silent_timeout_s=SILENT_LIMIT_S).state


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
