"""No web page and no stranger is answered."""

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from agent_brain_server.api.access import PEER_KEY, AccessPolicy
from agent_brain_server.api.connection_guard import ConnectionGuard, Peer
from agent_brain_server.errors import ForbiddenError, UnauthorizedError

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
    asyncio.run(policy.check(scope))


@pytest.fixture
def own_connection() -> Iterator[dict[str, Any]]:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        yield scope(client=client.getsockname()) | {"server": listener.getsockname()}


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:8000", "localhost:8000", "LOCALHOST", "[::1]:8000", "[::1]", "[::ffff:127.0.0.1]:8000", "127.0.0.1"],
)
def test_names_of_this_machine_are_accepted(policy: AccessPolicy, host: str) -> None:
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
def test_a_rebound_name_is_refused(policy: AccessPolicy, host: str) -> None:
    with pytest.raises(ForbiddenError) as refused:
        check(policy, scope("/health", host=host, authorization=f"Bearer {TOKEN}"))
    assert refused.value.code == "foreign_host"


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1:8000", "http://127.0.0.1:9"])
def test_a_page_from_elsewhere_is_refused_even_with_the_token(policy: AccessPolicy, origin: str) -> None:
    with pytest.raises(ForbiddenError) as refused:
        check(policy, scope(origin=origin, authorization=f"Bearer {TOKEN}"))
    assert refused.value.code == "foreign_origin"


@pytest.mark.parametrize("site", ["cross-site", "same-site", "", "same-origin, cross-site"])
def test_a_browser_that_names_no_origin_says_where_the_page_is(policy: AccessPolicy, site: str) -> None:
    with pytest.raises(ForbiddenError) as refused:
        check(policy, scope(sec_fetch_site=site, authorization=f"Bearer {TOKEN}"))
    assert refused.value.code == "foreign_origin"


@pytest.mark.parametrize("name", ["host", "origin"])
def test_a_header_twice_is_not_read_as_one_of_the_two(policy: AccessPolicy, name: str) -> None:
    twice = scope(authorization=f"Bearer {TOKEN}", origin="http://127.0.0.1:8000")
    twice["headers"].append((name.encode(), b"http://evil.example"))
    with pytest.raises(ForbiddenError):
        check(policy, twice)


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_an_address_that_was_typed_is_no_foreign_page(policy: AccessPolicy, site: str) -> None:
    check(policy, scope(sec_fetch_site=site, authorization=f"Bearer {TOKEN}"))


def test_the_servers_own_page_may_ask(policy: AccessPolicy) -> None:
    check(policy, scope(origin="http://127.0.0.1:8000", authorization=f"Bearer {TOKEN}"))


def test_the_token_opens(policy: AccessPolicy) -> None:
    check(policy, scope(authorization=f"bearer {TOKEN}"))


@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer ü"]
)
def test_anything_but_the_token_does_not(policy: AccessPolicy, given: str) -> None:
    with pytest.raises(UnauthorizedError):
        check(policy, scope(authorization=given))


def test_health_needs_nothing(policy: AccessPolicy) -> None:
    check(policy, scope("/health"))
    with pytest.raises(UnauthorizedError):
        check(policy, scope("/health/status"))


def test_a_socket_of_the_same_user_needs_no_token(policy: AccessPolicy, own_connection: dict[str, Any]) -> None:
    check(policy, own_connection)


def test_policy_without_a_token_refuses_empty_tokens(guard: ConnectionGuard) -> None:
    with pytest.raises(UnauthorizedError):
        check(AccessPolicy(None, "127.0.0.1", guard), scope(authorization="Bearer "))


def test_requests_of_one_connection_share_the_owner(policy: AccessPolicy, own_connection: dict[str, Any]) -> None:
    peer = Peer(own_connection["client"], own_connection["server"])
    own_connection["state"] = {PEER_KEY: peer}
    check(policy, own_connection)
    assert peer.is_own
    gone = own_connection | {"client": ("127.0.0.1", 1)}  # no such socket: only what is known already can answer
    check(policy, gone)
    with pytest.raises(UnauthorizedError):
        check(policy, gone | {"state": {}})
