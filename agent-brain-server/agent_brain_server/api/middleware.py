"""ASGI middleware: request ids, access, body limits and metrics, and the record of when the server was used."""

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Callable, Iterator
from functools import lru_cache

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent_brain_server.api.access import AccessPolicy, find_peer
from agent_brain_server.api.errors import BODY_KEY, problem_response
from agent_brain_server.errors import AgentBrainError, PayloadTooLargeError, RequestTimeoutError
from agent_brain_server.lifecycle.log import correlation_id
from agent_brain_server.services.metrics import Metrics

logger = logging.getLogger(__name__)

OBSERVING_PATHS = frozenset({"/health", "/health/status", "/metrics", "/projects"})
"""Requests to these observe the server and do not use it; discovery, `status` and `start` send them."""

MAX_BODY_BYTES = 1024 * 1024
"""The largest sensible request is a query of 4,000 characters with some globs."""

BODY_LIMIT_S = 20.0
"""Time for a body to arrive; on one machine this takes milliseconds."""

MAX_REQUEST_ID_LENGTH = 64
"""Longer ids from a client are not copied into the log."""

HEALTH_ROUTE = "/health"
NO_ROUTE = "none"
"""Label of requests without a route: paths that clients invent must not become labels."""

METHODS = frozenset({"GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH"})
OTHER_METHOD = "other"


class Activity:
    """Record when requests arrive, to find out whether the server is idle.

    Args:
        is_busy: Returns whether a job is queued or running.
    """

    def __init__(self, is_busy: Callable[[], bool] = lambda: False) -> None:
        self._is_busy = is_busy
        self._in_progress = 0
        self.last_active = time.monotonic()
        self.last_used = self.last_active

    def touch(self) -> None:
        """Record a request."""
        self.last_active = time.monotonic()

    @contextlib.contextmanager
    def track(self, path: str) -> Iterator[None]:
        """Record a request from its arrival to the end of its answer; called on the event loop."""
        self.touch()
        if path in OBSERVING_PATHS:
            yield
            return
        self.last_used = self.last_active
        self._in_progress += 1
        try:
            yield
        finally:
            self._in_progress -= 1
            self.last_used = time.monotonic()

    def measure_idle_seconds(self) -> float:
        """Return the seconds since the last request or the last job."""
        if self._is_busy():
            self.touch()
        return time.monotonic() - self.last_active

    def measure_unused_seconds(self) -> float:
        """Return the seconds since the server last worked for a client; 0 while it does.

        Requests that only observe the server (`OBSERVING_PATHS`) do not count.
        """
        if self._in_progress or self._is_busy():
            return 0.0
        return time.monotonic() - self.last_used


class AccessMiddleware:
    """Give each request an id, check access and the size of the body, and log the duration.

    One layer, because each layer costs a task switch.

    Args:
        app: The next application.
        policy: Decides who is answered.
        activity: Records the requests that pass.
        body_limit_s: Time for a body to arrive.
    """

    def __init__(
        self, app: ASGIApp, *, policy: AccessPolicy, activity: Activity, body_limit_s: float = BODY_LIMIT_S
    ) -> None:
        self._app = app
        self._policy = policy
        self._activity = activity
        self._body_limit_s = body_limit_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        peer = find_peer(scope)
        request_id = _read_request_id(Headers(scope=scope))
        token = correlation_id.set(request_id)
        began = time.perf_counter()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        try:
            await self._policy.check(scope, peer)
            with self._activity.track(scope["path"]):
                body = await buffer_body(scope, receive, self._body_limit_s)
                await self._app(scope, body, send_with_id)
        except AgentBrainError as error:
            if status:  # the answer has begun
                raise
            await problem_response(error)(scope, receive, send_with_id)
        finally:
            peer.unanswered -= 1
            elapsed_ms = (time.perf_counter() - began) * 1000
            logger.debug("%s %s %d %.1f ms", scope["method"], scope["path"], status or 500, elapsed_ms)
            correlation_id.reset(token)


class MetricsMiddleware:
    """Count requests by route, method and status, and measure how long `/health` takes.

    It wraps `AccessMiddleware`, so that refused requests are counted too.

    Args:
        app: The next application.
        metrics: The server's metrics.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics
        self._counter_of = lru_cache(maxsize=None)(metrics.requests.labels)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 500

        async def record_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, record_status)
        finally:
            route = getattr(scope.get("route"), "path", NO_ROUTE)
            method = scope["method"] if scope["method"] in METHODS else OTHER_METHOD
            self._counter_of(route, method, str(status)).inc()
            if route == HEALTH_ROUTE:
                self._metrics.discovery_seconds.observe(time.perf_counter() - began)


async def buffer_body(scope: Scope, receive: Receive, limit_s: float = BODY_LIMIT_S) -> Receive:
    """Read the whole body, and return a `receive` that yields it again; bodies here are small JSON documents.

    Raises:
        PayloadTooLargeError: The body is over the limit, whether or not its length was announced.
        RequestTimeoutError: The body did not arrive in time.
    """
    announced = Headers(scope=scope).get("content-length", "")
    if announced.isdigit() and int(announced) > MAX_BODY_BYTES:
        raise _too_large()
    try:
        async with asyncio.timeout(limit_s):
            body = await _read_body(receive)
    except TimeoutError:
        raise RequestTimeoutError(f"The body did not arrive within {limit_s:g} s.") from None
    if body is None:
        return receive
    scope[BODY_KEY] = body
    replay: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return replay.pop() if replay else await receive()

    return receive_again


async def _read_body(receive: Receive) -> bytes | None:
    """Return the body, or `None` if the client has disconnected."""
    body, more = bytearray(), True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MAX_BODY_BYTES:
            raise _too_large()
    return bytes(body)


def _too_large() -> PayloadTooLargeError:
    return PayloadTooLargeError(f"The body is over {MAX_BODY_BYTES:,} bytes.")


def _read_request_id(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    if given.isascii() and given.isprintable() and 0 < len(given) <= MAX_REQUEST_ID_LENGTH:
        return given
    return uuid.uuid4().hex[:16]
