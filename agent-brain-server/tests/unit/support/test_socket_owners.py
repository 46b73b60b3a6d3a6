"""The kernel names the owner of a socket, over netlink and by its tables alike."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent_brain_server.support import socket_owners
from agent_brain_server.support.socket_owners import Address, SocketDiag, SocketOwners, SocketTables, read_socket_tables

pytestmark = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="only Linux has these tables")

FOREIGN_UID = 65533
LIMIT_S = 600.0
Find = Callable[[Address, Address], int | None]


def find_in_tables(local: Address, remote: Address) -> int | None:
    async def find() -> int | None:
        tables = SocketTables()
        try:
            return await tables.find(socket_owners._normalize(local), socket_owners._normalize(remote))
        finally:
            tables.close()

    return asyncio.run(find())


@pytest.fixture(params=["netlink", "tables"])
def find(request: pytest.FixtureRequest) -> Iterator[Find]:
    if request.param == "tables":
        yield find_in_tables
        return
    owners = SocketOwners()
    owners.open()
    try:
        if owners._diag is None:
            pytest.skip("this kernel has no sock_diag")
        yield owners.find_now
    finally:
        owners.close()


@pytest.mark.parametrize(
    ("host", "client_family", "client_host"),
    [
        ("127.0.0.1", socket.AF_INET, "127.0.0.1"),
        ("127.0.0.1", socket.AF_INET6, "::ffff:127.0.0.1"),
        ("::1", socket.AF_INET6, "::1"),
        ("::", socket.AF_INET, "127.0.0.1"),
    ],
)
def test_find_names_this_user(find: Find, host: str, client_family: socket.AddressFamily, client_host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, 0), family=family, dualstack_ipv6=host == "::")
    except OSError:
        pytest.skip(f"{host} cannot be bound here")
    with listener, socket.socket(client_family) as client:
        client.connect((client_host, listener.getsockname()[1]))
        accepted, seen = listener.accept()
        with accepted:
            server = accepted.getsockname()[:2]
            assert find(seen[:2], server) == os.getuid()
            assert find((seen[0], 1), server) is None


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_find_names_another_user(find: Find) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(LIMIT_S)
        script = (
            f"import encodings.idna, os, socket; os.setuid({FOREIGN_UID}); "
            f"socket.create_connection(('127.0.0.1', {listener.getsockname()[1]})).recv(1)"
        )
        with subprocess.Popen([sys.executable, "-c", script]):
            accepted, address = listener.accept()
            with accepted:
                assert find(address, listener.getsockname()) == FOREIGN_UID


def test_find_of_a_closed_socket_returns_none(find: Find) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        local = client.getsockname()
        accepted, _ = listener.accept()
        with accepted:
            client.close()  # the kernel keeps it until the other end closes too
            assert (local, listener.getsockname()) in read_socket_tables(listener.getsockname()[1])
            assert find(local, listener.getsockname()) is None


def test_find_of_a_half_closed_socket_names_its_owner(find: Find) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as client,
        listener.accept()[0],
    ):
        client.shutdown(socket.SHUT_WR)  # as `nc -N` does after its request
        assert find(client.getsockname(), listener.getsockname()) == os.getuid()


def test_find_of_a_listening_socket_returns_none(find: Find) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert find(listener.getsockname(), ("127.0.0.1", 1)) is None


def test_netlink_reads_no_table(monkeypatch: pytest.MonkeyPatch, find: Find, request: pytest.FixtureRequest) -> None:
    if find is find_in_tables:
        pytest.skip("the tables are what this is about")
    monkeypatch.setattr(socket_owners, "TABLES", {})
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as client,
    ):
        assert find(client.getsockname(), listener.getsockname()) == os.getuid()


def test_owners_without_netlink_come_from_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_owners, "NETLINK_SOCK_DIAG", 31)  # a netlink family that no kernel has
    assert SocketDiag.open() is None
    owners = SocketOwners()
    owners.open()
    try:
        with (
            socket.create_server(("127.0.0.1", 0)) as listener,
            socket.create_connection(listener.getsockname()) as client,
        ):
            ends = (client.getsockname(), listener.getsockname())
            with pytest.raises(OSError, match="not supported"):
                owners.find_now(*ends)
            assert asyncio.run(owners.find(*ends)) == os.getuid()
    finally:
        owners.close()


def test_tables_are_read_once_for_all_who_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    read = socket_owners.read_socket_tables
    monkeypatch.setattr(socket_owners, "read_socket_tables", lambda port: reads.append(port) or read(port))

    async def ask_at_once(ends: tuple[Address, Address]) -> list[int | None]:
        tables = SocketTables()
        try:
            return await asyncio.gather(*(tables.find(*ends) for _ in range(50)))
        finally:
            tables.close()

    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as client,
    ):
        found = asyncio.run(ask_at_once((client.getsockname(), listener.getsockname())))
    assert found == [os.getuid()] * 50
    assert len(reads) == 1
