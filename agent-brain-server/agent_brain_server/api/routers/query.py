"""Ask, and read a chunk whole."""

from fastapi import APIRouter

from agent_brain_server.api.deps import ProjectId, Projects
from agent_brain_server.models.query import ChunkResponse, QueryRequest, QueryResponse

router = APIRouter(prefix="/query", tags=["query"])


@router.post("")
def query(request: QueryRequest, projects: Projects) -> QueryResponse:
    """Answer a question with the chunks that fit best, best first."""
    with projects.lease(request.project_id) as bundle:
        return bundle.queries.answer(request)


@router.get("/chunks/{chunk_id}")
def show_chunk(chunk_id: str, projects: Projects, project_id: ProjectId = None) -> ChunkResponse:
    """Return one chunk whole."""
    with projects.lease(project_id) as bundle:
        return bundle.queries.get_chunk(chunk_id)
