"""The only readers of `app.state`: what handlers ask for by type.

These are coroutines though they wait for nothing: a plain function would be sent to a thread for every request.
"""

import asyncio
from typing import Annotated

from fastapi import Depends, Query, Request

from agent_brain_server.api.middleware import Activity as ServerActivity
from agent_brain_server.project import projects as seam
from agent_brain_server.project.context import ServerContext


async def get_context(request: Request) -> ServerContext:
    """Return what the server knows about itself."""
    context: ServerContext = request.app.state.context
    return context


async def get_projects(request: Request) -> seam.Projects:
    """Return the projects that the server serves."""
    projects: seam.Projects = request.app.state.projects
    return projects


async def get_activity(request: Request) -> ServerActivity:
    """Return the record of when the server was used."""
    activity: ServerActivity = request.app.state.activity
    return activity


async def get_shutting_down(request: Request) -> asyncio.Event:
    """Return the event that is set when streams must end, so that the server can."""
    event: asyncio.Event = request.app.state.shutting_down
    return event


Context = Annotated[ServerContext, Depends(get_context)]
Projects = Annotated[seam.Projects, Depends(get_projects)]
Activity = Annotated[ServerActivity, Depends(get_activity)]
ShuttingDown = Annotated[asyncio.Event, Depends(get_shutting_down)]

ProjectId = Annotated[str | None, Query(description="Required in shared mode, ignored in project mode.")]
