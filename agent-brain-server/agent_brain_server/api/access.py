"""Decide which requests are answered, and limit what clients without credentials can occupy.

`AccessPolicy` makes three checks, cheapest first. `Host` must name this machine: a page whose DNS name was rebound to
127.0.0.1 sends its own name. If a browser names the page that sends the request, in `Origin` or in `Sec-Fetch-Site`
(sent with requests that have no `Origin`, such as those for images), it must be a page of this server. Beyond
`/health`, the client sends the token of `runtime.json`, or its socket belongs to the user who runs the server.

Every user of the machine can connect to a loopback port. `ConnectionGuard` calls a client *trusted* once it has sent
the token, or if its socket belongs to the owner. All others together have a fixed number of connections, of which the
oldest is closed for a new one, and are answered at a fixed rate, so that they cannot slow the owner down.
"""

import asyncio
import hmac
import ipaddress
import math
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import Scope

from agent_brain_server.errors import AgentBrainError, ForbiddenError, UnauthorizedError
from agent_brain_server.support.socket_owners import Address, SocketOwners, read_overflow_uid

OPEN_PATHS = frozenset({"/health"})
"""Answered without credentials: it identifies the server and reveals nothing about the project."""

PEER_KEY = "peer"
"""Key in the scope's `state` of the `Peer` that all requests of a connection share."""

OWN_SITES = frozenset({"same-origin", "none"})
"""`Sec-Fetch-Site` of this server's own pages, and of an address that the user typed (W3C, Fetch Metadata)."""

HOST = re.compile(r"(?:\[(?P<six>[0-9a-z:.%]+)\]|(?P<name>[0-9a-z_.-]+))(?::[0-9]{1,5})?", re.ASCII | re.IGNORECASE)
"""A host name or address with an optional port (RFC 9110, 7.2): no user, no path, nothing that parsers disagree on."""

MAX_UNTRUSTED = 256
"""Connections; a client with a token sends it within milliseconds, long before 256 others have connected."""

UNTRUSTED_ANSWERS_PER_S = 100.0
"""An answer takes the event loop about half a millisecond: at most a twentieth of a core."""

UNTRUSTED_BURST = 20
"""Answers without a delay after a pause, so that single probes of `/health` and forgotten tokens are never delayed."""

MAX_DELAY_S = 2.0
"""Longest delay of an answer; clients further behind are disconnected, so that the queue is bounded."""

LOOPBACK = frozenset({"127.0.0.1", "::1"})


@dataclass(slots=True, eq=False)
class Peer:
    """The client of one connection.

    Attributes:
        client: Its address and port; `None` if the transport does not know.
        server: The address and port that it connected to.
        is_own: Whether its socket belongs to the user who runs the server; `None` until that was looked up.
        unanswered: Requests of the connection that the application has received and not answered yet.
    """

    client: Address | None
    server: Address | None
    is_own: bool | None = None
    unanswered: int = 0


def find_peer(scope: Scope) -> Peer:
    """Return the client of a request; requests of one connection share it."""
    peer = scope.get("state", {}).get(PEER_KEY)
    return peer if isinstance(peer, Peer) else Peer(scope.get("client"), scope.get("server"))


class ConnectionGuard:
    """Track which connections are trusted, and limit the others.

    Args:
        max_untrusted: Maximum number of untrusted connections.
        answers_per_s: Answers to all untrusted clients together.
        uid: The user who is trusted; by default the one who runs the server.
    """

    def __init__(
        self,
        *,
        max_untrusted: int = MAX_UNTRUSTED,
        answers_per_s: float = UNTRUSTED_ANSWERS_PER_S,
        uid: int | None = None,
    ) -> None:
        self._owners = SocketOwners()
        self._max_untrusted = max_untrusted
        self._interval_s = 1 / answers_per_s
        self._uid = os.getuid() if uid is None else uid
        self._overflow_uid = read_overflow_uid()
        self._untrusted: dict[Peer, Callable[[], None]] = {}
        self._next_answer = -math.inf

    def open(self) -> None:
        """Open the connection to the kernel that looks up the owners of sockets."""
        self._owners.open()

    def close(self) -> None:
        """Close the connection to the kernel."""
        self._owners.close()

    def enter(self, peer: Peer, abort: Callable[[], None]) -> None:
        """Register a new connection; if it exceeds the limit, the oldest untrusted one is closed.

        Args:
            peer: The client.
            abort: Closes the connection.
        """
        self._identify_now(peer)
        if peer.is_own:
            return
        self._untrusted[peer] = abort
        if len(self._untrusted) > self._max_untrusted:
            self._untrusted.pop(next(iter(self._untrusted)))()

    def leave(self, peer: Peer) -> None:
        """Remove a connection that has ended."""
        self._untrusted.pop(peer, None)

    def trust(self, peer: Peer) -> None:
        """Exempt a connection from the limits, because its client has sent the token."""
        self._untrusted.pop(peer, None)

    def is_untrusted(self, peer: Peer) -> bool:
        """Return whether a connection is open and limited."""
        return peer in self._untrusted

    async def is_own(self, peer: Peer) -> bool:
        """Return whether the client's socket belongs to the user who runs the server; looked up once per connection."""
        if peer.is_own is None:
            peer.is_own = await self._look_up(peer)
        if peer.is_own:
            self.trust(peer)
        return peer.is_own

    async def await_turn(self, peer: Peer) -> None:
        """Wait until an untrusted client may be answered; the owner waits only if the kernel cannot identify sockets.

        Raises:
            UnauthorizedError: Too many clients wait; this one's connection is closed.
        """
        delay_s = self._book_answer()
        if delay_s <= 0:
            return
        if peer.is_own is None and await self.is_own(peer):
            return
        if delay_s <= MAX_DELAY_S:
            await asyncio.sleep(delay_s)
            return
        self.abort(peer)
        raise UnauthorizedError("Too many clients without a token are waiting.")

    def may_answer_now(self) -> bool:
        """Return whether an untrusted client may be answered at once; if so, that counts as an answer."""
        if self._next_answer > time.monotonic():
            return False
        self._book_answer()
        return True

    def abort(self, peer: Peer) -> None:
        """Close the connection of an untrusted client."""
        close = self._untrusted.pop(peer, None)
        if close is not None:
            close()

    def _book_answer(self) -> float:
        """Reserve the next answer to an untrusted client; return the seconds until then."""
        now = time.monotonic()
        first = max(self._next_answer, now - UNTRUSTED_BURST * self._interval_s)
        self._next_answer = min(first, now + MAX_DELAY_S) + self._interval_s
        return self._next_answer - now

    def _identify_now(self, peer: Peer) -> None:
        if not _is_local(peer):
            peer.is_own = False
        elif peer.client and peer.server:
            try:
                peer.is_own = self._is_trusted_uid(self._owners.find_now(peer.client, peer.server))
            except OSError:  # the tables are read only for a request without a token
                peer.is_own = None

    async def _look_up(self, peer: Peer) -> bool:
        if not _is_local(peer) or not peer.client or not peer.server:
            return False
        return self._is_trusted_uid(await self._owners.find(peer.client, peer.server))

    def _is_trusted_uid(self, uid: int | None) -> bool:
        """Return whether a user id belongs to the user who runs the server and to no other.

        The overflow uid represents all users who do not exist in this user namespace, so it identifies none of them.
        """
        return uid is not None and uid == self._uid and uid != self._overflow_uid


class AccessPolicy:
    """Decide whether a request is answered.

    Args:
        token: The server's secret; `None` if only the user counts.
        bind_host: The address that the server listens on.
        guard: Identifies the owner of a connection, and delays the answers to untrusted clients.
    """

    def __init__(self, token: str | None, bind_host: str, guard: ConnectionGuard) -> None:
        self._token = token.encode() if token else None
        self._names = {"localhost", bind_host.lower()}
        self._guard = guard

    async def check(self, scope: Scope, peer: Peer) -> None:
        """Return if the request may be answered.

        Raises:
            ForbiddenError: `Host` or `Origin` is not this server.
            UnauthorizedError: The token is missing or wrong, and the socket belongs to another user.
        """
        headers = Headers(scope=scope)
        refusal: AgentBrainError | None = self._find_foreign_site(headers)
        if refusal is None and self._has_token(headers):
            self._guard.trust(peer)
            return
        if refusal is None and scope["path"] not in OPEN_PATHS and not await self._guard.is_own(peer):
            refusal = UnauthorizedError("The request has no valid token and comes from another user.")
        if not peer.is_own:
            await self._guard.await_turn(peer)
        if refusal is not None:
            raise refusal

    def _find_foreign_site(self, headers: Headers) -> ForbiddenError | None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_own_host(hosts[0]):
            return ForbiddenError("The Host header does not name this server.", code="foreign_host")
        own_origin = f"http://{hosts[0].lower()}"
        is_own_page = all(origin.lower() == own_origin for origin in headers.getlist("origin"))
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

    def _has_token(self, headers: Headers) -> bool:
        if self._token is None:
            return False
        scheme, _, given = headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self._token)


def _is_address(name: str, *, version: int) -> bool:
    # an address cannot be rebound: only a name can be made to resolve to another machine
    try:
        return ipaddress.ip_address(name).version == version
    except ValueError:
        return False


def _is_local(peer: Peer) -> bool:
    if peer.client is None or peer.server is None:
        return False
    if peer.client[0] in LOOPBACK:
        return True
    try:
        address = ipaddress.ip_address(peer.client[0])
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
