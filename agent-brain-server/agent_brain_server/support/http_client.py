"""Send HTTP requests to our servers with the standard library, which imports quickly, and validate addresses."""

import http.client
import ipaddress
import json
import select
import time
from typing import Any, Protocol
from urllib.parse import urlsplit

from agent_brain_server.errors import DeadlineError, NotRunningError, ServerRefusedError

REQUEST_TIMEOUT_S = 30.0
HEALTH_TIMEOUT_S = 2.0  # a healthy server answers within 60 ms, even while it indexes
SILENCE_S = 1.5  # then `/health` is requested, which a busy server answers and a hung one does not
MAX_HEALTH_BYTES = 65_536  # another program may send an endless answer
FIRST_ERROR_STATUS = 400
HEALTH_PATH = "/health"
URL_SCHEMES = ("http", "https")


class _HungError(Exception):
    """The server answers neither the request nor `/health`."""


class ServerAddress(Protocol):
    """Address and credential of a server, such as a `RuntimeState`."""

    @property
    def base_url(self) -> str:
        """`http://host:port`."""

    @property
    def token(self) -> str | None:
        """Credential for `Authorization: Bearer`."""


def is_loopback(host: str) -> bool:
    """Return whether `host` is reachable only from this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def request_json(
    server: ServerAddress, method: str, path: str, body: object = None, *, timeout: float = REQUEST_TIMEOUT_S
) -> Any:  # noqa: ANN401 - JSON
    """Send a request and return the JSON of the answer, or `None` if it has no content.

    Args:
        server: The server; its token is sent.
        method: GET, POST, DELETE.
        path: Absolute path with its query string.
        body: A JSON value; `None` sends no body.
        timeout: Seconds for each step of connecting, sending and reading. A server that does not answer `/health`
            either fails after three seconds.

    Raises:
        NotRunningError: No server answers at that address.
        DeadlineError: No answer in time.
        ServerRefusedError: The answer is a problem document, or not JSON.
    """
    headers = {"Accept": "application/json"}
    if server.token:
        headers["Authorization"] = f"Bearer {server.token}"
    data = None
    if body is not None:
        headers["Content-Type"] = "application/json"
        data = json.dumps(body).encode()
    connection = _connect(server.base_url, timeout)
    asked = f"{method} {path.partition('?')[0]}"
    try:
        connection.request(method, path, body=data, headers=headers)
        _await_answer(connection, server.base_url, timeout)
        response = connection.getresponse()
        content = response.read()
    except _HungError as exc:
        raise DeadlineError(f"The server at {server.base_url} does not answer.", hint=_hung_hint(server)) from exc
    except TimeoutError as exc:
        raise DeadlineError(
            f"The server at {server.base_url} did not answer {asked} within {timeout:g} s.",
            hint="See what it is doing with: agent-brain logs. Then try again.",
        ) from exc
    except (OSError, http.client.HTTPException) as exc:
        raise NotRunningError(f"No server answers at {server.base_url}: {exc}.") from exc
    finally:
        connection.close()
    return _parse_answer(response.status, content, f"{method} {path}")


def _await_answer(connection: http.client.HTTPConnection, base_url: str, timeout: float) -> None:
    """Wait until the answer begins. Meanwhile a silent server must answer `/health`.

    Raises:
        _HungError: It does not answer `/health`.
        TimeoutError: It answers `/health`, but not the request in time.
    """
    if connection.sock is None:  # the server has already closed the connection
        return
    deadline = time.monotonic() + timeout
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    while not poll.poll(max(0.0, min(SILENCE_S, deadline - time.monotonic())) * 1000):
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        if fetch_instance_id(base_url, timeout=min(SILENCE_S, remaining)) is None and not poll.poll(0):
            raise _HungError


def _hung_hint(server: ServerAddress) -> str:
    option = " --mode shared" if getattr(server, "mode", None) == "shared" else ""
    return f"Wait and try again, or end it with: agent-brain stop{option} --force"


def fetch_instance_id(base_url: str, *, timeout: float = HEALTH_TIMEOUT_S) -> str | None:
    """Return the instance id of the server at `base_url`, or `None` if no Agent Brain server answers.

    No token is sent, because another program may have the address.
    """
    try:
        connection = _connect(base_url, timeout)
    except NotRunningError:
        return None
    try:
        connection.request("GET", HEALTH_PATH)
        document = json.loads(connection.getresponse().read(MAX_HEALTH_BYTES))
    except (OSError, http.client.HTTPException, ValueError, RecursionError):
        return None
    finally:
        connection.close()
    instance_id = document.get("instance_id") if isinstance(document, dict) else None
    return instance_id if isinstance(instance_id, str) else None


def _connect(base_url: str, timeout: float) -> http.client.HTTPConnection:
    try:
        address = urlsplit(base_url)
        host, port = address.hostname, address.port
    except ValueError as exc:
        raise NotRunningError(f"{base_url!r} is not a valid address: {exc}.") from exc
    if address.scheme != "http" or not host:
        raise NotRunningError(f"{base_url!r} is not the address of a server.")
    return http.client.HTTPConnection(host, port, timeout=timeout)


def _parse_answer(status: int, content: bytes, request: str) -> Any:  # noqa: ANN401 - JSON
    if not content:
        document = None
    else:
        try:
            document = json.loads(content)
        except (ValueError, RecursionError) as exc:
            raise ServerRefusedError(f"The answer to {request} is not JSON (status {status}).") from exc
    if status < FIRST_ERROR_STATUS:
        return document
    problem = document if isinstance(document, dict) else {}
    raise ServerRefusedError(
        str(problem.get("detail") or f"The server answered {request} with status {status}."),
        hint=_text_or_none(problem.get("hint")),
        code=_text_or_none(problem.get("code")),
    )


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None


def find_url_fault(url: str) -> str | None:
    """Return why a text is not the URL of a server without credentials, or `None` if it is one."""
    try:
        parts = urlsplit(url)
        has_host, _ = bool(parts.hostname), parts.port
    except ValueError:
        return "is not a URL"
    if parts.scheme not in URL_SCHEMES or not has_host:
        return "does not start with http:// or https:// and a host"
    if parts.username is not None or parts.password is not None:
        return "contains a user or a password"
    if parts.query or parts.fragment:
        return "has a query or a fragment"
    return None


def find_chroma_fault(url: str, token: str | None) -> str | None:
    """Return why a Chroma server cannot be used with a token, or `None` if it can.

    Args:
        url: Address of the server, with tenant and database as its path if they are not the default ones.
        token: Credential for the server.
    """
    if fault := find_url_fault(url):
        # the URL is not quoted, because it may contain a password
        return f"chroma_url {fault}"
    parts = urlsplit(url)
    names = parts.path.strip("/").split("/") if parts.path.strip("/") else []
    if len(names) not in (0, 2) or "" in names:
        return "chroma_url has a path other than /TENANT/DATABASE"
    if token is not None and parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        return "chroma_url must start with https:// if a token is sent to another machine"
    return None
