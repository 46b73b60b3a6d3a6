"""HTTP over one connection, within limits: how long a request may be, and how long it may take to arrive.

Uvicorn reads heads of any length and waits for the rest of a request as long as its client likes. On a socket that
every user of the machine can connect to, both would let a stranger take memory and descriptors without end.
"""

import asyncio
import logging
from typing import Any, ClassVar

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from agent_brain_server.api.access import PEER_KEY
from agent_brain_server.api.connection_guard import ConnectionGuard, Peer
from agent_brain_server.api.errors import problem_response
from agent_brain_server.errors import (
    HeadersTooLargeError,
    PayloadTooLargeError,
    RequestError,
    RequestTimeoutError,
)

logger = logging.getLogger(__name__)

MAX_HEAD_BYTES = 64 * 1024
"""Request line and headers together: browsers stay under 16 KB, a command of ours sends 200 bytes."""

MAX_HEADERS = 100
"""Header fields of one request; browsers send some twenty."""

MAX_REQUEST_BYTES = 8 * 1024 * 1024
"""All of a request as it arrives: the longest allowed body, sent in chunks of one byte, and room for its head."""

ARRIVAL_LIMIT_S = 20.0
"""From a request's first byte to its last, and from connecting to the first: on this machine both take milliseconds."""

LINGER_S = 1.0
"""How long a refused client may take to read why, before the connection is cut whatever it still sends."""


class BoundedProtocol(HttpToolsProtocol):
    """Uvicorn's protocol with limits, whose requests share one `Peer`: the client is identified once.

    Args:
        arguments: Uvicorn's own.
        guard: Told of every connection; may close it.
        named: Uvicorn's own.

    Attributes:
        arrival_limit_s: How long a request may take to arrive.
    """

    arrival_limit_s: ClassVar[float] = ARRIVAL_LIMIT_S

    def __init__(self, *arguments: Any, guard: ConnectionGuard, **named: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(*arguments, **named)
        self._guard = guard
        self._peer: Peer | None = None
        self._clock: asyncio.TimerHandle | None = None
        self._received = 0
        self._in_body = False
        self._refusal: RequestError | None = None
        self._running: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Identify the client, and limit how long its first request may take to arrive."""
        super().connection_made(transport)
        server = None if self.server is None or self.server[1] is None else (self.server[0], self.server[1])
        self._peer = Peer(self.client, server)
        self.app_state = {**self.app_state, PEER_KEY: self._peer}
        self._start_clock()
        self._guard.enter(self._peer, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget what was expected; tell also an answer that is not the last of several under way.

        After a reset uvicorn's own timer would keep the connection, and what hangs on it, for half a minute more.
        """
        self._stop_clock()
        if self._peer is not None:
            self._guard.leave(self._peer)
        self.pipeline.clear()
        if self._running is not None:
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()

    def data_received(self, data: bytes) -> None:
        """Read on, up to the limits; of a request that was refused nothing more is read."""
        if self._refusal is not None:
            return
        self._start_clock()
        self._received += len(data)
        super().data_received(data)
        if self._refusal is None and self._received > (MAX_REQUEST_BYTES if self._in_body else MAX_HEAD_BYTES):
            self._refuse(PayloadTooLargeError("The request is too long.") if self._in_body else _head_too_large())

    def on_message_begin(self) -> None:
        """Expect the rest of a request."""
        self._start_clock()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Hand the request on, unless its head is too large though it came in one piece."""
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > MAX_HEAD_BYTES or len(self.headers) > MAX_HEADERS:
            raise _head_too_large()  # ends the parser, and comes back to `send_400_response`
        super().on_headers_complete()
        self._in_body = True

    def on_message_complete(self) -> None:
        """Note that the request has arrived."""
        self._stop_clock()
        self._in_body = False
        self._received = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what the parser gave up on."""
        too_large = self.headers is not None and len(self.headers) > MAX_HEADERS
        self._refuse(_head_too_large() if too_large or self._received > MAX_HEAD_BYTES else RequestError(msg))

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection; a client that does not take its answer is not waited for."""
        super().timeout_keep_alive_handler()
        self._cut_later()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _start_clock(self) -> None:
        if self._clock is None:
            self._clock = self.loop.call_later(self.arrival_limit_s, self._give_up)

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _give_up(self) -> None:
        """The time is over: a client that never said anything is not answered either."""
        self._clock = None
        if self.pipeline:  # its next request is not read, because an earlier one is still being answered
            self._start_clock()
        elif self._received:
            self._refuse(RequestTimeoutError(f"The request did not arrive within {self.arrival_limit_s:g} s."))
        else:
            self.transport.close()

    def _refuse(self, error: RequestError) -> None:
        """Answer with an error and end the connection; if an answer has begun or too many are refused, only end it."""
        self._refusal = error
        self._stop_clock()
        self._unset_keepalive_if_required()
        is_untrusted = self._peer is not None and self._guard.is_untrusted(self._peer)
        if self._peer is not None and is_untrusted and not self._guard.may_answer_now():
            self._guard.cut(self._peer)
            return
        # another user must not be able to fill the log
        logger.log(logging.DEBUG if is_untrusted else logging.INFO, "a request was refused: %s", error.message)
        is_answering = self.cycle is not None and not self.cycle.response_complete
        if self._in_body and is_answering and not self.pipeline and not self.cycle.response_started:
            self.cycle.disconnected = True  # whoever waits for the rest of the body is told that it won't come
            self.cycle.message_event.set()
            self.transport.write(_render(error, self.server_state.default_headers))
        elif not self._in_body and not is_answering:
            self.transport.write(_render(error, self.server_state.default_headers))
        elif is_answering:
            self.transport.close()
            return
        # closed at once, with unread data, the kernel would take the answer away from the client
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._cut_later()

    def _cut_later(self) -> None:
        self.loop.call_later(LINGER_S, self.transport.abort)


def _head_too_large() -> HeadersTooLargeError:
    return HeadersTooLargeError(f"The request's head is over {MAX_HEAD_BYTES:,} bytes or {MAX_HEADERS} fields.")


def _render(error: RequestError, headers: list[tuple[bytes, bytes]]) -> bytes:
    """Write an answer out, for a connection that no application serves any more."""
    response = problem_response(error)
    fields = [*headers, *response.raw_headers, (b"connection", b"close")]
    head = b"".join(name + b": " + value + b"\r\n" for name, value in fields)
    return STATUS_LINE[response.status_code] + head + b"\r\n" + bytes(response.body)
