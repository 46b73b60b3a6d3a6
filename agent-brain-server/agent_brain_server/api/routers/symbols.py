"""Read files of the project."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from agent_brain_server.api.deps import ProjectId, ProjectsDep
from agent_brain_server.api.waiting import answer_when_fresh
from agent_brain_server.models.query import MAX_WAIT_MS
from agent_brain_server.models.symbols import MAX_PATH_LENGTH, FileLines

MAX_LINE = 10_000_000
"""More lines than any file has that is small enough to be indexed."""

WaitMs = Annotated[
    int,
    Query(
        ge=0,
        le=MAX_WAIT_MS,
        description="Maximum time to wait until changes made before the request are indexed; the answer counts missing "
        "changes in `index.files_pending`.",
    ),
]

router = APIRouter(tags=["symbols"])


@router.get("/files/{path:path}", response_model=FileLines)
async def read_file(
    path: Annotated[str, Path(max_length=MAX_PATH_LENGTH, description="Relative to the project root.")],
    projects: ProjectsDep,
    first: Annotated[int, Query(alias="from", ge=1, le=MAX_LINE, description="First line, 1-based.")] = 1,
    last: Annotated[
        int | None, Query(alias="to", ge=1, le=MAX_LINE, description="Last line, inclusive; by default 400 lines.")
    ] = None,
    project_id: ProjectId = None,
    wait_ms: WaitMs = 0,
) -> Response:
    """Return lines of a file that is in the index, as they are on disk now."""
    return await answer_when_fresh(
        projects,
        project_id,
        wait_ms,
        lambda services, barrier: services.symbols.read_file(path, first, last, barrier),
    )
