"""The owner of a socket is found in the kernel's own tables."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from agent_brain_server.api.peer import find_socket_owner

pytestmark = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="only Linux has these tables")

NOBODY = 65534


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_a_connection_of_this_process_belongs_to_this_user(family: socket.AddressFamily, host: str) -> None:
    try:
        listener = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip(f"{host} can't be bound here")
    with listener, socket.create_connection(listener.getsockname()[:2]) as client:
        accepted, _ = listener.accept()
        with accepted:
            local, remote = client.getsockname()[:2], listener.getsockname()[:2]
            assert find_socket_owner(local, remote) == os.getuid()
            assert find_socket_owner((local[0], 1), remote) is None


@pytest.mark.skipif(os.getuid() != 0, reason="needs the right to become another user")
def test_a_connection_of_another_user_belongs_to_that_user() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        script = (
            f"import encodings.idna, os, socket; os.setuid({NOBODY}); "
            f"socket.create_connection(('127.0.0.1', {listener.getsockname()[1]})).recv(1)"
        )
        with subprocess.Popen([sys.executable, "-c", script]):
            accepted, address = listener.accept()
            with accepted:
                assert find_socket_owner(address, listener.getsockname()) == NOBODY


def test_a_connection_that_was_closed_belongs_to_nobody() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        local = client.getsockname()
        accepted, _ = listener.accept()
        with accepted:
            client.close()  # the kernel keeps it until the other end closes too
            assert is_listed(local)
            assert find_socket_owner(local, listener.getsockname()) is None


def is_listed(local: tuple[str, int]) -> bool:
    rows = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any(row.split()[1].endswith(f":{local[1]:04X}") for row in rows)
