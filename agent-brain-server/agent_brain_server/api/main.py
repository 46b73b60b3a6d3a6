"""The FastAPI application."""

from fastapi import FastAPI

from agent_brain_server import __version__
from agent_brain_server.api.context import ServerContext
from agent_brain_server.api.routers import health


def create_app(context: ServerContext) -> FastAPI:
    """Build the application of one server process.

    Args:
        context: Identity, places and settings; stores are opened when the application starts up.
    """
    app = FastAPI(title="Agent Brain", version=__version__)
    app.state.context = context
    app.include_router(health.router)
    return app
