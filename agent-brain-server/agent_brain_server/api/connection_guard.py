"""Limit what clients that have not shown a right to ask can occupy: connections, and answers per second.

Every user of the machine can connect to a loopback port. A client is *trusted* once it has shown the token, or when its
socket belongs to the user who runs the server. All others together have a fixed number of connections, of which the
oldest is closed for a new one, and are answered at a fixed rate, so that they cannot slow the owner down.
"""

import asyncio
import ipaddress
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from agent_brain_server.api.peer import Address, SocketOwners, read_overflow_uid
from agent_brain_server.errors import UnauthorizedError

MAX_UNTRUSTED = 256
"""Connections; a client with a token sends it within milliseconds, long before 256 others have connected."""

UNTRUSTED_ANSWERS_PER_S = 100.0
"""An answer takes the event loop about half a millisecond: at most a twentieth of a core."""

UNTRUSTED_BURST = 20
"""Answers without a delay after a pause: a probe of `/health`, or an agent that forgot the token, waits for nothing."""

MAX_DELAY_S = 2.0
"""Longest delay of an answer: clients that are further behind are cut off, so that no queue grows without end."""

LOOPBACK = frozenset({"127.0.0.1", "::1"})


@dataclass(slots=True, eq=False)
class Peer:
    """The client of one connection.

    Attributes:
        client: Its address and port; `None` if the transport does not tell.
        server: The address and port that it connected to.
        is_own: Whether its socket belongs to the user who runs the server; `None` until that was looked up.
    """

    client: Address | None
    server: Address | None
    is_own: bool | None = None


class ConnectionGuard:
    """Knows which connections are trusted, and bounds the others.

    Args:
        max_untrusted: Connections at once.
        answers_per_s: Answers to all untrusted clients together.
        uid: The user who is trusted; the one who runs the server by default.
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
        """Prepare to look up the owners of sockets."""
        self._owners.open()

    def close(self) -> None:
        """Release what looking up took."""
        self._owners.close()

    def enter(self, peer: Peer, cut: Callable[[], None]) -> None:
        """Note a new connection; if it exceeds the limit, the oldest untrusted one is closed.

        Args:
            peer: The client.
            cut: Closes the connection.
        """
        self._identify_now(peer)
        if peer.is_own:
            return
        self._untrusted[peer] = cut
        if len(self._untrusted) > self._max_untrusted:
            self._untrusted.pop(next(iter(self._untrusted)))()

    def leave(self, peer: Peer) -> None:
        """Forget a connection that has ended."""
        self._untrusted.pop(peer, None)

    def trust(self, peer: Peer) -> None:
        """Except a connection from the limits, because its client has shown the token."""
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
        """Wait until an untrusted client may be answered; the owner waits only where sockets cannot be told apart.

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
        self.cut(peer)
        raise UnauthorizedError("Too many clients without a token are waiting.")

    def may_answer_now(self) -> bool:
        """Return whether an untrusted client may be answered at once; if so, that counts as an answer."""
        if self._next_answer > time.monotonic():
            return False
        self._book_answer()
        return True

    def cut(self, peer: Peer) -> None:
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
        """Whether a user id is that of the user who runs the server, and of no one else.

        The overflow uid stands for all users who do not exist in this user namespace, so it identifies none of them.
        """
        return uid is not None and uid == self._uid and uid != self._overflow_uid


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
