"""Index a folder, follow and cancel the jobs, forget everything."""

import asyncio
from collections.abc import AsyncIterator

from fastapi import APIRouter, status
from fastapi.responses import StreamingResponse

from agent_brain_server.api.deps import Indexing, ShuttingDown
from agent_brain_server.models.index import ClearedIndex, IndexRequest, JobAccepted, JobList, JobStatus
from agent_brain_server.services.indexing_service import IndexingService

router = APIRouter(prefix="/index", tags=["index"])

EVENT_INTERVAL_S = 0.1
"""How often a followed job is looked at: smooth for a progress bar, nothing for the server."""

KEEPALIVE_INTERVAL_S = 15.0
"""A comment line this often keeps idle connections from being closed on the way."""

ENDED = frozenset({"done", "failed", "cancelled"})


@router.post("", status_code=status.HTTP_202_ACCEPTED)
def start_indexing(request: IndexRequest, indexing: Indexing) -> JobAccepted:
    """Bring the index of a folder up to date, in the background."""
    job = indexing.submit(request)
    return JobAccepted(job_id=job.job_id, state=job.state, message=f"Follow it at /index/jobs/{job.job_id}")


@router.delete("")
def clear_index(indexing: Indexing) -> ClearedIndex:
    """Forget everything that is indexed."""
    return indexing.clear()


@router.get("/jobs")
def list_jobs(indexing: Indexing) -> JobList:
    """List the jobs, newest first."""
    return JobList(jobs=indexing.list_jobs())


@router.get("/jobs/{job_id}")
def show_job(job_id: str, indexing: Indexing) -> JobStatus:
    """Show one job and how far it is."""
    return indexing.get_job(job_id)


@router.delete("/jobs/{job_id}")
def cancel_job(job_id: str, indexing: Indexing) -> JobStatus:
    """Cancel a job; what it has already indexed stays."""
    return indexing.cancel(job_id)


@router.get(
    "/jobs/{job_id}/events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}, "description": "`progress` events, then one `end`."}},
)
def stream_job(job_id: str, indexing: Indexing, stopping: ShuttingDown) -> StreamingResponse:
    """Stream a job's progress as server-sent events, each a `JobStatus`."""
    indexing.get_job(job_id)  # an unknown job is a 404, not an empty stream
    return StreamingResponse(
        _follow(job_id, indexing, stopping), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
    )


async def _follow(job_id: str, indexing: IndexingService, stopping: asyncio.Event) -> AsyncIterator[str]:
    shown, silent_s = "", 0.0
    while not stopping.is_set():
        job = indexing.get_job(job_id)
        body = job.model_dump_json()
        if job.state in ENDED:
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
