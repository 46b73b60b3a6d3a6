"""Which user owns the other end of a loopback connection, by Linux's own tables.

`/proc/net/tcp` lists every IPv4 socket with both addresses and the owner's user id (`tcp6` the IPv6 ones); proc(5).
"""

import socket
import struct
from collections.abc import Iterator
from pathlib import Path

Address = tuple[str, int]

TABLES = {socket.AF_INET: "/proc/net/tcp", socket.AF_INET6: "/proc/net/tcp6"}
NO_INODE = "0"
"""A socket that its process has closed lives on for a while; some kernels then list it as root's, whosever it was."""

MAPPED_PREFIX = bytes(10) + b"\xff\xff"
"""An IPv6 socket shows an IPv4 peer behind these twelve bytes (RFC 4291, 2.5.5.2)."""


def find_socket_owner(local: Address, remote: Address) -> int | None:
    """Return the user id that owns the socket `local` → `remote`; None where no table lists it as somebody's.

    Args:
        local: Address and port of the socket whose owner is asked for (the client's).
        remote: The address that it is connected to (the server's).
    """
    for family, ends in _possible_encodings(local, remote):
        for line in _read_table(family):
            fields = line.split()
            if (fields[1], fields[2]) == ends:
                return int(fields[7]) if fields[9] != NO_INODE else None
    return None


def _possible_encodings(local: Address, remote: Address) -> Iterator[tuple[socket.AddressFamily, tuple[str, str]]]:
    if ":" in local[0]:
        yield socket.AF_INET6, (_encode(socket.AF_INET6, local), _encode(socket.AF_INET6, remote))
        return
    yield socket.AF_INET, (_encode(socket.AF_INET, local), _encode(socket.AF_INET, remote))
    yield socket.AF_INET6, (_encode_mapped(local), _encode_mapped(remote))


def _encode(family: socket.AddressFamily, address: Address) -> str:
    return _format(socket.inet_pton(family, address[0]), address[1])


def _encode_mapped(address: Address) -> str:
    return _format(MAPPED_PREFIX + socket.inet_pton(socket.AF_INET, address[0]), address[1])


def _format(packed: bytes, port: int) -> str:
    # the kernel prints each 32-bit word of the address in the machine's byte order, the port in the network's
    words = struct.unpack(f"={len(packed) // 4}I", packed)
    return "".join(f"{word:08X}" for word in words) + f":{port:04X}"


def _read_table(family: socket.AddressFamily) -> list[str]:
    try:
        return Path(TABLES[family]).read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return []
