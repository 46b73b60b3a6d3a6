"""Ask, and read a chunk whole."""

from fastapi import APIRouter

from agent_brain_server.api.deps import Queries
from agent_brain_server.models.query import ChunkResponse, QueryRequest, QueryResponse

router = APIRouter(prefix="/query", tags=["query"])


@router.post("")
def query(request: QueryRequest, queries: Queries) -> QueryResponse:
    """Answer a question with the chunks that fit best, best first."""
    return queries.answer(request)


@router.get("/chunks/{chunk_id}")
def show_chunk(chunk_id: str, queries: Queries) -> ChunkResponse:
    """Return one chunk whole."""
    return queries.get_chunk(chunk_id)
