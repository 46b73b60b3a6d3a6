"""Answer queries, and return single chunks."""

from fastapi import APIRouter, Response

from agent_brain_server.api.deps import ProjectId, ProjectsDep
from agent_brain_server.api.waiting import answer_when_fresh
from agent_brain_server.models.query import (
    ChunkResponse,
    CompactResponse,
    QueryRequest,
    QueryResponse,
    SmallResponse,
)

router = APIRouter(prefix="/query", tags=["query"])


@router.post("", response_model=QueryResponse | CompactResponse | SmallResponse)
async def query(request: QueryRequest, projects: ProjectsDep) -> Response:
    """Return the chunks that match a query best, best first."""
    return await answer_when_fresh(
        projects,
        request.project_id,
        request.wait_ms,
        lambda services, barrier: services.queries.answer_body(request, barrier),
    )


@router.get("/chunks/{chunk_id}")
def show_chunk(chunk_id: str, projects: ProjectsDep, project_id: ProjectId = None) -> ChunkResponse:
    """Return one whole chunk."""
    with projects.lease(project_id) as services:
        return services.queries.get_chunk(chunk_id)
