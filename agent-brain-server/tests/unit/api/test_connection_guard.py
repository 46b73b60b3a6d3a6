"""Clients that have not shown a right to ask are limited, whatever they do; the owner is not."""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent_brain_server.api import connection_guard
from agent_brain_server.api.connection_guard import UNTRUSTED_BURST, ConnectionGuard, Peer
from agent_brain_server.api.peer import read_overflow_uid
from agent_brain_server.errors import UnauthorizedError

LIMIT_S = 120

NAMESPACE_SCRIPT = """
import asyncio, json, os, socket
from agent_brain_server.api.connection_guard import ConnectionGuard, Peer
from agent_brain_server.api.peer import SocketOwners

async def look_up():
    guard, owners = ConnectionGuard(), SocketOwners()
    guard.open(), owners.open()
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        ends = (client.getsockname(), listener.getsockname())
        shown = await owners.find(*ends) == os.getuid()
        return {"shown_as_this_user": shown, "is_own": await guard.is_own(Peer(*ends))}

print(json.dumps(asyncio.run(look_up())))
"""
"""Run where no user has a name: the kernel shows every one of them, this one included, as the overflow uid."""


@pytest.fixture
def own_peer() -> Iterator[Peer]:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as client,
    ):
        yield Peer(client.getsockname(), listener.getsockname())


@pytest.fixture
def guard() -> Iterator[ConnectionGuard]:
    guard = ConnectionGuard(max_untrusted=3)
    guard.open()
    yield guard
    guard.close()


def stranger(number: int) -> Peer:
    return Peer(("192.0.2.7", number), ("127.0.0.1", 8000))


def test_oldest_untrusted_connection_is_closed(guard: ConnectionGuard) -> None:
    closed: list[int] = []
    for number in range(5):
        guard.enter(stranger(number), lambda number=number: closed.append(number))
    assert closed == [0, 1]


def test_trusted_and_ended_connections_do_not_count(guard: ConnectionGuard) -> None:
    closed: list[int] = []
    for number in range(12):
        peer = stranger(number)
        guard.enter(peer, lambda number=number: closed.append(number))
        (guard.trust if number % 2 else guard.leave)(peer)
    assert closed == []


def test_own_connection_does_not_count(guard: ConnectionGuard, own_peer: Peer) -> None:
    closed: list[str] = []
    guard.enter(own_peer, lambda: closed.append("own"))
    if own_peer.is_own is None:
        pytest.skip("this kernel has no sock_diag: the owner is known at the first request only")
    for number in range(5):
        guard.enter(stranger(number), lambda: None)
    assert own_peer.is_own
    assert closed == []


def test_owner_is_looked_up_once_per_connection(guard: ConnectionGuard, own_peer: Peer) -> None:
    assert asyncio.run(guard.is_own(own_peer))
    own_peer.client = ("127.0.0.1", 1)  # no such socket: only what is known already can answer
    assert asyncio.run(guard.is_own(own_peer))
    assert not asyncio.run(guard.is_own(Peer(own_peer.client, own_peer.server)))


@pytest.mark.parametrize("client", [("192.0.2.7", 1), ("not an address", 1), None])
def test_only_loopback_clients_are_looked_up(guard: ConnectionGuard, client: tuple[str, int] | None) -> None:
    assert not asyncio.run(guard.is_own(Peer(client, ("127.0.0.1", 8000))))


def test_overflow_uid_is_never_the_owner(monkeypatch: pytest.MonkeyPatch, own_peer: Peer) -> None:
    monkeypatch.setattr(connection_guard, "read_overflow_uid", os.getuid)
    guard = ConnectionGuard()
    guard.open()
    try:
        assert not asyncio.run(guard.is_own(own_peer))
    finally:
        guard.close()


def test_user_namespace_does_not_make_everyone_the_owner() -> None:
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-U", "true"], capture_output=True).returncode:
        pytest.skip("user namespaces cannot be made here")
    done = subprocess.run(
        [unshare, "-U", sys.executable, "-c", NAMESPACE_SCRIPT], capture_output=True, text=True, timeout=LIMIT_S
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"shown_as_this_user": True, "is_own": False}


def test_overflow_uid_is_the_kernels() -> None:
    path = Path("/proc/sys/kernel/overflowuid")
    assert read_overflow_uid() == int(path.read_text())


def test_untrusted_answers_wait_their_turn() -> None:
    guard = ConnectionGuard(answers_per_s=50)

    async def answer(count: int) -> float:
        began = asyncio.get_running_loop().time()
        await asyncio.gather(*(guard.await_turn(stranger(number)) for number in range(count)))
        return asyncio.get_running_loop().time() - began

    assert asyncio.run(answer(UNTRUSTED_BURST + 10)) >= 9 / 50  # a lower bound: a busy machine only adds to it


def test_client_far_behind_is_cut_off() -> None:
    guard = ConnectionGuard(answers_per_s=1)
    closed: list[int] = []

    async def answer(count: int) -> list[BaseException | None]:
        peers = [stranger(number) for number in range(count)]
        for number, peer in enumerate(peers):
            guard.enter(peer, lambda number=number: closed.append(number))
        return await asyncio.gather(*map(guard.await_turn, peers), return_exceptions=True)

    answers = asyncio.run(answer(UNTRUSTED_BURST + 10))
    refused = [number for number, answer in enumerate(answers) if isinstance(answer, UnauthorizedError)]
    assert closed == refused
    assert UNTRUSTED_BURST <= refused[0] < UNTRUSTED_BURST + 5
    assert refused[-1] == UNTRUSTED_BURST + 9


def test_owner_does_not_wait_behind_others(own_peer: Peer) -> None:
    guard = ConnectionGuard(answers_per_s=0.001)  # without `open`, as where the kernel has no sock_diag

    async def answer() -> None:
        while guard.may_answer_now():
            pass
        await guard.await_turn(own_peer)

    try:
        asyncio.run(answer())
    finally:
        guard.close()
