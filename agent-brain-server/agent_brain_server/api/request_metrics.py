"""Counts every request and keeps the beginning of its body, so that the log can say what was asked when it failed.

Plain ASGI, around the border: what that refuses is counted as well.
"""

import json
import time
from functools import lru_cache
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent_brain_server.services.metrics import Metrics

HEALTH_ROUTE = "/health"
NO_ROUTE = "none"
"""The route of what was refused before it came to one, or leads nowhere: paths that clients invent make no labels."""

METHODS = frozenset({"GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH"})
OTHER_METHOD = "other"

BODY_KEY = "agent_brain.body"
MAX_NOTED_BYTES = 4096
"""A question and its filters; what is longer is cut, and then shown as text."""

SHOWN_FIELDS = ("query", "mode", "folder_path", "project_root", "project_id")
MAX_SHOWN_CHARACTERS = 200
"""Of each field: enough to ask the same again."""


class RequestMeter:
    """Counts requests by route, method and status, and times the ones that discovery makes.

    Args:
        app: The application behind.
        metrics: Counted on.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics
        self._counter_of = lru_cache(maxsize=None)(metrics.requests.labels)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 500

        async def note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, _noting_body(scope, receive), note_status)
        finally:
            route = getattr(scope.get("route"), "path", NO_ROUTE)
            method = scope["method"] if scope["method"] in METHODS else OTHER_METHOD
            self._counter_of(route, method, str(status)).inc()
            if route == HEALTH_ROUTE:
                self._metrics.discovery_seconds.observe(time.perf_counter() - began)


def _noting_body(scope: Scope, receive: Receive) -> Receive:
    if scope["method"] != "POST":
        return receive

    async def receive_noting() -> Message:
        message = await receive()
        if message["type"] == "http.request" and BODY_KEY not in scope:
            scope[BODY_KEY] = message.get("body", b"")[:MAX_NOTED_BYTES]
        return message

    return receive_noting


def describe_body(scope: Scope) -> dict[str, str]:
    """Return what a failed request asked for, as keys of a log line: its question or folder, cut to a readable length.

    Args:
        scope: Of the request.
    """
    try:
        body: Any = json.loads(scope.get(BODY_KEY, b""))
    except (ValueError, RecursionError):
        return {}
    if not isinstance(body, dict):
        return {}
    return {f"asked_{name}": str(body[name])[:MAX_SHOWN_CHARACTERS] for name in SHOWN_FIELDS if name in body}
