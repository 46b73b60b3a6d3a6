"""Fail a module of tests that leaves a process behind, and kill what it left.

Servers detach from the test that starts them, so they are found by an environment variable that every process inherits.
Both packages' `conftest.py` import the fixture.
"""

import contextlib
import os
import signal
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

MARK = "TEST_SESSION_MARK"
TEST_NAME = b"PYTEST_CURRENT_TEST="
ENDING_LIMIT_S = 60.0
"""A worker ends by itself after its server was killed; on a busy machine that takes a while."""

os.environ[MARK] = uuid.uuid4().hex


def find_marked_processes(mark: str) -> dict[int, str]:
    """Return the running processes that were started with a mark, as pid and description."""
    wanted = f"{MARK}={mark}".encode()
    found: dict[int, str] = {}
    for directory in Path("/proc").iterdir():
        with contextlib.suppress(OSError):  # ended meanwhile
            if directory.name.isdigit() and wanted in (variables := (directory / "environ").read_bytes().split(b"\0")):
                found[int(directory.name)] = _describe(directory, variables)
    return found


def _describe(directory: Path, variables: list[bytes]) -> str:
    command = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    test = next((value[len(TEST_NAME) :].decode() for value in variables if value.startswith(TEST_NAME)), "unknown")
    return f"{directory.name} {command} (started in {test})"


def await_end(mark: str, ignored: frozenset[int], limit_s: float) -> dict[int, str]:
    """Return the marked processes that still run after a time."""
    deadline = time.monotonic() + limit_s
    while True:
        running = {pid: text for pid, text in find_marked_processes(mark).items() if pid not in ignored}
        if not running or time.monotonic() >= deadline:
            return running
        time.sleep(0.05)


@pytest.fixture(scope="module", autouse=True)
def no_process_left() -> Iterator[None]:
    """Fail if a process that the module's tests started outlives them; it is killed."""
    mark = os.environ[MARK]
    before = frozenset(find_marked_processes(mark))
    yield
    left = await_end(mark, before, ENDING_LIMIT_S)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if left:
        pytest.fail("The tests left processes behind:\n" + "\n".join(left.values()), pytrace=False)
