"""Health, index status and metrics."""

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from agent_brain_server import __version__
from agent_brain_server.api.deps import ActivityDep, ContextDep, ProjectId, ProjectsDep
from agent_brain_server.models.status import HealthResponse, IndexStatus

router = APIRouter()


@router.get("/health", tags=["health"])
async def health(context: ContextDep, projects: ProjectsDep) -> HealthResponse:
    """Report that the server answers, and which one it is; needs no credentials."""
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


@router.get("/health/status", tags=["health"])
def index_status(projects: ProjectsDep, activity: ActivityDep, project_id: ProjectId = None) -> IndexStatus:
    """Return the contents of the index and the state of indexing."""
    with projects.lease(project_id) as services:
        status = services.status()
    status.idle_seconds = activity.measure_unused_seconds()
    return status


@router.get("/metrics", tags=["metrics"], response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def metrics(projects: ProjectsDep) -> Response:
    """Return counters, gauges and histograms in Prometheus's text format."""
    return Response(projects.render_metrics(), media_type=CONTENT_TYPE_LATEST)
