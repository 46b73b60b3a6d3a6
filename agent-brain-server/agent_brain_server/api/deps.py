"""Dependencies of the handlers; this module alone reads `app.state`.

Dependencies are coroutines although they await nothing: FastAPI runs plain functions in a thread, one for each request.
"""

import asyncio
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Protocol

from fastapi import Depends, FastAPI, Query, Request

from agent_brain_server.api.access import ConnectionGuard
from agent_brain_server.api.middleware import Activity
from agent_brain_server.models.status import ProjectInfo, UnregisteredProject
from agent_brain_server.project.context import ServerContext
from agent_brain_server.services.metrics import Metrics

if TYPE_CHECKING:  # handlers need the services' types only, so that `api` is imported without the stores
    from agent_brain_server.project.projects import ProjectsHealth
    from agent_brain_server.project.services import ProjectServices
    from agent_brain_server.runtime import RuntimeState


class Projects(Protocol):
    """The projects of a server. All methods may be called from any thread; most of them block."""

    def lease(self, project_id: str | None, *, exact: bool = False) -> AbstractContextManager["ProjectServices"]:
        """Lend the services of a project; they are not closed before the lease ends.

        Args:
            project_id: Required in shared mode; ignored in project mode unless `exact`.
            exact: Refuse the id of another project in project mode too.
        """

    def list_projects(self) -> list[ProjectInfo]:
        """Return the registered projects, ordered by root."""

    def register(self, project_root: str, state_dir: str | None = None) -> tuple[ProjectInfo, bool]:
        """Register a project; return it, and whether it is new."""

    def unregister(self, project_id: str, *, forget: bool) -> UnregisteredProject:
        """Unregister a project, and delete its index if `forget`."""

    def health(self) -> "ProjectsHealth":
        """Return what `/health` reports, without blocking."""

    def is_busy(self) -> bool:
        """Return whether a job is queued or running."""

    def render_metrics(self) -> bytes:
        """Return the metrics in Prometheus's text format."""

    def publish(self, state: "RuntimeState") -> None:
        """Make the projects discoverable, now that the server answers."""

    def tick(self) -> None:
        """Do periodic work; return at once."""

    def close(self) -> None:
        """Close everything."""


@dataclass(slots=True, eq=False)
class AppState:
    """State of the application of one server process.

    Attributes:
        context: The server's identity, directories and settings.
        projects: Set when the application starts.
        shutting_down: Set when streams must end, so that the server can.
        startup_error: Why the application could not start.
    """

    context: ServerContext
    metrics: Metrics = field(default_factory=Metrics)
    guard: ConnectionGuard = field(default_factory=ConnectionGuard)
    activity: Activity = field(init=False)
    projects: Projects = field(init=False)
    shutting_down: asyncio.Event = field(default_factory=asyncio.Event)
    startup_error: Exception | None = None

    def __post_init__(self) -> None:
        """Count the jobs of the projects as activity."""
        self.activity = Activity(lambda: self.projects.is_busy())


def set_state(app: FastAPI, state: AppState) -> None:
    """Attach the state to the application that serves it."""
    app.state.server = state


async def get_state(request: Request) -> AppState:
    """Return the state of the application that answers the request."""
    state: AppState = request.app.state.server
    return state


async def get_context(request: Request) -> ServerContext:
    """Return the server's identity, directories and settings."""
    return (await get_state(request)).context


async def get_projects(request: Request) -> Projects:
    """Return the projects of the server."""
    return (await get_state(request)).projects


async def get_activity(request: Request) -> Activity:
    """Return the record of when the server was used."""
    return (await get_state(request)).activity


async def get_shutdown(request: Request) -> asyncio.Event:
    """Return the event that is set when streams must end."""
    return (await get_state(request)).shutting_down


ContextDep = Annotated[ServerContext, Depends(get_context)]
ProjectsDep = Annotated[Projects, Depends(get_projects)]
ActivityDep = Annotated[Activity, Depends(get_activity)]
ShutdownDep = Annotated[asyncio.Event, Depends(get_shutdown)]
ProjectId = Annotated[str | None, Query(description="Required in shared mode, ignored in project mode.")]
