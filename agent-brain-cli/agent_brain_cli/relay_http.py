"""Post one message over a plain HTTP connection to the server on this machine.

`http.client` would cost the relay of `agent-brain mcp` 50 ms of CPU, more than all of its other imports, and every
session of an agent starts a relay. The exchange is the smallest that HTTP/1.1 allows: one request for each connection,
and an answer with a length (RFC 9112, sections 6.2 and 9.6).
"""

import socket
from collections.abc import Callable, Mapping

READ_BYTES = 65_536
MAX_HEAD_BYTES = 65_536
MAX_BODY_BYTES = 64_000_000  # far more than any answer: tools have budgets
END_OF_HEAD = b"\r\n\r\n"


class BrokenAnswerError(OSError):
    """The server's answer is not complete, or is not HTTP with a length."""


def post(
    address: tuple[str, int],
    target: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    timeout_s: float,
    on_connect: Callable[[socket.socket], None],
) -> tuple[int, bytes]:
    """Post a body, and return the status and the body of the answer.

    Args:
        address: Host and port of the server.
        target: Path and query of the URL.
        headers: Without line breaks; must include `Host`.
        body: Body of the request.
        timeout_s: Longest silence of the server.
        on_connect: Receives the connection, which another thread may shut down.

    Raises:
        TimeoutError: The server was silent for too long.
        OSError: The server cannot be reached, or its answer is broken.
    """
    fields = {**headers, "Content-Length": str(len(body)), "Connection": "close"}
    head = "".join([f"POST {target} HTTP/1.1\r\n", *(f"{name}: {value}\r\n" for name, value in fields.items()), "\r\n"])
    with socket.create_connection(address, timeout=timeout_s) as connection:
        on_connect(connection)
        connection.sendall(head.encode("latin-1") + body)
        return _read_answer(connection)


def _read_answer(connection: socket.socket) -> tuple[int, bytes]:
    received = bytearray()
    while END_OF_HEAD not in received:
        _receive(connection, received, MAX_HEAD_BYTES)
    head, _, rest = bytes(received).partition(END_OF_HEAD)
    status, length = _parse_head(head)
    body = bytearray(rest)
    while len(body) < length:
        _receive(connection, body, MAX_BODY_BYTES)
    return status, bytes(body[:length])


def _receive(connection: socket.socket, received: bytearray, limit: int) -> None:
    part = connection.recv(READ_BYTES)
    if not part:
        raise BrokenAnswerError("the connection was closed before the answer was complete")
    received += part
    if len(received) > limit:
        raise BrokenAnswerError("the answer is too long")


def _parse_head(head: bytes) -> tuple[int, int]:
    """Return the status and the length of the body."""
    first, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    status = rest[:3]
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = fields.get("content-length", "")
    if not version.startswith("HTTP/1.") or not status.isdecimal() or not length.isdecimal():
        raise BrokenAnswerError("the answer is not HTTP with a length")
    return int(status), int(length)
