"""Who may ask: no web page, no other user.

Three questions, cheapest first. `Host` must name this machine (a page whose DNS name was rebound to 127.0.0.1 sends its
own name). Where a browser says which page asks, it must be this server's own: `Origin`, and `Sec-Fetch-Site`, which
comes with requests that have no `Origin`, such as an image's. Beyond `/health`, the caller shows the token of
`runtime.json`, or the connecting socket belongs to the user who runs the server.
"""

import hmac
import ipaddress
import os
import re

from starlette.datastructures import Headers
from starlette.types import Scope

from agent_brain_server.api.peer import find_socket_owner
from agent_brain_server.errors import ForbiddenError, UnauthorizedError

OPEN_PATHS = frozenset({"/health"})
"""Answered without credentials: it tells that a server is there and which, and nothing of the project."""


CONNECTION_NOTE = "connection"
"""Key in the scope's `state` of a dictionary that the requests of one connection share."""

OWN_SITES = frozenset({"same-origin", "none"})
"""What a browser calls this server's own pages, and an address that somebody typed (W3C, Fetch Metadata)."""

HOST = re.compile(r"(?:\[(?P<six>[0-9a-z:.%]+)\]|(?P<name>[0-9a-z_.-]+))(?::[0-9]{1,5})?", re.ASCII | re.IGNORECASE)
"""A host name or address, maybe with a port (RFC 9110, 7.2): no user, no path, nothing that readers differ about."""


class AccessPolicy:
    """Decides whether a request is answered.

    Args:
        token: The server's secret; None where only the user counts.
        bind_host: The address that the server listens on.
    """

    def __init__(self, token: str | None, bind_host: str) -> None:
        self._token = token.encode() if token else None
        self._names = {"localhost", bind_host.lower()}
        self._uid = os.getuid()

    def check(self, scope: Scope) -> None:
        """Return if the request may be answered.

        Raises:
            ForbiddenError: The Host or the Origin is not this server.
            UnauthorizedError: Neither token nor user is right.
        """
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_own_host(hosts[0]):
            raise ForbiddenError("The Host header does not name this server.", code="foreign_host")
        is_own_page = all(self._is_own_origin(origin, hosts[0]) for origin in headers.getlist("origin"))
        if not is_own_page or not OWN_SITES.issuperset(headers.getlist("sec-fetch-site")):
            raise ForbiddenError("Requests from other web pages are not answered.", code="foreign_origin")
        if scope["path"] not in OPEN_PATHS and not (self._has_token(headers) or self._is_own_user(scope)):
            raise UnauthorizedError("The request shows no right to ask.")

    def _is_own_host(self, host: str) -> bool:
        match = HOST.fullmatch(host)
        if match is None:
            return False
        if match["six"]:
            return _is_address(match["six"], version=6)
        name = match["name"].lower()
        return name in self._names or _is_address(name, version=4)

    def _is_own_origin(self, origin: str, host: str) -> bool:
        return origin.lower() == f"http://{host.lower()}"

    def _has_token(self, headers: Headers) -> bool:
        if self._token is None:
            return False
        scheme, _, given = headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self._token)

    def _is_own_user(self, scope: Scope) -> bool:
        """Whether the connection is the owner's: looked up once for each, since a look-up takes some milliseconds."""
        note: dict[str, bool] = scope.get("state", {}).get(CONNECTION_NOTE, {})
        if "is_own" not in note:
            note["is_own"] = self._look_up_owner(scope)
        return note["is_own"]

    def _look_up_owner(self, scope: Scope) -> bool:
        client, server = scope.get("client"), scope.get("server")
        if client is None or server is None or not _is_loopback(client[0]):
            return False
        return find_socket_owner((client[0], client[1]), (server[0], server[1])) == self._uid


def _is_address(name: str, *, version: int) -> bool:
    # an address can't be rebound: only a name can be made to point somewhere else
    try:
        return ipaddress.ip_address(name).version == version
    except ValueError:
        return False


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
