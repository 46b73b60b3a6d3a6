"""Relay the messages of the Model Context Protocol between stdin and stdout and the server's `/mcp`.

The protocol is the server's: the relay finds or starts the server, sends each request to it, and writes the answer.
It imports nothing of the product and little else, because each session of an agent starts one and keeps it for hours.
A server that ended is started again, since the requests change nothing and can be repeated.

Stdio transport: https://modelcontextprotocol.io/specification/2025-06-18/basic/transports: one JSON-RPC message per
line. Headers of the HTTP transport: the version from the handshake, or in 2026-07-28 those of each request.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading

from agent_brain_cli.relay_http import post

TYPE_CHECKING = False  # importing `typing` would cost 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, BinaryIO

    Json = dict[str, Any]

REQUEST_TIMEOUT_S = 120.0  # the first search of a project may wait for its index
FIND_TIMEOUT_S = 90.0  # starting a server takes a second; on a busy machine many times as long
LAST_ANSWERS_S = 10.0  # what a client that closes stdin may still want to read
MAX_CONCURRENT = 8  # requests at once: the server handles as many
MAX_LINE_BYTES = 4_000_000

EXIT_INTERRUPTED = 128 + 2  # what a shell reports for a program ended by Ctrl-C

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
INTERNAL_ERROR = -32603

VERSION_META = "io.modelcontextprotocol/protocolVersion"
ROUTED_BY = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
"""Methods whose HTTP request repeats a parameter in the header `Mcp-Name`."""

PATH_OPTIONS = ("--project-root", "--state-dir")


class NoServerError(Exception):
    """No server can be found or started; the text says why."""


class Server:
    """Address of the project's server.

    Attributes:
        address: Host and port.
        authority: Both as the header `Host` has them.
        path: Path of `/mcp` with its parameters.
        token: Credential, if the server wants one.
    """

    __slots__ = ("address", "authority", "path", "token")

    def __init__(self, found: Json) -> None:
        self.address: tuple[str, int] = (found["host"], found["port"])
        self.authority: str = found["authority"]
        self.path: str = found["path"]
        self.token: str | None = found["token"]


class ServerFinder:
    """Finds the server of a project, and finds it again after it has ended. Thread-safe.

    Args:
        project_root: Root of the project; "" finds it from the current directory.
        state_dir: Directory of the server's files; "" is the default one.
    """

    def __init__(self, project_root: str, state_dir: str) -> None:
        self._arguments = [project_root, state_dir]
        self._lock = threading.Lock()
        self._server: Server | None = None

    def find(self, failed: Server | None = None) -> Server:
        """Return the server.

        Args:
            failed: A server that does not answer any more; another one is found.

        Raises:
            NoServerError: There is none, and none can be started.
        """
        with self._lock:
            if self._server is None or self._server is failed:
                self._server = None
                self._server = self._ask()
            return self._server

    def _ask(self) -> Server:
        command = [sys.executable, "-m", "agent_brain_cli.find_server", *self._arguments]
        try:
            # the caller's stdin is the protocol's; a server that is started must not inherit it
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=FIND_TIMEOUT_S, check=False
            )
            found = json.loads(done.stdout)
        except subprocess.TimeoutExpired:
            raise NoServerError("The server did not start in time. See: agent-brain logs") from None
        except (OSError, ValueError) as error:
            raise NoServerError(f"Finding the server failed: {error}. See: agent-brain doctor") from error
        if "error" in found:
            raise NoServerError(found["error"])
        return Server(found)


class Relay:
    """Relays one client's messages.

    Args:
        finder: Finds the server.
        lines: The client's messages.
        output: Takes the answers.
    """

    def __init__(self, finder: ServerFinder, lines: BinaryIO, output: BinaryIO) -> None:
        self._finder = finder
        self._lines = lines
        self._output = output
        self._writing = threading.Lock()
        self._slots = threading.Semaphore(MAX_CONCURRENT)
        self._version: str | None = None
        self._open: dict[Any, socket.socket] = {}
        self._cancelled: set[Any] = set()
        self._threads: list[threading.Thread] = []

    def run(self) -> None:
        """Relay until the end of input, then finish the requests in progress."""
        self._start(self._find_early)
        while line := self._lines.readline(MAX_LINE_BYTES + 1):
            if len(line) > MAX_LINE_BYTES:
                self._skip_line(line)
                self._write_error(None, INVALID_REQUEST, f"A message is over {MAX_LINE_BYTES:,} bytes.")
            elif line.strip():
                self._accept(line)
        for thread in self._threads:
            thread.join(LAST_ANSWERS_S)

    def _skip_line(self, line: bytes) -> None:
        while line and not line.endswith(b"\n"):
            line = self._lines.readline(MAX_LINE_BYTES)

    def _find_early(self) -> None:
        """Start the server while the client prepares its first message; an error is reported with that message."""
        with contextlib.suppress(NoServerError):
            self._finder.find()

    def _accept(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except ValueError:  # also of text that is not UTF-8
            self._write_error(None, PARSE_ERROR, "The message is not JSON.")
            return
        if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
            self._write_error(None, INVALID_REQUEST, "The message is not a JSON-RPC 2.0 object.")
        elif "method" not in message:
            return  # an answer: the server asks nothing
        elif message.get("id") is None:
            self._notice(message)
        elif isinstance(message["id"], str | int | float) and isinstance(message["method"], str):
            self._start(lambda: self._answer(message, line))
        else:
            self._write_error(None, INVALID_REQUEST, "The id or the method is of the wrong type.")

    def _notice(self, message: Json) -> None:
        """Handle a notification: only cancellation concerns a server without sessions."""
        params = message.get("params")
        if message["method"] != "notifications/cancelled" or not isinstance(params, dict):
            return
        identity = params.get("requestId")
        if isinstance(identity, str | int | float) and (connection := self._open.get(identity)) is not None:
            self._cancelled.add(identity)
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads; `close` would not

    def _start(self, work: Callable[[], None]) -> None:
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _answer(self, message: Json, line: bytes) -> None:
        with self._slots:
            try:
                answer = self._forward(message, line)
            except NoServerError as error:
                self._write_error(message["id"], INTERNAL_ERROR, str(error))
            except OSError as error:
                if message["id"] not in self._cancelled:
                    reason = str(error) or type(error).__name__
                    self._write_error(message["id"], INTERNAL_ERROR, f"The server did not answer: {reason}.")
            else:
                if message["id"] not in self._cancelled:
                    self._write(answer)
            finally:
                self._cancelled.discard(message["id"])

    def _forward(self, message: Json, line: bytes) -> bytes:
        """Send a request to the server; if that has ended, to the one that is started in its place."""
        server = self._finder.find()
        try:
            return self._post(server, message, line)
        except TimeoutError:
            raise
        except OSError:
            if message["id"] in self._cancelled:
                raise
        return self._post(self._finder.find(failed=server), message, line)

    def _post(self, server: Server, message: Json, line: bytes) -> bytes:
        identity = message["id"]
        try:
            status, body = post(
                server.address,
                server.path,
                self._make_headers(server, message),
                line,
                timeout_s=REQUEST_TIMEOUT_S,
                on_connect=lambda connection: self._open.update({identity: connection}),
            )
        finally:
            self._open.pop(identity, None)
        answer = json.loads(body) if body.startswith(b"{") else {}
        if "jsonrpc" not in answer:  # the server refused the request before the protocol saw it
            reason = answer.get("detail") or answer.get("title") or f"status {status}"
            return _make_error(identity, INTERNAL_ERROR, f"The server refused the request: {reason}")
        if message["method"] == "initialize" and isinstance(answer.get("result"), dict):
            self._version = answer["result"].get("protocolVersion")
        return body

    def _make_headers(self, server: Server, message: Json) -> dict[str, str]:
        headers = {
            "Host": server.authority,
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
        }
        if server.token:
            headers["Authorization"] = f"Bearer {server.token}"
        params = message.get("params")
        params = params if isinstance(params, dict) else {}
        meta = params.get("_meta")
        version = meta.get(VERSION_META) if isinstance(meta, dict) else None
        if isinstance(version, str):
            headers["Mcp-Method"] = _as_header(message["method"])
            named = params.get(ROUTED_BY.get(message["method"], ""))
            if isinstance(named, str):
                headers["Mcp-Name"] = _as_header(named)
        elif message["method"] != "initialize":
            version = self._version
        if isinstance(version, str):
            headers["MCP-Protocol-Version"] = _as_header(version)
        return headers

    def _write_error(self, identity: object, code: int, text: str) -> None:
        self._write(_make_error(identity, code, text))

    def _write(self, message: bytes) -> None:
        """Write one message on one line; a client that has closed the pipe reads nothing more."""
        with self._writing, contextlib.suppress(BrokenPipeError):
            self._output.write(message.replace(b"\n", b" ").rstrip() + b"\n")
            self._output.flush()


def parse_options(arguments: Sequence[str]) -> tuple[str, str] | None:
    """Return the project's root and the state directory, "" for an option that is not given.

    Args:
        arguments: The arguments after `agent-brain mcp`.

    Returns:
        `None` if the arguments are not just these options with usable values: Click then writes the help or the error.
    """
    values = dict.fromkeys(PATH_OPTIONS, "")
    rest = list(arguments)
    while rest:
        name, has_value, value = rest.pop(0).partition("=")
        if name not in values or not (has_value or rest):
            return None
        values[name] = value if has_value else rest.pop(0)
        if not values[name]:
            return None
    root, state_dir = values.values()
    return None if root and not os.path.isdir(root) else (root, state_dir)


def serve(project_root: str, state_dir: str) -> None:
    """Relay between stdin and stdout until the end of input.

    Args:
        project_root: Root of the project; "" finds it from the current directory.
        state_dir: Directory of the server's files; "" is the default one.
    """
    # nothing but the protocol may be written to stdout: whatever else is printed goes to stderr
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as output:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        Relay(ServerFinder(project_root, state_dir), sys.stdin.buffer, output).run()


def _make_error(identity: object, code: int, text: str) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": identity, "error": {"code": code, "message": text}}).encode()


def _as_header(value: str) -> str:
    """Return a value that a header can carry; the server rejects one that does not match the body."""
    return "".join(letter for letter in value if letter.isprintable() and letter.isascii())
