"""Fixtures for several test modules: a server on a real socket with prepared answers."""

import json
import re
import socket
import threading
from collections.abc import Iterator

import pytest

END = b"end"


class CannedServer:
    """Answers every connection with the same bytes and records the requests."""

    def __init__(self) -> None:
        self.answer = b""
        self.requests: list[str] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.base_url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def answer_json(self, document: object, status: str = "200 OK") -> None:
        body = json.dumps(document).encode()
        self.answer = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body

    def _serve(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            with connection:
                request = receive_request(connection)
                if request == END:
                    return
                self.requests.append(request.decode())
                connection.sendall(self.answer)

    def close(self) -> None:
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            connection.sendall(END)
        self._thread.join()
        self._socket.close()


def receive_request(connection: socket.socket) -> bytes:
    """Return a whole request, which may come in several pieces."""
    request = b""
    while piece := connection.recv(65_536):
        request += piece
        head, found, body = request.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head, flags=re.IGNORECASE)
        if request == END or (found and len(body) >= int(length[1] if length else 0)):
            break
    return request


@pytest.fixture
def canned_server() -> Iterator[CannedServer]:
    canned = CannedServer()
    yield canned
    canned.close()
