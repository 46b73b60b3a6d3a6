"""Loops about ending: stop and start without a pause, strangers' pids, a child that outlives the server."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from agent_brain_server.discovery import discover
from agent_brain_server.lifecycle.control import start_server, stop_server
from agent_brain_server.locking import is_stale
from agent_brain_server.runtime import write_runtime
from agent_brain_server.storage_paths import lock_path, pid_path, resolve_state_dir
from benchmarks.client import Client
from benchmarks.soak.outcome import Outcome, require
from benchmarks.soak.servers import can_connect, find_remains, find_servers, has_ended, kill, project, wait_until

STATUS = [sys.executable, "-m", "agent_brain_cli", "status", "--json", "--project-root"]
NOT_RUNNING = 3  # exit code of `status`
TAKERS = 6

SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]

TAKER = """
import os, sys, time
from pathlib import Path
from agent_brain_server.locking import StateLock
directory, until = Path(sys.argv[1]), float(sys.argv[2])
taken = doubled = 0
while time.time() < until:
    lock = StateLock(directory)
    if not lock.acquire():
        continue
    taken += 1
    try:
        os.close(os.open(directory / "holder", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        doubled += 1
    else:
        os.unlink(directory / "holder")
    lock.release()
print(taken, doubled)
"""


def loop_lock(scratch: Path, seconds: int) -> Iterator[Outcome]:
    """Let processes take and release one lock as fast as they can."""
    directory = scratch / "lock"
    directory.mkdir()
    until = time.time() + seconds + 1
    command = [sys.executable, "-c", TAKER, str(directory), str(until)]
    takers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(TAKERS)]
    counts = [[int(word) for word in taker.communicate(timeout=seconds + 60)[0].split()] for taker in takers]
    taken, doubled = (sum(column) for column in zip(*counts, strict=True))
    done = f"{TAKERS} processes take and release the lock for {seconds} s"
    yield Outcome(3, done, f"taken {taken:,} times, {doubled} double holders", kept=taken > 0 and not doubled)


def loop_stop_start_status(scratch: Path, rounds: int) -> Iterator[Outcome]:
    """Stop, start and ask for the status without a pause; the status is asked after each."""
    seen = set()
    with project(scratch, "loop") as root:
        start_server(root)
        for _ in range(rounds):
            require(stop_server(resolve_state_dir(root)).stopped, "nothing was stopped")
            require(not find_remains(root) and not find_servers(root), "something was left")
            require(_run_status(root) == NOT_RUNNING, "status sees a server that was stopped")
            state = start_server(root).state
            require(_run_status(root) == 0, "status does not see the server")
            require(discover(root) == state, "the started server was not found")
            seen.add(state.instance_id)
    require(len(seen) == rounds, "an instance id came twice")
    yield Outcome(9, f"stop, status, start, status × {rounds} without a pause", "nothing left, nothing missed")


def _run_status(root: Path) -> int:
    return subprocess.run([*STATUS, str(root)], capture_output=True, check=False, timeout=60).returncode


def loop_stranger(scratch: Path, rounds: int) -> Iterator[Outcome]:
    """Write a living stranger's pid into every file and stop, again and again."""
    with project(scratch, "stranger") as root:
        state_dir = resolve_state_dir(root)
        state = start_server(root).state
        lock_text = lock_path(state_dir).read_text()
        stop_server(state_dir)
        with subprocess.Popen(SLEEPER) as stranger:
            try:
                for _ in range(rounds):
                    write_runtime(state_dir, state.model_copy(update={"pid": stranger.pid}))
                    pid_path(state_dir).write_text(f"{stranger.pid}\n")
                    lock_path(state_dir).write_text(lock_text.replace(str(state.pid), str(stranger.pid), 1))
                    require(not stop_server(state_dir, force=True).stopped, "something was stopped")
                    require(stranger.poll() is None, "the stranger was killed")
                    require(discover(root) is None, "the stranger was taken for the server")
                require(start_server(root).started, "no start beside the stranger")
            finally:
                stranger.kill()
    yield Outcome(5, f"a stranger's live pid in every file, {rounds} stops", "stranger alive each time, start works")


def loop_outliving_worker(scratch: Path, rounds: int) -> Iterator[Outcome]:
    """Kill the server while its indexing worker lives on, suspended: lock and port must be free."""
    with project(scratch, "outlived") as root:
        for _ in range(rounds):
            (root / "module.py").write_text("def routine():\n    return 1\n")
            state = start_server(root).state
            with Client(state.model_dump()) as client:
                client.call("POST", "/index", {"folder_path": ".", "force": True})
            worker = wait_for_worker(state.pid)
            kill(worker, signal.SIGSTOP)
            kill(state.pid)
            wait_until(partial(has_ended, state.pid), "the end of the killed server")
            require(not has_ended(worker), "the worker should live for this test")
            require(is_stale(resolve_state_dir(root)), "the worker holds the lock")
            require(not can_connect(state.port), "the worker holds the port")
            require(start_server(root).started, "no start beside the worker")
            kill(worker, signal.SIGCONT)
            wait_until(partial(has_ended, worker), "the worker's end", limit_s=10)
            stop_server(resolve_state_dir(root))
    found = "lock and port free while it lived, and it ended by itself"
    yield Outcome(4, f"kill -9 of the server while its worker lives × {rounds}", found)


def find_worker(server: int) -> int | None:
    """Return the pid of a server's indexing worker; None while there is none."""
    try:
        children = Path(f"/proc/{server}/task").glob("*/children")
        pids = [int(word) for child in children for word in child.read_text().split()]
        return next((pid for pid in pids if b"indexing.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()), None)
    except OSError:
        return None


def wait_for_worker(server: int) -> int:
    """Return the pid of a server's indexing worker once there is one."""
    wait_until(lambda: find_worker(server), "the start of a worker")
    worker = find_worker(server)
    require(worker, "the worker ended at once")
    assert worker is not None
    return worker
