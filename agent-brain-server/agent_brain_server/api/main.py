"""The FastAPI application: its parts, and what happens when it starts up and shuts down."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from anyio.to_thread import current_default_thread_limiter
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from agent_brain_server import __version__
from agent_brain_server.api.access import AccessPolicy
from agent_brain_server.api.connection_guard import ConnectionGuard
from agent_brain_server.api.errors import PROBLEM_JSON, install_error_handlers
from agent_brain_server.api.middleware import Activity, RequestBorder
from agent_brain_server.api.request_metrics import RequestMeter
from agent_brain_server.api.routers import docs_page, health, index, projects, query
from agent_brain_server.api.routers import metrics as metrics_router
from agent_brain_server.errors import ConfigError
from agent_brain_server.models.index import Problem
from agent_brain_server.project.context import ServerContext
from agent_brain_server.project.projects import Projects, SingleProject
from agent_brain_server.project.services import ProjectServices, SharedServices
from agent_brain_server.project.shared_projects import SharedProjects
from agent_brain_server.services.metrics import Metrics

if TYPE_CHECKING:
    from fastapi.telemetry import TelemetryConfig  # older versions have none, and leave the setting alone

DESCRIPTION = "Local search over a project's code and documents, for coding agents and the people beside them."

NO_TELEMETRY: "TelemetryConfig" = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
"""The framework would send traces and failures, with what was asked, where the environment of whoever starts the server
says for a program of their own."""

HANDLER_THREADS = {"project": 8, "shared": 128}
"""Requests worked on at once: the interpreter runs one at a time, and each thread more costs memory and switches. In
shared mode many may wait for an index that is being opened, and threads are left for the other projects."""


def create_app(context: ServerContext) -> FastAPI:
    """Build the application of one server process.

    Args:
        context: Identity, places and settings; the stores are opened when the application starts up.
    """
    metrics = Metrics()
    app = FastAPI(
        title="Agent Brain",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,  # the framework's page may do what its reader may, and its scripts are another site's
        redoc_url=None,
        lifespan=_make_lifespan(context, metrics),
        telemetry=NO_TELEMETRY,
        responses={"default": {"model": Problem, "description": "What went wrong, and what to do next."}},
    )
    app.openapi = partial(describe_calls, app)  # type: ignore[method-assign]
    app.state.context = context
    app.state.activity = Activity()
    app.state.shutting_down = asyncio.Event()
    app.state.metrics = metrics
    app.state.guard = ConnectionGuard()
    policy = AccessPolicy(context.token, context.settings.bind_host, app.state.guard)
    app.add_middleware(RequestBorder, policy=policy, activity=app.state.activity)
    app.add_middleware(RequestMeter, metrics=metrics)  # around the border, so that what that refuses counts too
    install_error_handlers(app)
    for part in (query, health, index, projects, metrics_router, docs_page):  # routes are tried in this order
        app.include_router(part.router)
    return app


def describe_calls(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document, in which errors have the media type that they are sent with.

    The framework gives every model that of ordinary answers.
    """
    if app.openapi_schema is None:
        document = FastAPI.openapi(app)
        for methods in document["paths"].values():
            for call in methods.values():
                content = call["responses"]["default"]["content"]
                content[PROBLEM_JSON] = content.pop("application/json")
    return app.openapi_schema or {}


def open_projects(context: ServerContext, metrics: Metrics) -> Projects:
    """Open what the server serves; the daemon's indexes are opened later, one by one.

    Args:
        context: Identity, places and settings.
        metrics: Counted on by every part.

    Raises:
        AgentBrainError: A store of the one project can't be opened.
    """
    if context.daemon is not None:
        return SharedProjects(context.daemon, metrics)
    if context.project_root is None:
        raise ConfigError("A server of one project needs the project's root.")
    settings = context.settings
    shared = SharedServices.make(settings.embedding_model, max_concurrent_indexing=1, metrics=metrics)
    open_bundle = partial(
        ProjectServices.open, context.mode, context.project_root, context.state_dir, settings, shared=shared
    )
    return SingleProject(open_bundle(), open_bundle)


def _make_lifespan(context: ServerContext, metrics: Metrics) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        current_default_thread_limiter().total_tokens = HANDLER_THREADS[context.mode]
        opened = await run_in_threadpool(open_projects, context, metrics)
        app.state.guard.open()
        app.state.projects = opened
        app.state.activity.watch(opened.is_busy)
        try:
            yield
        finally:
            app.state.guard.close()
            await run_in_threadpool(opened.close)

    return lifespan
