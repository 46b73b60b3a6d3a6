"""Queries, and chunks by id."""

import asyncio

from fastapi import APIRouter, Response
from starlette.concurrency import run_in_threadpool

from agent_brain_server.api.deps import ProjectId, Projects
from agent_brain_server.models.query import ChunkResponse, QueryRequest, QueryResponse
from agent_brain_server.project import projects as seam
from agent_brain_server.services.freshness import Barrier

MILLISECONDS = 1000

router = APIRouter(prefix="/query", tags=["query"])


@router.post("", response_model=QueryResponse)
async def query(request: QueryRequest, projects: Projects) -> Response:
    """Answer a question with the chunks that fit best, best first."""
    body = await run_in_threadpool(_answer_if_fresh, request, projects)
    if isinstance(body, Barrier):
        # the wait holds no thread, so that waiting queries do not keep others from being answered
        await _wait_for(body, request.wait_ms / MILLISECONDS)
        body = await run_in_threadpool(_answer, request, projects, body)
    return Response(body, media_type="application/json")


def _answer_if_fresh(request: QueryRequest, projects: seam.Projects) -> str | Barrier:
    """Answer, or return the barrier that the request wants to wait for."""
    with projects.lease(request.project_id) as bundle:
        barrier = bundle.queries.barrier(request)
        if request.wait_ms and not barrier.is_met():
            return barrier
        return bundle.queries.answer(request, barrier).model_dump_json()


def _answer(request: QueryRequest, projects: seam.Projects, barrier: Barrier) -> str:
    # serialized in the handler's thread: the framework would validate the answer again, in the event loop
    with projects.lease(request.project_id) as bundle:
        return bundle.queries.answer(request, barrier).model_dump_json()


async def _wait_for(barrier: Barrier, timeout_s: float) -> None:
    loop, met = asyncio.get_running_loop(), asyncio.Event()
    if barrier.on_met(lambda: loop.call_soon_threadsafe(met.set)):
        try:
            async with asyncio.timeout(timeout_s):
                await met.wait()
        except TimeoutError:
            pass  # the answer counts what it lacks
        finally:
            barrier.cancel()


@router.get("/chunks/{chunk_id}")
def show_chunk(chunk_id: str, projects: Projects, project_id: ProjectId = None) -> ChunkResponse:
    """Return one chunk whole."""
    with projects.lease(project_id) as bundle:
        return bundle.queries.get_chunk(chunk_id)
