"""Index a folder, follow and cancel the jobs, forget everything."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, ExitStack

from fastapi import APIRouter, status
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from agent_brain_server.api.deps import ProjectId, Projects, ShuttingDown
from agent_brain_server.models.index import TERMINAL_STATES, ClearedIndex, IndexRequest, JobAccepted, JobList, JobStatus
from agent_brain_server.project.services import ProjectServices

router = APIRouter(prefix="/index", tags=["index"])

EVENT_INTERVAL_S = 0.1
"""How often a followed job is looked at: smooth for a progress bar, nothing for the server."""

KEEPALIVE_INTERVAL_S = 3.0
"""A comment line this often keeps idle connections from being closed on the way."""


@router.post("", status_code=status.HTTP_202_ACCEPTED)
def start_indexing(request: IndexRequest, projects: Projects) -> JobAccepted:
    """Bring the index of a folder up to date, in the background."""
    with projects.lease(request.project_id) as bundle:
        job = bundle.indexing.submit(request)
    return JobAccepted(job_id=job.job_id, state=job.state, message=f"Follow it at /index/jobs/{job.job_id}")


@router.delete("")
def clear_index(projects: Projects, project_id: ProjectId = None) -> ClearedIndex:
    """Forget everything that is indexed."""
    with projects.lease(project_id) as bundle:
        return bundle.indexing.clear()


@router.get("/jobs")
def list_jobs(projects: Projects, project_id: ProjectId = None) -> JobList:
    """List the jobs, newest first."""
    with projects.lease(project_id) as bundle:
        return JobList(jobs=bundle.indexing.jobs.newest())


@router.get("/jobs/{job_id}")
def show_job(job_id: str, projects: Projects, project_id: ProjectId = None) -> JobStatus:
    """Show one job and how far it is."""
    with projects.lease(project_id) as bundle:
        return bundle.indexing.jobs.get(job_id)


@router.delete("/jobs/{job_id}")
def cancel_job(job_id: str, projects: Projects, project_id: ProjectId = None) -> JobStatus:
    """Cancel a job; what it has already indexed stays."""
    with projects.lease(project_id) as bundle:
        return bundle.indexing.jobs.cancel(job_id)


@router.get(
    "/jobs/{job_id}/events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}, "description": "`progress` events, then one `end`."}},
)
def stream_job(
    job_id: str, projects: Projects, stopping: ShuttingDown, project_id: ProjectId = None
) -> StreamingResponse:
    """Stream a job's progress as server-sent events, each a `JobStatus`."""
    with projects.lease(project_id) as bundle:
        bundle.indexing.jobs.get(job_id)  # an unknown job is a 404, not an empty stream
    events = _lease_and_follow(job_id, projects.lease(project_id), stopping)
    return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def _lease_and_follow(
    job_id: str, lease: AbstractContextManager[ProjectServices], stopping: asyncio.Event
) -> AsyncIterator[str]:
    # taken here: a stream that nobody reads never begins, and would never give its lease back
    with ExitStack() as leases:
        bundle = await run_in_threadpool(leases.enter_context, lease)
        async for event in _follow(job_id, bundle, stopping):
            yield event


async def _follow(job_id: str, bundle: ProjectServices, stopping: asyncio.Event) -> AsyncIterator[str]:
    shown, silent_s = "", 0.0
    while not stopping.is_set() and not bundle.retired.is_set():
        job = bundle.indexing.jobs.get(job_id)
        body = job.model_dump_json()
        if job.state in TERMINAL_STATES:
            yield f"event: end\ndata: {body}\n\n"
            return
        if body != shown:
            yield f"event: progress\ndata: {body}\n\n"
            shown, silent_s = body, 0.0
        elif silent_s >= KEEPALIVE_INTERVAL_S:
            yield ": still here\n\n"
            silent_s = 0.0
        await asyncio.sleep(EVENT_INTERVAL_S)
        silent_s += EVENT_INTERVAL_S
