"""Answer queries, and return single chunks."""

import asyncio

from fastapi import APIRouter, Response
from starlette.concurrency import run_in_threadpool

from agent_brain_server.api.deps import ProjectId, Projects, ProjectsDep
from agent_brain_server.models.query import ChunkResponse, QueryRequest, QueryResponse
from agent_brain_server.services.freshness import Barrier

MILLISECONDS = 1000

router = APIRouter(prefix="/query", tags=["query"])


@router.post("", response_model=QueryResponse)
async def query(request: QueryRequest, projects: ProjectsDep) -> Response:
    """Return the chunks that match a query best, best first."""
    body = await run_in_threadpool(_answer_if_fresh, request, projects)
    if isinstance(body, Barrier):
        # wait without a thread, so that waiting queries do not block others
        await _wait_for(body, request.wait_ms / MILLISECONDS)
        body = await run_in_threadpool(_answer, request, projects, body)
    return Response(body, media_type="application/json")


def _answer_if_fresh(request: QueryRequest, projects: Projects) -> str | Barrier:
    """Answer, or return the barrier that the request has to wait for."""
    with projects.lease(request.project_id) as services:
        barrier = services.queries.barrier(request)
        if request.wait_ms and not barrier.is_met():
            return barrier
        return services.queries.answer(request, barrier).model_dump_json()


def _answer(request: QueryRequest, projects: Projects, barrier: Barrier) -> str:
    # serialized in the handler's thread: FastAPI would validate the answer again, on the event loop
    with projects.lease(request.project_id) as services:
        return services.queries.answer(request, barrier).model_dump_json()


async def _wait_for(barrier: Barrier, timeout_s: float) -> None:
    loop, met = asyncio.get_running_loop(), asyncio.Event()
    if barrier.on_met(lambda: loop.call_soon_threadsafe(met.set)):
        try:
            async with asyncio.timeout(timeout_s):
                await met.wait()
        except TimeoutError:
            pass  # the answer counts the missing changes
        finally:
            barrier.cancel()


@router.get("/chunks/{chunk_id}")
def show_chunk(chunk_id: str, projects: ProjectsDep, project_id: ProjectId = None) -> ChunkResponse:
    """Return one whole chunk."""
    with projects.lease(project_id) as services:
        return services.queries.get_chunk(chunk_id)
