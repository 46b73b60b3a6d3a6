"""The only readers of `app.state`: what handlers ask for by type."""

from typing import Annotated

from fastapi import Depends, Request

from agent_brain_server.api.context import ServerContext


def get_context(request: Request) -> ServerContext:
    """Return what the server knows about itself."""
    context: ServerContext = request.app.state.context
    return context


Context = Annotated[ServerContext, Depends(get_context)]
