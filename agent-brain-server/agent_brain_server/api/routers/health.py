"""Is the server there, and what does it hold."""

from fastapi import APIRouter

from agent_brain_server import __version__
from agent_brain_server.api.deps import Bundle, Context
from agent_brain_server.models.health import HealthResponse, IndexStatus
from agent_brain_server.project_root import generate_project_id

router = APIRouter(tags=["health"])


@router.get("/health")
async def health(context: Context) -> HealthResponse:
    """Say that the server answers, and which one it is; needs no credentials."""
    return HealthResponse(
        status="healthy",
        message="ready",
        mode=context.mode,
        instance_id=context.instance_id,
        project_id=generate_project_id(context.project_root),
        version=__version__,
    )


@router.get("/health/status")
def index_status(bundle: Bundle) -> IndexStatus:
    """Return what the index holds and what is being done to it."""
    return bundle.status()
