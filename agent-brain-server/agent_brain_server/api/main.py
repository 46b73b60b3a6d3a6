"""The FastAPI application."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from anyio.to_thread import current_default_thread_limiter
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.routing import Route

from agent_brain_server import __version__
from agent_brain_server.api.access import AccessPolicy
from agent_brain_server.api.deps import AppState, Projects, set_state
from agent_brain_server.api.errors import PROBLEM_JSON, install_error_handlers
from agent_brain_server.api.mcp_endpoint import McpEndpoint
from agent_brain_server.api.middleware import AccessMiddleware, MetricsMiddleware
from agent_brain_server.api.routers import docs, health, index, projects, query, symbols
from agent_brain_server.models.index import Problem

if TYPE_CHECKING:
    from fastapi.telemetry import TelemetryConfig  # older versions have none, and ignore the argument

DESCRIPTION = "Local search over a project's code and documents, for coding agents and their users."

NO_TELEMETRY: "TelemetryConfig" = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
"""Otherwise FastAPI exports traces, with the queries in them, if the environment configures another program to."""

HANDLER_THREADS = {"project": 8, "shared": 128}
"""Requests handled at once. The interpreter runs one thread at a time, and each thread costs memory and switches. In
shared mode many requests may wait for an index to open, and other projects need threads meanwhile."""


def create_app(state: AppState, open_projects: Callable[[], Projects]) -> FastAPI:
    """Build the application of one server process.

    Args:
        state: What the application holds.
        open_projects: Opens the stores; called when the application starts.
    """
    context = state.context
    mcp = McpEndpoint(state)
    app = FastAPI(
        title="Agent Brain",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,  # FastAPI's page loads scripts from another site, which could read the index
        redoc_url=None,
        lifespan=_make_lifespan(state, open_projects, mcp),
        telemetry=NO_TELEMETRY,
        responses={"default": {"model": Problem, "description": "The error, and what to do next."}},
    )
    app.openapi = partial(describe_api, app)  # type: ignore[method-assign]
    set_state(app, state)
    policy = AccessPolicy(context.token, context.settings.bind_host, state.guard)
    app.add_middleware(AccessMiddleware, policy=policy, activity=state.activity)
    app.add_middleware(MetricsMiddleware, metrics=state.metrics)  # outermost, so that refused requests are counted
    install_error_handlers(app)
    for part in (query, symbols, health, index, projects, docs):  # routes are tried in this order
        app.include_router(part.router)
    app.router.routes.append(Route("/mcp", mcp))
    return app


def describe_api(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document, with the media type of errors corrected.

    FastAPI declares every model as `application/json`.
    """
    if app.openapi_schema is None:
        document = FastAPI.openapi(app)
        for methods in document["paths"].values():
            for operation in methods.values():
                content = operation["responses"]["default"]["content"]
                content[PROBLEM_JSON] = content.pop("application/json")
    return app.openapi_schema or {}


def _make_lifespan(
    state: AppState, open_projects: Callable[[], Projects], mcp: McpEndpoint
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        current_default_thread_limiter().total_tokens = HANDLER_THREADS[state.context.mode]
        try:
            state.projects = await run_in_threadpool(open_projects)
        except Exception as exc:
            state.startup_error = exc  # uvicorn only logs it
            raise
        state.guard.open()
        try:
            yield
        finally:
            await mcp.close()
            state.guard.close()
            await run_in_threadpool(state.projects.close)

    return lifespan
