"""Limit one HTTP connection: the size of a request, and how long it may take to arrive.

Uvicorn reads request heads of any length and waits for the rest of a request without a time limit. Every user of the
machine can connect to a loopback port, so both would let another user exhaust memory and descriptors. `BoundedProtocol`
therefore parses the stream before it passes it on to uvicorn's protocol, and refuses what exceeds the limits.
`AccessMiddleware` limits the body, which the application reads.
"""

import asyncio
import logging
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, ClassVar

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from agent_brain_server.api.access import PEER_KEY, ConnectionGuard, Peer
from agent_brain_server.api.errors import problem_response
from agent_brain_server.errors import HeadersTooLargeError, PayloadTooLargeError, RequestError, RequestTimeoutError
from agent_brain_server.support.socket_owners import Address

logger = logging.getLogger(__name__)

MAX_HEAD_BYTES = 64 * 1024
"""Request line and headers together: browsers stay under 16 KB, the CLI sends 200 bytes."""

MAX_HEADERS = 100
"""Header fields of one request; browsers send some twenty."""

MAX_REQUEST_BYTES = 8 * 1024 * 1024
"""A whole request as it arrives: the longest allowed body, sent in chunks of one byte, and its head."""

ARRIVAL_LIMIT_S = 20.0
"""From connecting, or from a request's first byte, to the end of its head: on one machine this takes milliseconds."""

LINGER_S = 1.0
"""Time for a refused client to read the reason before the connection is aborted."""

STALL_LIMIT_S = 30.0
"""Time for a client to read an answer that no longer fits into the send buffer."""


class QuietTransport(asyncio.Transport):
    """A transport that ignores writes after the connection has ended.

    If a client disconnects during pipelined requests, uvicorn informs only the last one, and uvloop raises an error
    when an earlier one is answered.

    Args:
        transport: The transport of the connection.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        self._transport = transport

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - as in asyncio
        """Return information about the connection."""
        return self._transport.get_extra_info(name, default)

    def is_closing(self) -> bool:
        """Return whether the connection is closed or closing."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Close the connection after the pending writes."""
        self._transport.close()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send data."""
        if not self._transport.is_closing():
            self._transport.write(data)

    def pause_reading(self) -> None:
        """Stop reading."""
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Continue reading."""
        if not self._transport.is_closing():
            self._transport.resume_reading()


class BoundedProtocol(asyncio.Protocol):
    """Apply the limits, then pass the data on to uvicorn's HTTP protocol; uvicorn makes one for each connection.

    All requests of a connection share one `Peer`, so that the client is identified once.

    Args:
        guard: Limits the connections of untrusted clients; may abort this one.
        app_state: State of the application's lifespan, which uvicorn copies into the scope of each request.
        options: Other arguments of uvicorn's protocol.

    Attributes:
        arrival_limit_s: How long the head of a request may take to arrive.
    """

    arrival_limit_s: ClassVar[float] = ARRIVAL_LIMIT_S

    def __init__(self, *, guard: ConnectionGuard, app_state: dict[str, Any], **options: Any) -> None:  # noqa: ANN401
        self._guard = guard
        self._peer = Peer(None, None)
        self._http = HttpToolsProtocol(app_state={**app_state, PEER_KEY: self._peer}, **options)
        self._parser = httptools.HttpRequestParser(self)
        self._parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn: such data is ignored
        self._loop = asyncio.get_running_loop()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._url = b""
        self._fields = self._field_bytes = 0
        self._received = 0
        self._heads = 0
        self._in_body = False
        self._fault: RequestError | None = None
        self._is_refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Identify the client, and start the time limit of its first request."""
        self._transport = transport
        self._http.connection_made(QuietTransport(transport))
        self._peer.client = _as_address(transport.get_extra_info("peername"))
        self._peer.server = _as_address(transport.get_extra_info("sockname"))
        self._await_request()
        self._guard.enter(self._peer, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Release what the connection held."""
        for timer in self._timers.values():
            timer.cancel()
        self._guard.leave(self._peer)
        self._http.connection_lost(None)  # with an error, uvicorn would keep the connection until its keep-alive ends

    def data_received(self, data: bytes) -> None:
        """Pass valid data within the limits on to uvicorn; after a refusal, data is ignored."""
        if self._is_refused:
            return
        self._await_request()
        self._received += len(data)
        self._heads = 0
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # uvicorn answers the request as if it had not asked for an upgrade
        except httptools.HttpParserError:
            self._refuse(self._fault or RequestError("The request is not valid HTTP."))
            return
        if self._received > (MAX_REQUEST_BYTES if self._in_body else MAX_HEAD_BYTES):
            self._refuse(PayloadTooLargeError("The request is too long.") if self._in_body else _head_too_large())
            return
        self._peer.unanswered += self._heads
        self._http.data_received(data)

    def eof_received(self) -> None:
        """Pass the end of the client's data on."""
        self._http.eof_received()

    def pause_writing(self) -> None:
        """Stop writing, and abort the connection if the client reads nothing for a while."""
        self._http.pause_writing()
        self._start_timer("stall", STALL_LIMIT_S, self._transport.abort)

    def resume_writing(self) -> None:
        """Continue writing."""
        self._stop_timer("stall")
        self._http.resume_writing()

    def on_message_begin(self) -> None:
        """Start a request. This and the following methods are called by the parser."""
        self._url, self._fields, self._field_bytes = b"", 0, 0
        self._await_request()

    def on_url(self, url: bytes) -> None:
        """Collect the request's target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header field."""
        self._fields += 1
        self._field_bytes += len(name) + len(value)

    def on_headers_complete(self) -> None:
        """Check the head, which can exceed the limits although it arrived in one piece."""
        if self._fields > MAX_HEADERS or len(self._url) + self._field_bytes > MAX_HEAD_BYTES:
            self._fault = _head_too_large()
            raise self._fault
        httptools.parse_url(self._url).path.decode("ascii")  # uvicorn does the same: fails on an invalid target
        self._heads += 1
        self._in_body = True

    def on_message_complete(self) -> None:
        """Record that the whole request has arrived."""
        self._stop_timer("arrival")
        self._in_body, self._received = False, 0

    def _await_request(self) -> None:
        if "arrival" not in self._timers:
            self._start_timer("arrival", self.arrival_limit_s, self._stop_waiting)

    def _start_timer(self, name: str, seconds: float, action: Callable[[], None]) -> None:
        self._stop_timer(name)
        self._timers[name] = self._loop.call_later(seconds, action)

    def _stop_timer(self, name: str) -> None:
        if timer := self._timers.pop(name, None):
            timer.cancel()

    def _stop_waiting(self) -> None:
        """End a connection whose request did not arrive in time."""
        del self._timers["arrival"]
        if self._peer.unanswered:  # an earlier request is being answered, or the application waits for the body
            self._await_request()
        elif self._received and not self._in_body:
            self._refuse(RequestTimeoutError(f"The request did not arrive within {self.arrival_limit_s:g} s."))
        else:  # a client that sent nothing, or that still sends a body after its answer
            self._transport.close()

    def _refuse(self, error: RequestError) -> None:
        """Send an error and close the connection; only close it if an answer is being sent or too many are refused."""
        self._is_refused = True
        self._stop_timer("arrival")
        is_untrusted = self._guard.is_untrusted(self._peer)
        if is_untrusted and not self._guard.may_answer_now():
            self._guard.abort(self._peer)
            return
        # another user must not be able to fill the log
        logger.log(logging.DEBUG if is_untrusted else logging.INFO, "Refused a request: %s", error.message)
        if self._peer.unanswered:
            self._transport.close()
            return
        self._transport.write(_render(error))
        # closed at once, with unread data, the kernel would discard the answer
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._start_timer("linger", LINGER_S, self._transport.abort)


def _as_address(name: object) -> Address | None:
    return (name[0], name[1]) if isinstance(name, tuple) else None


def _head_too_large() -> HeadersTooLargeError:
    return HeadersTooLargeError(f"The request's head is over {MAX_HEAD_BYTES:,} bytes or {MAX_HEADERS} fields.")


def _render(error: RequestError) -> bytes:
    """Return the whole response, for a connection that the application no longer serves."""
    response = problem_response(error)
    head = [f"HTTP/1.1 {response.status_code} {HTTPStatus(response.status_code).phrase}".encode()]
    fields = [(b"date", formatdate(usegmt=True).encode()), *response.raw_headers]
    if not any(name == b"connection" for name, _ in fields):
        fields.append((b"connection", b"close"))
    head += [name + b": " + value for name, value in fields]
    return b"\r\n".join(head) + b"\r\n\r\n" + bytes(response.body)
