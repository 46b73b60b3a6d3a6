"""Measure the owner's queries while another user of the machine floods the server without a token.

`python -m benchmarks.soak.unauthorized` is that user. It reads a JSON object from standard input, changes to another
user id, opens its sockets, prints a line, and sends requests until its standard input is closed. All traffic stays on
the loopback interface; the number of sockets and the time are bounded.
"""

import contextlib
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from agent_brain_server.lifecycle.control import start_server
from agent_brain_server.storage_paths import resolve_state_dir
from benchmarks.client import Client
from benchmarks.soak.killing import SEED, IndexedProject, prepare
from benchmarks.soak.outcome import Outcome, require
from benchmarks.soak.servers import LIMIT_S, project

FOREIGN_UID = 65_533
"""A uid without processes that is not the overflow uid."""

THREADS = 8
HELD_SOCKETS = 6_000
"""Both ends of connections within the other user's process: rows of /proc/net/tcp."""

HELD_CONNECTIONS = 1_000
"""Idle connections to the server, opened again when the server closes them."""

MIXED = ("query", "health", "malformed", "hang up", "connect", "query", "malformed", "connect")
"""Kinds of requests of the mixed flood, one for each thread."""

MAX_SLOWDOWN = 3.0
MAX_MIXED_SLOWDOWN = 6.0  # a connection costs the server some 0.15 ms before it can be closed, as much as its client
PAUSE_S = 0.05
"""Pause between two queries of the owner; an agent queries less often."""

WAITS = {"query": b"HTTP/1.1 401", "health": b"HTTP/1.1 200", "malformed": b"HTTP/1.1 400"}
"""Kinds that wait for an answer, and how it begins."""

SPARE_FILES = 100
MAX_FLOOD_S = 120.0


@dataclass(frozen=True, slots=True)
class Flood:
    """The other user's requests.

    Attributes:
        port: The server's port on 127.0.0.1.
        threads: Threads that send requests without a token, each waiting for its answer.
        held_sockets: Open sockets that do not concern the server.
        held_connections: Idle connections to the server.
        kinds: Kinds of requests, distributed over the threads.
    """

    port: int
    threads: int = THREADS
    held_sockets: int = HELD_SOCKETS
    held_connections: int = HELD_CONNECTIONS
    kinds: tuple[str, ...] = ("query",)


def loop_unauthorized(scratch: Path, seconds: int) -> Iterator[Outcome]:
    """Measure the owner's queries before, during and after queries of another user without a token."""
    yield _compare(scratch, seconds, "query without a token", ("query",), MAX_SLOWDOWN)


def loop_mixed(scratch: Path, seconds: int) -> Iterator[Outcome]:
    """Do the same with connections of every kind."""
    yield _compare(scratch, seconds, "query, connect, hang up and send garbage", MIXED, MAX_MIXED_SLOWDOWN)


def _compare(scratch: Path, seconds: int, doing: str, kinds: tuple[str, ...], max_slowdown: float) -> Outcome:
    require(os.getuid() == 0, "only root can become another user")
    with project(scratch, "unauthorized") as root:
        work = prepare(root, SEED, start_server(root).state, resolve_state_dir(root))
        time_queries(work, 1.0)
        quiet = statistics.median(time_queries(work, seconds))
        with flood(Flood(int(work.state.port or 0), kinds=kinds)) as counted:
            flooded = statistics.median(time_queries(work, seconds))
        after = statistics.median(time_queries(work, seconds))
    found = (
        f"the owner's median {quiet:.1f} ms before, {flooded:.1f} ms during, {after:.1f} ms after; "
        f"{counted['refused']:,} requests answered, {counted['cut']:,} cut"
    )
    done = f"{THREADS} threads of another user {doing} for {seconds} s, {HELD_SOCKETS:,} sockets held"
    return Outcome(25, done, found, kept=flooded <= max_slowdown * max(quiet, after))


def time_queries(work: IndexedProject, seconds: float) -> list[float]:
    """Send the owner's queries one after another for some seconds; return the milliseconds of each."""
    found = []
    deadline = time.monotonic() + seconds
    with Client({"base_url": work.state.base_url, "token": work.state.token}) as client:
        while time.monotonic() < deadline:
            path, marker = work.tree.pick_marker()
            found.append(client.time_query(f"{marker} {path}"))
            time.sleep(PAUSE_S)
    return found


@contextlib.contextmanager
def flood(order: Flood) -> Iterator[dict[str, int]]:
    """Run the other user's process during the block; the dictionary is filled at the end."""
    counted: dict[str, int] = {}
    argv = [sys.executable, "-m", "benchmarks.soak.unauthorized"]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    ) as process:
        try:
            assert process.stdin and process.stdout  # set by PIPE
            process.stdin.write(json.dumps(asdict(order)) + "\n")
            process.stdin.flush()
            require(process.stdout.readline() == "ready\n", "the other user's process did not start")
            yield counted
            process.stdin.close()
            counted.update(json.loads(process.stdout.read()))
            process.wait(LIMIT_S)
        finally:
            process.kill()


class Attacker:
    """Sends requests without a token until stopped.

    Args:
        order: Number and kinds of the requests.
    """

    def __init__(self, order: Flood) -> None:
        self._order = order
        self._stopping = threading.Event()
        self._refused = [0] * order.threads
        self._cut = [0] * order.threads

    def run(self) -> None:
        """Open the sockets, flood until standard input ends, and print the counts of answers."""
        with contextlib.ExitStack() as stack:
            self._hold_sockets(stack)
            threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(self._order.threads)]
            threads.append(threading.Thread(target=self._hold_connections))
            for thread in threads:
                thread.start()
            print("ready", flush=True)
            timer = threading.Timer(MAX_FLOOD_S, self._stopping.set)
            timer.start()
            sys.stdin.read()
            timer.cancel()
            self._stopping.set()
            for thread in threads:
                thread.join()
        json.dump({"refused": sum(self._refused), "cut": sum(self._cut)}, sys.stdout)

    def _hold_sockets(self, stack: contextlib.ExitStack) -> None:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=128))
        for _ in range(self._order.held_sockets // 2):
            stack.enter_context(socket.create_connection(listener.getsockname()))
            stack.enter_context(listener.accept()[0])

    def _hold_connections(self) -> None:
        held: list[socket.socket] = []
        while not self._stopping.wait(0.2):
            alive = [one for one in held if not _is_closed(one)]
            for _ in range(self._order.held_connections - len(alive)):
                with contextlib.suppress(OSError):
                    alive.append(socket.create_connection(("127.0.0.1", self._order.port), timeout=1))
            held = alive
        for one in held:
            one.close()

    def _ask(self, number: int) -> None:
        kind = self._order.kinds[number % len(self._order.kinds)]
        request = format_attack(kind, self._order.port)
        while not self._stopping.is_set():
            try:
                with socket.create_connection(("127.0.0.1", self._order.port), timeout=LIMIT_S) as client:
                    client.sendall(request)
                    status = client.recv(12) if kind in WAITS else b""
            except OSError:
                status = b""
            if status:
                self._refused[number] += 1
            else:
                self._cut[number] += 1
            expected = WAITS.get(kind, b"")
            if status not in (b"", expected):
                raise RuntimeError(f"the server answered {status!r} to another user")


def format_attack(kind: str, port: int) -> bytes:
    """Return the bytes that one connection sends."""
    if kind == "connect":
        return b""
    if kind == "malformed":
        return b"nonsense\r\n\r\n"
    host = f" HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n".encode()
    if kind == "health":
        return b"GET /health" + host + b"\r\n"
    body = b'{"query": "lock chunk"}'
    return b"POST /query" + host + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def _is_closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1, socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def main() -> None:
    """Run the flood that standard input describes as another user."""
    order = Flood(**json.loads(sys.stdin.readline()))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = order.held_sockets + order.held_connections + SPARE_FILES
    require(hard >= needed, f"this process may open {hard} files: too few for the loop")
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    socket.getaddrinfo("127.0.0.1", 0)  # import now: its modules may be unreadable for the other user
    os.setgroups([])
    os.setgid(FOREIGN_UID)
    os.setuid(FOREIGN_UID)
    Attacker(order).run()


if __name__ == "__main__":
    main()
