"""Is the server there, and what does it hold."""

from fastapi import APIRouter

from agent_brain_server import __version__
from agent_brain_server.api.deps import Activity, Context, ProjectId, Projects
from agent_brain_server.models.status import HealthResponse, IndexStatus

router = APIRouter(tags=["health"])


@router.get("/health")
async def health(context: Context, projects: Projects) -> HealthResponse:
    """Say that the server answers, and which one it is; needs no credentials."""
    found = projects.health()
    return HealthResponse(
        status="degraded" if found.fault else "healthy",
        message=found.fault or "ready",
        mode=context.mode,
        instance_id=context.instance_id,
        project_id=found.project_id,
        active_projects=found.active_projects,
        version=__version__,
    )


@router.get("/health/status")
def index_status(projects: Projects, activity: Activity, project_id: ProjectId = None) -> IndexStatus:
    """Return what the index holds and what is being done to it."""
    with projects.lease(project_id) as bundle:
        status = bundle.status()
    status.idle_seconds = activity.measure_unused_seconds()
    return status
