"""Requests to `/mcp` when the SDK's session manager cannot start."""

import asyncio
import contextlib

import pytest
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

from agent_brain_server.api.mcp_endpoint import McpEndpoint

LIMIT_S = 60.0


@contextlib.asynccontextmanager
async def fail_to_start(_manager):
    raise OSError("no resources")
    yield


def test_mcp_manager_fails_to_start_request_fails(app_state, monkeypatch):
    monkeypatch.setattr(StreamableHTTPSessionManager, "run", fail_to_start)

    async def request_twice() -> None:
        endpoint = McpEndpoint(app_state)
        for _ in range(2):  # each tries again
            with pytest.raises(OSError, match="no resources"):
                await asyncio.wait_for(endpoint({"type": "http"}, None, None), LIMIT_S)
        await asyncio.wait_for(endpoint.close(), LIMIT_S)

    asyncio.run(request_twice())
