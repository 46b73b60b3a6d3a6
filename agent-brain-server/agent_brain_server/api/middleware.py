"""What happens to every request before a handler sees it: identity, access, limits, measurement.

Plain ASGI, one layer: a request passes here thousands of times a second at most, and each layer costs a task switch.
"""

import contextlib
import logging
import time
import uuid
from collections.abc import Callable, Iterator

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent_brain_server.api.access import AccessPolicy
from agent_brain_server.api.errors import problem_response
from agent_brain_server.errors import AgentBrainError, PayloadTooLargeError
from agent_brain_server.lifecycle.log import correlation_id

OBSERVING_PATHS = frozenset({"/health", "/health/status", "/metrics", "/projects"})
"""Requests to these look at the server and do not use it: discovery, `status` and `start` send them."""


class Activity:
    """Records when requests arrive and asks whether work is running.

    Args:
        is_working: Returns whether a job is queued or running.
    """

    def __init__(self, is_working: Callable[[], bool] = lambda: False) -> None:
        self._is_working = is_working
        self._in_progress = 0
        self.last_active = time.monotonic()
        self.last_used = self.last_active

    def touch(self) -> None:
        """Record a request."""
        self.last_active = time.monotonic()

    @contextlib.contextmanager
    def track(self, path: str) -> Iterator[None]:
        """Record a request from its arrival to the end of its answer; called on the event loop.

        Args:
            path: The path of the request.
        """
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

    def busy(self) -> bool:
        """Return whether a job is queued or running."""
        return self._is_working()

    def watch(self, is_working: Callable[[], bool]) -> None:
        """Set the function that tells whether work is running; the services exist only after startup."""
        self._is_working = is_working

    def measure_idle_seconds(self) -> float:
        """Return the seconds since the last request, or since work last ran."""
        if self.busy():
            self.touch()
        return time.monotonic() - self.last_active

    def measure_unused_seconds(self) -> float:
        """Return the seconds since the server last did something for a client; 0 while it does.

        Requests that only look at the server (`OBSERVING_PATHS`) do not count.
        """
        if self._in_progress or self.busy():
            return 0.0
        return time.monotonic() - self.last_used


logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 1024 * 1024
"""The largest sensible request is a query of 4,000 characters with some globs."""

MAX_REQUEST_ID_LENGTH = 64
"""Longer ids from a client are not taken over into the log."""


class RequestBorder:
    """Gives each request its id, checks who asks and how much is sent, and notes how long the answer took.

    Args:
        app: The application behind.
        policy: Who may ask.
        activity: Records each request that was let in.
    """

    def __init__(self, app: ASGIApp, *, policy: AccessPolicy, activity: Activity) -> None:
        self._app = app
        self._policy = policy
        self._activity = activity

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection's request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(Headers(scope=scope))
        token = correlation_id.set(request_id)
        began = time.perf_counter()
        status = 500

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        try:
            await self._serve(scope, receive, send_with_id)
        finally:
            elapsed_ms = (time.perf_counter() - began) * 1000
            logger.debug("%s %s %d %.1f ms", scope["method"], scope["path"], status, elapsed_ms)
            correlation_id.reset(token)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def note_start(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._policy.check(scope)
            with self._activity.track(scope["path"]):
                await self._app(scope, await buffer_body(scope, receive), note_start)
        except AgentBrainError as error:
            if started:
                raise
            await problem_response(error)(scope, receive, send)


async def buffer_body(scope: Scope, receive: Receive) -> Receive:
    """Read the body whole and return a `receive` that gives it again; bodies here are small and all JSON.

    Raises:
        PayloadTooLargeError: The body is over the limit, whether its length was announced or not.
    """
    announced = Headers(scope=scope).get("content-length", "")
    if announced.isdigit() and int(announced) > MAX_BODY_BYTES:
        raise _too_large()
    body, more = bytearray(), True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return receive
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MAX_BODY_BYTES:
            raise _too_large()
    replay: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

    async def receive_again() -> Message:
        return replay.pop() if replay else await receive()

    return receive_again


def _too_large() -> PayloadTooLargeError:
    return PayloadTooLargeError(f"The body is over {MAX_BODY_BYTES:,} bytes.")


def _request_id(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    if given.isascii() and given.isprintable() and 0 < len(given) <= MAX_REQUEST_ID_LENGTH:
        return given
    return uuid.uuid4().hex[:16]
