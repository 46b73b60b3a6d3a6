"""Ask, and read a chunk whole."""

from fastapi import APIRouter, Response

from agent_brain_server.api.deps import ProjectId, Projects
from agent_brain_server.models.query import ChunkResponse, QueryRequest, QueryResponse

router = APIRouter(prefix="/query", tags=["query"])


@router.post("", response_model=QueryResponse)
def query(request: QueryRequest, projects: Projects) -> Response:
    """Answer a question with the chunks that fit best, best first."""
    with projects.lease(request.project_id) as bundle:
        answer = bundle.queries.answer(request)
    # written here, in the handler's thread: the framework would check the answer once more first, in the event loop
    return Response(answer.model_dump_json(), media_type="application/json")


@router.get("/chunks/{chunk_id}")
def show_chunk(chunk_id: str, projects: Projects, project_id: ProjectId = None) -> ChunkResponse:
    """Return one chunk whole."""
    with projects.lease(project_id) as bundle:
        return bundle.queries.get_chunk(chunk_id)
