"""Server processes of temporary projects: find, wait for and kill them."""

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from agent_brain_server.lifecycle.control import stop_server
from agent_brain_server.storage_paths import HOME_VARIABLE, lock_path, pid_path, resolve_state_dir, runtime_path
from benchmarks.soak.outcome import BrokenPromiseError

POLL_S = 0.002
LIMIT_S = 120.0  # only a hang takes this long, also on a busy machine


def find_servers(root: Path) -> list[int]:
    """Return the pids of all server processes of a project."""
    found = []
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            with contextlib.suppress(OSError):
                command = (directory / "cmdline").read_bytes().split(b"\0")
                if b"agent_brain_server" in command and os.fsencode(root) in command:
                    found.append(int(directory.name))
    return found


def kill(pid: int, number: int = signal.SIGKILL) -> bool:
    """Send a signal; return whether the process existed."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def has_ended(pid: int) -> bool:
    """Return whether a process has ended with all its threads, and so closed its files; a zombie counts as ended."""
    process = Path(f"/proc/{pid}")
    try:
        state = (process / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]
        return state in "ZX" and len(list((process / "task").iterdir())) <= 1
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_until(condition: Callable[[], object], what: str, limit_s: float = LIMIT_S) -> None:
    """Wait for a condition.

    Raises:
        BrokenPromiseError: The condition is not met within the limit.
    """
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            raise BrokenPromiseError(f"{what} did not happen in {limit_s:.0f} s")
        time.sleep(POLL_S)


def can_connect(port: int) -> bool:
    """Return whether a process listens on a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def find_leftovers(root: Path) -> list[str]:
    """Return the names of runtime files that a server left in the state directory."""
    state_dir = resolve_state_dir(root)
    paths = (runtime_path(state_dir), lock_path(state_dir), pid_path(state_dir))
    return [path.name for path in paths if path.exists()]


@contextlib.contextmanager
def own_home(directory: Path) -> Iterator[None]:
    """Use a separate Agent Brain home in this process and its children during the block."""
    before = os.environ.get(HOME_VARIABLE)
    os.environ[HOME_VARIABLE] = str(directory)
    try:
        yield
    finally:
        os.environ.pop(HOME_VARIABLE)
        if before is not None:
            os.environ[HOME_VARIABLE] = before


@contextlib.contextmanager
def project(directory: Path, name: str) -> Iterator[Path]:
    """Create an empty project for the duration of the block; its server is always stopped at the end."""
    root = (directory / name).resolve()
    root.mkdir(parents=True)
    (root / "pyproject.toml").touch()
    try:
        yield root
    finally:
        for pid in find_servers(root):
            kill(pid, signal.SIGCONT)
        with contextlib.suppress(Exception):  # the original error is more useful
            stop_server(resolve_state_dir(root), timeout_s=10, force=True)
        for pid in find_servers(root):
            kill(pid)


def find_worker(server: int) -> int | None:
    """Return the pid of a server's indexing worker, or `None` if it has none."""
    try:
        children = Path(f"/proc/{server}/task").glob("*/children")
        pids = [int(word) for child in children for word in child.read_text().split()]
        return next((pid for pid in pids if b"indexing.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()), None)
    except OSError:
        return None
