"""Index a folder, follow and cancel jobs, and clear the index."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING

from fastapi import APIRouter, status
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from agent_brain_server.api.deps import ProjectId, ProjectsDep, ShutdownDep
from agent_brain_server.models import TERMINAL_STATES
from agent_brain_server.models.index import ClearedIndex, IndexRequest, JobAccepted, JobList, JobStatus

if TYPE_CHECKING:
    from agent_brain_server.project.services import ProjectServices

router = APIRouter(prefix="/index", tags=["index"])

EVENT_INTERVAL_S = 0.1
"""Interval at which the state of a followed job is read: smooth for a progress bar, and cheap."""

KEEPALIVE_INTERVAL_S = 3.0
"""Interval of comment lines, which keep proxies from closing an idle connection."""


@router.post("", status_code=status.HTTP_202_ACCEPTED)
def start_indexing(request: IndexRequest, projects: ProjectsDep) -> JobAccepted:
    """Start a job that brings the index of a folder up to date."""
    with projects.lease(request.project_id) as services:
        job = services.indexing.submit(request)
    return JobAccepted(job_id=job.job_id, state=job.state, message=f"Follow it at /index/jobs/{job.job_id}")


@router.delete("")
def clear_index(projects: ProjectsDep, project_id: ProjectId = None) -> ClearedIndex:
    """Remove everything from the index."""
    with projects.lease(project_id) as services:
        return services.indexing.clear()


@router.get("/jobs")
def list_jobs(projects: ProjectsDep, project_id: ProjectId = None) -> JobList:
    """List the jobs, newest first."""
    with projects.lease(project_id) as services:
        return JobList(jobs=services.indexing.jobs.newest())


@router.get("/jobs/{job_id}")
def show_job(job_id: str, projects: ProjectsDep, project_id: ProjectId = None) -> JobStatus:
    """Return one job and its progress."""
    with projects.lease(project_id) as services:
        return services.indexing.jobs.get(job_id)


@router.delete("/jobs/{job_id}")
def cancel_job(job_id: str, projects: ProjectsDep, project_id: ProjectId = None) -> JobStatus:
    """Cancel a job; files that it has already indexed stay in the index."""
    with projects.lease(project_id) as services:
        return services.indexing.jobs.cancel(job_id)


@router.get(
    "/jobs/{job_id}/events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}, "description": "`progress` events, then one `end`."}},
)
def stream_job(
    job_id: str, projects: ProjectsDep, shutdown: ShutdownDep, project_id: ProjectId = None
) -> StreamingResponse:
    """Stream a job's progress as server-sent events, each a `JobStatus`."""
    with projects.lease(project_id) as services:
        services.indexing.jobs.get(job_id)  # an unknown job is a 404, not an empty stream
    events = _lease_and_follow(job_id, projects.lease(project_id), shutdown)
    return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def _lease_and_follow(
    job_id: str, lease: AbstractContextManager["ProjectServices"], shutdown: asyncio.Event
) -> AsyncIterator[str]:
    # leased here: if no client reads the stream, it never starts, and a lease taken earlier would never end
    with ExitStack() as leases:
        services = await run_in_threadpool(leases.enter_context, lease)
        async for event in _follow(job_id, services, shutdown):
            yield event


async def _follow(job_id: str, services: "ProjectServices", shutdown: asyncio.Event) -> AsyncIterator[str]:
    sent, silent_s = "", 0.0
    while not shutdown.is_set() and not services.retired.is_set():
        job = services.indexing.jobs.get(job_id)
        body = job.model_dump_json()
        if job.state in TERMINAL_STATES:
            yield f"event: end\ndata: {body}\n\n"
            return
        if body != sent:
            yield f"event: progress\ndata: {body}\n\n"
            sent, silent_s = body, 0.0
        elif silent_s >= KEEPALIVE_INTERVAL_S:
            yield ": keep-alive\n\n"
            silent_s = 0.0
        await asyncio.sleep(EVENT_INTERVAL_S)
        silent_s += EVENT_INTERVAL_S
