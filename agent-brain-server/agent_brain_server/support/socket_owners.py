"""Find which user owns the client's end of a loopback connection, by asking the Linux kernel.

`SocketDiag` asks for the one socket over netlink (sock_diag(7)), which takes some ten microseconds however many sockets
there are, so it may be called on the event loop. Some sandboxes lack it. `SocketTables` is the slower substitute: it
reads `/proc/net/tcp` and `tcp6`, which list every socket (proc(5)), in a thread and at a bounded rate.
"""

import asyncio
import contextlib
import errno
import ipaddress
import logging
import os
import re
import socket
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

logger = logging.getLogger(__name__)

Address = tuple[str, int]
Ends = tuple[Address, Address]
"""Local and remote address of a socket."""

NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY = 20
NLMSG_ERROR = 2
NLM_F_REQUEST = 1
ANY_COOKIE = b"\xff" * 8
MAX_REPLY_BYTES = 8192
MAX_REPLIES = 8
"""Replies that are read for one request; more than one arrives only after an earlier request failed half-way."""

NETLINK_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence number, sender's port
DIAG_REQUEST = struct.Struct("=BBBxI")  # family, protocol, extensions, states
SOCKET_ID = struct.Struct("!HH16s16s4x8s")  # both ports, both addresses, any interface, cookie
ERROR_NUMBER = struct.Struct("=i")
REPLY_STATE = struct.Struct("=BB")  # the beginning of inet_diag_msg: family, state
REPLY_ENDS = struct.Struct("!4xHH16s16s")
REPLY_OWNER = struct.Struct("=64xII")  # user id and inode, after the ends, the cookie and three counters

CONNECTED_STATES = frozenset({1, 4, 5, 8})
"""ESTABLISHED, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT: the states in which a client may wait for an answer."""

TABLES = {socket.AF_INET: "/proc/net/tcp", socket.AF_INET6: "/proc/net/tcp6"}
OVERFLOW_UID_FILE = "/proc/sys/kernel/overflowuid"
DEFAULT_OVERFLOW_UID = 65534

TABLE_PAUSE_FACTOR = 4
"""A read of the tables is followed by a pause of so many times its own length: at most a fifth of one core."""


def read_overflow_uid() -> int:
    """Return the user id that stands for every user who does not exist in this user namespace."""
    try:
        return int(Path(OVERFLOW_UID_FILE).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return DEFAULT_OVERFLOW_UID


class SocketOwners:
    """Find the owners of clients' sockets, with netlink where the kernel answers it and with the tables elsewhere."""

    def __init__(self) -> None:
        self._diag: SocketDiag | None = None
        self._tables = SocketTables()

    def open(self) -> None:
        """Open the netlink socket, if the kernel has what it takes."""
        self._diag = SocketDiag.open()
        if self._diag is None:
            logger.info("The kernel does not answer sock_diag: socket owners are read from /proc/net/tcp")

    def find_now(self, local: Address, remote: Address) -> int | None:
        """Return the user id that owns the socket `local` → `remote`, or `None` if there is no such open socket.

        Args:
            local: Address and port of the socket whose owner is asked for (the client's).
            remote: The address it is connected to (the server's).

        Raises:
            OSError: The kernel does not answer; `find` does.
        """
        if self._diag is None:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return self._diag.find(_normalize(local), _normalize(remote))

    async def find(self, local: Address, remote: Address) -> int | None:
        """Return the same as `find_now`, from the tables where the kernel does not answer."""
        try:
            return self.find_now(local, remote)
        except OSError:
            return await self._tables.find(_normalize(local), _normalize(remote))

    def close(self) -> None:
        """Close the netlink socket and end the thread that reads the tables."""
        if self._diag is not None:
            self._diag.close()
            self._diag = None
        self._tables.close()


class SocketDiag:
    """A netlink socket that asks for single TCP sockets.

    Args:
        connection: A netlink socket of the sock_diag family.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._sequence = 0

    @classmethod
    def open(cls) -> Self | None:
        """Open one and try it on a connection of this process; return `None` if the kernel does not answer.

        A kernel without the module `tcp_diag` answers as if there were no socket, so it is asked for a known one.
        """
        try:
            kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
            diag = cls(socket.socket(socket.AF_NETLINK, kind, NETLINK_SOCK_DIAG))
        except (OSError, AttributeError):  # not permitted; another system
            return None
        with contextlib.suppress(OSError):
            if diag.finds_own_connection():
                return diag
        diag.close()
        return None

    def finds_own_connection(self) -> bool:
        """Return whether the kernel finds a socket that certainly exists.

        Raises:
            OSError: It does not answer at all.
        """
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address = listener.getsockname()
            with socket.create_connection(address) as client:
                return self.find(client.getsockname(), address) is not None

    def find(self, local: Address, remote: Address) -> int | None:
        """Return the user id that owns the socket `local` → `remote`, or `None` if there is no such open socket.

        Raises:
            OSError: The kernel does not answer.
        """
        self._sequence = (self._sequence + 1) & 0xFFFFFFFF
        self._connection.sendto(_build_request(self._sequence, local, remote), (0, 0))
        for _ in range(MAX_REPLIES):
            reply, (sender, _groups) = self._connection.recvfrom(MAX_REPLY_BYTES)
            _, kind, _, sequence, _ = NETLINK_HEADER.unpack_from(reply)
            if sender == 0 and sequence == self._sequence:
                body = reply[NETLINK_HEADER.size :]
                if kind != NLMSG_ERROR:
                    return _parse_reply(body, (local, remote))
                _raise_error(body)
                return None
        raise OSError("the kernel answered another request")

    def close(self) -> None:
        """Close the socket."""
        self._connection.close()


class SocketTables:
    """Read the tables of all sockets in a thread, one read for everyone who waits, with a pause after each."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, "socket tables")
        self._turn = asyncio.Lock()
        self._next: asyncio.Task[dict[Ends, int | None]] | None = None
        self._free_at = 0.0

    async def find(self, local: Address, remote: Address) -> int | None:
        """Return the user id that owns the socket `local` → `remote`, by tables read after this call."""
        if self._next is None:
            self._next = asyncio.create_task(self._read(remote[1]))
        owners = await asyncio.shield(self._next)
        return owners.get((local, remote))

    def close(self) -> None:
        """End the thread."""
        self._executor.shutdown(wait=False)

    async def _read(self, port: int) -> dict[Ends, int | None]:
        loop = asyncio.get_running_loop()
        async with self._turn:
            await asyncio.sleep(self._free_at - loop.time())
            self._next = None  # a request that arrives from here on needs a later read
            began = loop.time()
            try:
                return await loop.run_in_executor(self._executor, read_socket_tables, port)
            finally:
                ended = loop.time()
                self._free_at = ended + TABLE_PAUSE_FACTOR * (ended - began)


def read_socket_tables(port: int) -> dict[Ends, int | None]:
    """Return the owner of every socket that is connected to a port, by its addresses.

    Args:
        port: Remote port; a server listens on one port only.
    """
    wanted = re.compile(rb":[0-9A-F]{4} [0-9A-F]+:%04X " % port)
    owners: dict[Ends, int | None] = {}
    for family, path in TABLES.items():
        with contextlib.suppress(OSError), Path(path).open("rb") as table:
            for line in table:
                if wanted.search(line):
                    owners.update(_parse_row(family, line.split()))
    return owners


def _parse_row(family: socket.AddressFamily, fields: list[bytes]) -> Iterator[tuple[Ends, int | None]]:
    ends = (_decode_row_address(family, fields[1]), _decode_row_address(family, fields[2]))
    yield ends, _read_owner(state=int(fields[3], 16), uid=int(fields[7]), inode=int(fields[9]))


def _decode_row_address(family: socket.AddressFamily, text: bytes) -> Address:
    # the kernel prints each 32-bit word of the address in the machine's byte order, and the port in the network's
    address, _, port = text.partition(b":")
    words = [int(address[start : start + 8], 16) for start in range(0, len(address), 8)]
    return _normalize((socket.inet_ntop(family, struct.pack(f"={len(words)}I", *words)), int(port, 16)))


def _build_request(sequence: int, local: Address, remote: Address) -> bytes:
    family = socket.AF_INET6 if ":" in local[0] else socket.AF_INET
    packed = [socket.inet_pton(family, end[0]).ljust(16, b"\0") for end in (local, remote)]
    request = DIAG_REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0xFFFFFFFF)
    request += SOCKET_ID.pack(local[1], remote[1], *packed, ANY_COOKIE)
    header = NETLINK_HEADER.pack(NETLINK_HEADER.size + len(request), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, sequence, 0)
    return header + request


def _raise_error(message: bytes) -> None:
    """Raise the error that the kernel reports, unless it is that there is no such socket."""
    number = -ERROR_NUMBER.unpack_from(message)[0]
    if number != errno.ENOENT:
        raise OSError(number, os.strerror(number))


def _parse_reply(message: bytes, ends: Ends) -> int | None:
    """Return the owner from an `inet_diag_msg`, unless the kernel found another socket (a listening one)."""
    family, state = REPLY_STATE.unpack_from(message)
    local_port, remote_port, *packed = REPLY_ENDS.unpack_from(message)
    length = 4 if family == socket.AF_INET else 16
    local, remote = (socket.inet_ntop(family, host[:length]) for host in packed)
    uid, inode = REPLY_OWNER.unpack_from(message)
    found = (_normalize((local, local_port)), _normalize((remote, remote_port)))
    return _read_owner(state, uid, inode) if found == ends else None


def _read_owner(state: int, uid: int, inode: int) -> int | None:
    """Return the owner of a socket that its process still holds.

    A socket that was closed remains for a while, without an inode; some kernels then list it as root's.
    """
    return uid if inode and state in CONNECTED_STATES else None


def _normalize(address: Address) -> Address:
    """Return the IPv4 address behind an IPv4-mapped IPv6 one (RFC 4291, 2.5.5.2); others are returned unchanged."""
    if ":" not in address[0]:
        return address[0], address[1]
    mapped = ipaddress.IPv6Address(address[0]).ipv4_mapped
    return (str(mapped), address[1]) if mapped else (address[0], address[1])
