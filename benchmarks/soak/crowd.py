"""Crowds and bad clients: a thousand connections at once, answers that nobody reads, questions cut off half-way."""

import contextlib
import json
import os
import resource
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from agent_brain_server.discovery import request_json
from agent_brain_server.lifecycle.control import start_server
from agent_brain_server.runtime import RuntimeState
from agent_brain_server.storage_paths import resolve_state_dir
from benchmarks.soak.killing import SEED, IndexedProject, prepare
from benchmarks.soak.outcome import Outcome, require
from benchmarks.soak.servers import LIMIT_S, project, wait_until
from benchmarks.soak.steady import read_memory_mb

CONNECTIONS = 1_000
SHELL_LIMIT = 256  # files that a process may open, set before the server starts, which is to raise it
SERVED_AGAIN_S = 1.0
WARM_ROUNDS = 2  # memory that the first crowd needs is kept for the next
MAX_GROWTH = 0.05
SPARE_FILES = 16  # four readers of two files each, the worker's pipes, what a watcher looks at; fewer than the clients
SLOW_READERS = 20
PIPELINED = 200  # questions sent at once over a connection whose answers are not read
MAX_BUFFERED_MB = 60.0


def loop_crowd(scratch: Path, rounds: int) -> Iterator[Outcome]:
    """Open many connections that ask at once, close them unread, and look at what is left."""
    slowest, files, memory = 0.0, [0], [0.0]
    with raised_limit(), project(scratch, "crowd") as root:
        with lowered_limit():
            state = start_server(root).state
        work = prepare(root, SEED, state, resolve_state_dir(root))
        for number in range(WARM_ROUNDS + rounds):
            _come_and_go(work)
            slowest = max(slowest, _time_answer(work))
            if number + 1 == WARM_ROUNDS:
                files, memory = [count_files(state)], [read_memory_mb(state)]
        wait_until(lambda: count_files(state) <= files[0] + SPARE_FILES, "the end of the connections", 10)
        files.append(count_files(state))
        memory.append(read_memory_mb(state))
    growth = memory[1] / memory[0] - 1
    found = (
        f"each answered; served again within {slowest * 1000:.0f} ms; files {files[0]} → {files[1]}, "
        f"memory {memory[0]:.0f} → {memory[1]:.0f} MB"
    )
    done = f"{CONNECTIONS:,} connections at once × {rounds}, started with a limit of {SHELL_LIMIT} files"
    yield Outcome(25, done, found, kept=slowest <= SERVED_AGAIN_S and growth <= MAX_GROWTH)


def loop_slow(scratch: Path, rounds: int) -> Iterator[Outcome]:
    """Send questions and never read the answers, follow jobs and never read the events, hang up in the middle."""
    slowest = 0.0
    with raised_limit(), project(scratch, "slow") as root:
        work = prepare(root, SEED, start_server(root).state, resolve_state_dir(root))
        before, files = read_memory_mb(work.state), count_files(work.state)
        for _ in range(rounds):
            work.tree.change()
            job_id = work.begin_job()
            with contextlib.ExitStack() as stack:
                for number in range(SLOW_READERS):
                    _send_without_reading(stack.enter_context(connect(work.state)), work.state, job_id, number)
                slowest = max(slowest, _time_answer(work))
                work.await_end(job_id)
                held = read_memory_mb(work.state) - before
                require(held < MAX_BUFFERED_MB, f"answers that nobody reads hold {held:.0f} MB")
            wait_until(lambda: count_files(work.state) <= files + SPARE_FILES, "the end of the connections", 15)
        work.check_end()
    found = f"others were answered within {slowest * 1000:.0f} ms, and no connection was left"
    yield Outcome(25, f"{SLOW_READERS} clients that do not read, or hang up × {rounds}", found, kept=slowest <= 1.0)


@contextlib.contextmanager
def raised_limit() -> Iterator[None]:
    """Let this process open as many files as the system allows, for the length of the block."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    require(hard > CONNECTIONS * 2, f"this process may open {hard} files: too few for the loop")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.contextmanager
def lowered_limit() -> Iterator[None]:
    """Let what is started meanwhile begin with a shell's small limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (SHELL_LIMIT, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def count_files(state: RuntimeState) -> int:
    """Return how many files and sockets a server has open."""
    return len(os.listdir(f"/proc/{state.pid}/fd"))


def connect(state: RuntimeState) -> socket.socket:
    """Return a connection to a server."""
    return socket.create_connection(("127.0.0.1", state.port), timeout=LIMIT_S)


def format_request(state: RuntimeState, method: str, path: str, body: dict[str, object] | None = None) -> bytes:
    """Return a request as it goes over the wire."""
    data = b"" if body is None else json.dumps(body).encode()
    head = [
        f"{method} {path} HTTP/1.1",
        f"Host: 127.0.0.1:{state.port}",
        f"Authorization: Bearer {state.token}",
        "Content-Type: application/json",
        f"Content-Length: {len(data)}",
    ]
    return "\r\n".join([*head, "", ""]).encode() + data


def _come_and_go(work: IndexedProject) -> None:
    question = format_request(work.state, "POST", "/query", {"query": "lock chunk", "mode": "bm25"})
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(connect(work.state)) for _ in range(CONNECTIONS)]
        for one in crowd:
            one.sendall(question)
        for one in crowd:
            head = one.recv(12)  # the rest stays unread: closing then resets the connection
            require(head == b"HTTP/1.1 200", f"answered {head!r}")


def _time_answer(work: IndexedProject) -> float:
    began = time.monotonic()
    results = request_json(work.state, "POST", "/query", {"query": "lock chunk", "mode": "bm25"})["results"]
    require(results, "nothing is found")
    return time.monotonic() - began


def _send_without_reading(connection: socket.socket, state: RuntimeState, job_id: str, number: int) -> None:
    match number % 3:
        case 0:
            connection.sendall(format_request(state, "GET", f"/index/jobs/{job_id}/events"))
        case 1:
            question = format_request(state, "POST", "/query", {"query": "lock chunk", "top_k": 100, "mode": "bm25"})
            connection.setblocking(False)
            with contextlib.suppress(BlockingIOError):  # the server reads no further while nobody reads its answers
                for _ in range(PIPELINED):
                    connection.send(question)
        case _:
            whole = format_request(state, "POST", "/query", {"query": "lock", "mode": "bm25"})
            connection.sendall(whole[: len(whole) // 2])
            select.select([], [], [], 0.01)
            connection.close()
