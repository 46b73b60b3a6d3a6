"""What the server measures of itself, for Prometheus."""

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from agent_brain_server.api.deps import Projects

router = APIRouter(tags=["metrics"])


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def metrics(projects: Projects) -> Response:
    """Return counters, gauges and histograms in Prometheus's text format."""
    return Response(projects.render_metrics(), media_type=CONTENT_TYPE_LATEST)
