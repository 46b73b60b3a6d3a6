"""Arguments of the relay, and the HTTP exchange with the server."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from agent_brain_cli.relay import parse_options
from agent_brain_cli.relay_http import BrokenAnswerError, post

LIMIT_S = 60.0


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ([], ("", "")),
        (["--project-root", "/"], ("/", "")),
        (["--project-root=/", "--state-dir=here"], ("/", "here")),
        (["--state-dir", "one", "--state-dir", "two"], ("", "two")),
        (["--help"], None),
        (["-h"], None),
        (["--project-root"], None),
        (["--project-root="], None),
        (["--project-root", "/no/such/directory"], None),
        (["--surprise", "x"], None),
        (["word"], None),
    ],
)
def test_parse_options_leaves_the_rest_to_click(arguments, options):
    assert parse_options(arguments) == options


@contextmanager
def answering(*parts: bytes) -> Iterator[tuple[str, int]]:
    """Serve one connection with these bytes, and close it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                received = b""
                while not received.endswith(b"question"):
                    received += connection.recv(4096)
                for part in parts:
                    connection.sendall(part)
                connection.shutdown(socket.SHUT_WR)
                connection.recv(1)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[:2]
        thread.join(LIMIT_S)


def ask(address: tuple[str, int]) -> tuple[int, bytes]:
    return post(
        address, "/mcp", {"Host": "localhost"}, b"question", timeout_s=LIMIT_S, on_connect=lambda connection: None
    )


def test_post_returns_status_and_body():
    with answering(b"HTTP/1.1 200 OK\r\nContent-Le", b"ngth: 6\r\n\r\nans", b"wer") as address:
        assert ask(address) == (200, b"answer")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nans",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nans\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000,
    ],
)
def test_post_broken_answer_raises(answer):
    with answering(answer) as address, pytest.raises((BrokenAnswerError, ConnectionError)):
        ask(address)
