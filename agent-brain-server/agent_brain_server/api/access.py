"""Who may ask: no web page, no other user.

Three questions, cheapest first. `Host` must name this machine (a page whose DNS name was rebound to 127.0.0.1 sends its
own name). Where a browser says which page asks, it must be this server's own: `Origin`, and `Sec-Fetch-Site`, which
comes with requests that have no `Origin`, such as an image's. Beyond `/health`, the caller shows the token of
`runtime.json`, or the connecting socket belongs to the user who runs the server.
"""

import hmac
import ipaddress
import re

from starlette.datastructures import Headers
from starlette.types import Scope

from agent_brain_server.api.connection_guard import ConnectionGuard, Peer
from agent_brain_server.errors import AgentBrainError, ForbiddenError, UnauthorizedError

OPEN_PATHS = frozenset({"/health"})
"""Answered without credentials: it tells that a server is there and which, and nothing of the project."""


PEER_KEY = "peer"
"""Key in the scope's `state` of the `Peer` that the requests of one connection share."""

OWN_SITES = frozenset({"same-origin", "none"})
"""What a browser calls this server's own pages, and an address that somebody typed (W3C, Fetch Metadata)."""

HOST = re.compile(r"(?:\[(?P<six>[0-9a-z:.%]+)\]|(?P<name>[0-9a-z_.-]+))(?::[0-9]{1,5})?", re.ASCII | re.IGNORECASE)
"""A host name or address, maybe with a port (RFC 9110, 7.2): no user, no path, nothing that readers differ about."""


class AccessPolicy:
    """Decides whether a request is answered.

    Args:
        token: The server's secret; `None` if only the user counts.
        bind_host: The address that the server listens on.
        guard: Knows whose connection it is, and delays the answers to strangers.
    """

    def __init__(self, token: str | None, bind_host: str, guard: ConnectionGuard) -> None:
        self._token = token.encode() if token else None
        self._names = {"localhost", bind_host.lower()}
        self._guard = guard

    async def check(self, scope: Scope) -> None:
        """Return if the request may be answered.

        Raises:
            ForbiddenError: The Host or the Origin is not this server.
            UnauthorizedError: Neither token nor user is right.
        """
        headers = Headers(scope=scope)
        peer = _find_peer(scope)
        refusal: AgentBrainError | None = self._find_foreign_site(headers)
        if refusal is None and self._has_token(headers):
            self._guard.trust(peer)
            return
        if refusal is None and scope["path"] not in OPEN_PATHS and not await self._guard.is_own(peer):
            refusal = UnauthorizedError("The request shows no right to ask.")
        if not peer.is_own:
            await self._guard.await_turn(peer)
        if refusal is not None:
            raise refusal

    def _find_foreign_site(self, headers: Headers) -> ForbiddenError | None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_own_host(hosts[0]):
            return ForbiddenError("The Host header does not name this server.", code="foreign_host")
        is_own_page = all(self._is_own_origin(origin, hosts[0]) for origin in headers.getlist("origin"))
        if not is_own_page or not OWN_SITES.issuperset(headers.getlist("sec-fetch-site")):
            return ForbiddenError("Requests from other web pages are not answered.", code="foreign_origin")
        return None

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


def _find_peer(scope: Scope) -> Peer:
    peer = scope.get("state", {}).get(PEER_KEY)
    return peer if isinstance(peer, Peer) else Peer(scope.get("client"), scope.get("server"))


def _is_address(name: str, *, version: int) -> bool:
    # an address can't be rebound: only a name can be made to point somewhere else
    try:
        return ipaddress.ip_address(name).version == version
    except ValueError:
        return False
