"""The only readers of `app.state`: what handlers ask for by type.

These are coroutines though they wait for nothing: a plain function would be sent to a thread for every request.
"""

import asyncio
from typing import Annotated

from fastapi import Depends, Request

from agent_brain_server.api.bundle import ServiceBundle
from agent_brain_server.api.context import ServerContext
from agent_brain_server.services.indexing_service import IndexingService
from agent_brain_server.services.query_service import QueryService


async def get_context(request: Request) -> ServerContext:
    """Return what the server knows about itself."""
    context: ServerContext = request.app.state.context
    return context


async def get_bundle(request: Request) -> ServiceBundle:
    """Return the project's services."""
    bundle: ServiceBundle = request.app.state.bundle
    return bundle


async def get_shutting_down(request: Request) -> asyncio.Event:
    """Return the event that is set when streams must end, so that the server can."""
    event: asyncio.Event = request.app.state.shutting_down
    return event


Context = Annotated[ServerContext, Depends(get_context)]
Bundle = Annotated[ServiceBundle, Depends(get_bundle)]
ShuttingDown = Annotated[asyncio.Event, Depends(get_shutting_down)]


async def get_indexing(bundle: Bundle) -> IndexingService:
    """Return the project's indexing service."""
    return bundle.indexing


async def get_queries(bundle: Bundle) -> QueryService:
    """Return the project's query service."""
    return bundle.queries


Indexing = Annotated[IndexingService, Depends(get_indexing)]
Queries = Annotated[QueryService, Depends(get_queries)]
