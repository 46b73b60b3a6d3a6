"""Requests of web pages and other users are refused, and clients without credentials are limited."""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent_brain_server.api import access
from agent_brain_server.api.access import PEER_KEY, UNTRUSTED_BURST, AccessPolicy, ConnectionGuard, Peer, find_peer
from agent_brain_server.errors import ForbiddenError, UnauthorizedError
from agent_brain_server.support.socket_owners import read_overflow_uid

LIMIT_S = 600.0

NAMESPACE_SCRIPT = """
import asyncio, json, os, socket
from agent_brain_server.api.access import ConnectionGuard, Peer
from agent_brain_server.support.socket_owners import SocketOwners

async def look_up():
    guard, owners = ConnectionGuard(), SocketOwners()
    guard.open(), owners.open()
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        ends = (client.getsockname(), listener.getsockname())
        shown = await owners.find(*ends) == os.getuid()
        return {"shown_as_this_user": shown, "is_own": await guard.is_own(Peer(*ends))}

print(json.dumps(asyncio.run(look_up())))
"""
"""Run in a user namespace without users: the kernel shows all of them, this one included, as the overflow uid."""

TOKEN = "a secret of more than 16 characters"


def scope(path: str = "/query", client: tuple[str, int] = ("192.0.2.7", 5), **headers: str) -> dict[str, Any]:
    named = {"host": "127.0.0.1:8000", **{name.replace("_", "-"): value for name, value in headers.items()}}
    raw = [(name.encode(), value.encode("latin-1")) for name, value in named.items()]
    return {"type": "http", "path": path, "headers": raw, "client": client, "server": ("127.0.0.1", 8000)}


@pytest.fixture
def guard() -> Iterator[ConnectionGuard]:
    guard = ConnectionGuard()
    guard.open()
    yield guard
    guard.close()


@pytest.fixture
def policy(guard: ConnectionGuard) -> AccessPolicy:
    return AccessPolicy(TOKEN, "127.0.0.1", guard)


def check(policy: AccessPolicy, scope: dict[str, Any]) -> None:
    asyncio.run(policy.check(scope, find_peer(scope)))


@pytest.fixture
def own_connection() -> Iterator[dict[str, Any]]:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        yield scope(client=client.getsockname()) | {"server": listener.getsockname()}


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:8000", "localhost:8000", "LOCALHOST", "[::1]:8000", "[::1]", "[::ffff:127.0.0.1]:8000", "127.0.0.1"],
)
def test_check_accepts_names_of_this_machine(policy: AccessPolicy, host: str) -> None:
    check(policy, scope("/health", host=host))


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "", "[", "a@b", "evil@127.0.0.1",
        "evil.example@localhost", "evil.example:x@127.0.0.1:8000", "127.0.0.1/evil", "127.0.0.1#evil.example",
        "127.0.0.1?evil", "evil\\@127.0.0.1", "127.0.0.1:80:80", "127.0.0.1, evil.example", "localhost.", "127.1",
        "2130706433", "0x7f.0.0.1", "[evil.example]", "[127.0.0.1]", "::1", "[::1]evil.example", "[::1]:x",
        "loc\xe4lhost", " localhost", "localhost\t", "127.0.0.1:999999",
    ],
)  # fmt: skip
def test_check_refuses_a_rebound_name(policy: AccessPolicy, host: str) -> None:
    with pytest.raises(ForbiddenError) as refused:
        check(policy, scope("/health", host=host, authorization=f"Bearer {TOKEN}"))
    assert refused.value.code == "foreign_host"


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1:8000", "http://127.0.0.1:9"])
def test_check_refuses_a_foreign_origin_with_a_token(policy: AccessPolicy, origin: str) -> None:
    with pytest.raises(ForbiddenError) as refused:
        check(policy, scope(origin=origin, authorization=f"Bearer {TOKEN}"))
    assert refused.value.code == "foreign_origin"


@pytest.mark.parametrize("site", ["cross-site", "same-site", "", "same-origin, cross-site"])
def test_check_refuses_a_foreign_fetch_site(policy: AccessPolicy, site: str) -> None:
    with pytest.raises(ForbiddenError) as refused:
        check(policy, scope(sec_fetch_site=site, authorization=f"Bearer {TOKEN}"))
    assert refused.value.code == "foreign_origin"


@pytest.mark.parametrize("name", ["host", "origin"])
def test_check_refuses_a_repeated_header(policy: AccessPolicy, name: str) -> None:
    twice = scope(authorization=f"Bearer {TOKEN}", origin="http://127.0.0.1:8000")
    twice["headers"].append((name.encode(), b"http://evil.example"))
    with pytest.raises(ForbiddenError):
        check(policy, twice)


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_check_accepts_a_typed_address(policy: AccessPolicy, site: str) -> None:
    check(policy, scope(sec_fetch_site=site, authorization=f"Bearer {TOKEN}"))


def test_check_accepts_its_own_origin(policy: AccessPolicy) -> None:
    check(policy, scope(origin="http://127.0.0.1:8000", authorization=f"Bearer {TOKEN}"))


def test_check_accepts_the_token(policy: AccessPolicy) -> None:
    check(policy, scope(authorization=f"bearer {TOKEN}"))


@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer ü"]
)
def test_check_refuses_other_credentials(policy: AccessPolicy, given: str) -> None:
    with pytest.raises(UnauthorizedError):
        check(policy, scope(authorization=given))


def test_check_answers_health_without_credentials(policy: AccessPolicy) -> None:
    check(policy, scope("/health"))
    with pytest.raises(UnauthorizedError):
        check(policy, scope("/health/status"))


def test_check_accepts_a_socket_of_the_same_user(policy: AccessPolicy, own_connection: dict[str, Any]) -> None:
    check(policy, own_connection)


def test_check_without_a_token_refuses_an_empty_one(guard: ConnectionGuard) -> None:
    with pytest.raises(UnauthorizedError):
        check(AccessPolicy(None, "127.0.0.1", guard), scope(authorization="Bearer "))


def test_check_shares_the_owner_within_a_connection(policy: AccessPolicy, own_connection: dict[str, Any]) -> None:
    peer = Peer(own_connection["client"], own_connection["server"])
    own_connection["state"] = {PEER_KEY: peer}
    check(policy, own_connection)
    assert peer.is_own
    gone = own_connection | {"client": ("127.0.0.1", 1)}  # no such socket: only the cached owner can answer
    check(policy, gone)
    with pytest.raises(UnauthorizedError):
        check(policy, gone | {"state": {}})


@pytest.fixture
def own_peer() -> Iterator[Peer]:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as client,
    ):
        yield Peer(client.getsockname(), listener.getsockname())


@pytest.fixture
def small_guard() -> Iterator[ConnectionGuard]:
    guard = ConnectionGuard(max_untrusted=3)
    guard.open()
    yield guard
    guard.close()


def make_stranger(number: int) -> Peer:
    return Peer(("192.0.2.7", number), ("127.0.0.1", 8000))


def test_oldest_untrusted_connection_is_closed(small_guard: ConnectionGuard) -> None:
    aborted: list[int] = []
    for number in range(5):
        small_guard.enter(make_stranger(number), lambda number=number: aborted.append(number))
    assert aborted == [0, 1]


def test_trusted_and_ended_connections_do_not_count(small_guard: ConnectionGuard) -> None:
    aborted: list[int] = []
    for number in range(12):
        peer = make_stranger(number)
        small_guard.enter(peer, lambda number=number: aborted.append(number))
        (small_guard.trust if number % 2 else small_guard.leave)(peer)
    assert aborted == []


def test_own_connection_does_not_count(small_guard: ConnectionGuard, own_peer: Peer) -> None:
    aborted: list[str] = []
    small_guard.enter(own_peer, lambda: aborted.append("own"))
    if own_peer.is_own is None:
        pytest.skip("this kernel has no sock_diag: the owner is identified at the first request")
    for number in range(5):
        small_guard.enter(make_stranger(number), lambda: None)
    assert own_peer.is_own
    assert aborted == []


def test_owner_is_looked_up_once_per_connection(small_guard: ConnectionGuard, own_peer: Peer) -> None:
    assert asyncio.run(small_guard.is_own(own_peer))
    own_peer.client = ("127.0.0.1", 1)  # no such socket: only the cached owner can answer
    assert asyncio.run(small_guard.is_own(own_peer))
    assert not asyncio.run(small_guard.is_own(Peer(own_peer.client, own_peer.server)))


@pytest.mark.parametrize("client", [("192.0.2.7", 1), ("not an address", 1), None])
def test_only_loopback_clients_are_looked_up(small_guard: ConnectionGuard, client: tuple[str, int] | None) -> None:
    assert not asyncio.run(small_guard.is_own(Peer(client, ("127.0.0.1", 8000))))


def test_overflow_uid_is_never_the_owner(monkeypatch: pytest.MonkeyPatch, own_peer: Peer) -> None:
    monkeypatch.setattr(access, "read_overflow_uid", os.getuid)
    guard = ConnectionGuard()
    guard.open()
    try:
        assert not asyncio.run(guard.is_own(own_peer))
    finally:
        guard.close()


@pytest.mark.process
def test_user_namespace_does_not_make_everyone_the_owner() -> None:
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-U", "true"], capture_output=True).returncode:
        pytest.skip("user namespaces cannot be created here")
    done = subprocess.run(
        [unshare, "-U", sys.executable, "-c", NAMESPACE_SCRIPT], capture_output=True, text=True, timeout=LIMIT_S
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"shown_as_this_user": True, "is_own": False}


def test_read_overflow_uid_asks_the_kernel() -> None:
    path = Path("/proc/sys/kernel/overflowuid")
    assert read_overflow_uid() == int(path.read_text())


def test_untrusted_answers_wait_their_turn() -> None:
    guard = ConnectionGuard(answers_per_s=50)

    async def answer(count: int) -> float:
        began = asyncio.get_running_loop().time()
        await asyncio.gather(*(guard.await_turn(make_stranger(number)) for number in range(count)))
        return asyncio.get_running_loop().time() - began

    assert asyncio.run(answer(UNTRUSTED_BURST + 10)) >= 9 / 50  # a lower bound: a busy machine only adds to it


def test_client_far_behind_is_disconnected() -> None:
    guard = ConnectionGuard(answers_per_s=1)
    aborted: list[int] = []

    async def answer(count: int) -> list[BaseException | None]:
        peers = [make_stranger(number) for number in range(count)]
        for number, peer in enumerate(peers):
            guard.enter(peer, lambda number=number: aborted.append(number))
        return await asyncio.gather(*map(guard.await_turn, peers), return_exceptions=True)

    answers = asyncio.run(answer(UNTRUSTED_BURST + 10))
    refused = [number for number, answer in enumerate(answers) if isinstance(answer, UnauthorizedError)]
    assert aborted == refused
    assert UNTRUSTED_BURST <= refused[0] < UNTRUSTED_BURST + 5
    assert refused[-1] == UNTRUSTED_BURST + 9


def test_owner_does_not_wait_for_untrusted_clients(own_peer: Peer) -> None:
    guard = ConnectionGuard(answers_per_s=0.001)  # without `open`, as if the kernel had no sock_diag

    async def answer() -> None:
        while guard.may_answer_now():
            pass
        await guard.await_turn(own_peer)

    try:
        asyncio.run(answer())
    finally:
        guard.close()
