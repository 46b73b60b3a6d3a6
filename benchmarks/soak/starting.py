"""Loops about starting: many at once, after a kill, found again, many projects side by side."""

import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from agent_brain_server.discovery import discover
from agent_brain_server.lifecycle.control import start_server, stop_server
from agent_brain_server.runtime import read_runtime
from agent_brain_server.storage_paths import resolve_state_dir
from benchmarks.soak.outcome import MILLISECONDS, Outcome, percentile, require
from benchmarks.soak.servers import can_connect, find_remains, find_servers, has_ended, kill, project, wait_until

STARTERS = 20
PROJECTS = 5
START_LIMIT_S = 120.0  # twenty interpreters share what cores there are
MAX_EXTRA_S = 1.5
MAX_DISCOVER_MS = (3.0, 10.0)  # median, 95th percentile
EVENT_S = 0.05

STARTER = """
import sys
from pathlib import Path
from agent_brain_server.discovery import discover_or_start
print("loaded", flush=True)
sys.stdin.readline()
state = discover_or_start(Path(sys.argv[1]))
print(state.instance_id, state.base_url, state.pid)
"""


def start_together(roots: list[Path]) -> list[str]:
    """Let one process for each root start its server, all at once; return what each was answered."""
    command = [sys.executable, "-c", STARTER]
    with ExitStack() as stack:
        starters = [
            stack.enter_context(
                subprocess.Popen([*command, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            for root in roots
        ]
        for starter in starters:
            assert starter.stdout is not None and starter.stdin is not None
            require(starter.stdout.readline() == "loaded\n", "a starter is not loaded")
        for starter in starters:
            assert starter.stdin is not None
            starter.stdin.write("go\n")
            starter.stdin.flush()
        answers = []
        for starter in starters:
            answers.append(starter.communicate(timeout=START_LIMIT_S)[0].strip())
            require(starter.returncode == 0, f"a starter failed with {starter.returncode}")
    return answers


def loop_simultaneous_starters(scratch: Path, rounds: int) -> Iterator[Outcome]:
    """Start one project from many processes at once, again and again."""
    most_servers = 0
    with project(scratch, "starters ä") as root:
        for _ in range(rounds):
            answers = start_together([root] * STARTERS)
            state = read_runtime(resolve_state_dir(root))
            assert state is not None
            require(set(answers) == {f"{state.instance_id} {state.base_url} {state.pid}"}, f"answers: {answers}")
            servers = find_servers(root)
            most_servers = max(most_servers, len(servers))
            require(servers == [state.pid], f"servers: {servers}, said: {state.pid}")
            stop_server(resolve_state_dir(root))
            require(not find_servers(root) and not find_remains(root), "something was left after stop")
            require(not can_connect(state.port), "the port still answers after stop")
    done = f"{STARTERS} simultaneous starters × {rounds} rounds"
    yield Outcome(1, done, f"{most_servers} server in every round, one answer for all, none left after stop")


def loop_projects_at_once(scratch: Path, rounds: int) -> Iterator[Outcome]:
    """Start several projects at the same moment."""
    with ExitStack() as stack:
        roots = [stack.enter_context(project(scratch, f"project {number}")) for number in range(PROJECTS)]
        for _ in range(rounds):
            answers = start_together(roots)
            states = [read_runtime(resolve_state_dir(root)) for root in roots]
            told = [f"{state.instance_id} {state.base_url} {state.pid}" for state in states if state]
            require(told == answers, f"told {told}, answered {answers}")
            require([state.project_root for state in states if state] == list(map(str, roots)), "mixed up")
            require(len({state.port for state in states if state}) == PROJECTS, "a port is used twice")
            require(sum(len(find_servers(root)) for root in roots) == PROJECTS, "not one server each")
            for root in roots:
                stop_server(resolve_state_dir(root))
    done = f"{PROJECTS} projects started at once × {rounds} rounds"
    yield Outcome(1, done, f"{PROJECTS} servers, {PROJECTS} ports, each runtime.json its own, every time")


def loop_restart_after_kill(scratch: Path, rounds: int) -> Iterator[Outcome]:
    """Time a start after an orderly stop and one after kill -9, in turn."""
    plain, after_kill = [], []
    with project(scratch, "restart") as root:
        start_server(root)
        for _ in range(rounds):
            stop_server(resolve_state_dir(root))
            plain.append(_time_start(root))
            state = discover(root)
            assert state is not None
            kill(state.pid)
            wait_until(partial(has_ended, state.pid), "the end of a killed server")
            after_kill.append(_time_start(root))
    extra = statistics.median(after_kill) - statistics.median(plain)
    found = f"median {statistics.median(after_kill):.2f} s, {extra:+.2f} s against a plain start"
    yield Outcome(2, f"kill -9, then start, × {rounds}", found, kept=extra <= MAX_EXTRA_S)


def _time_start(root: Path) -> float:
    began = time.perf_counter()
    require(start_server(root).started, "found a server where there is none")
    return time.perf_counter() - began


def loop_discover(scratch: Path, rounds: int) -> Iterator[Outcome]:
    """Time `discover` on a running server."""
    taken = []
    with project(scratch, "discover") as root:
        state = start_server(root).state
        for _ in range(rounds):
            began = time.perf_counter()
            found = discover(root)
            taken.append((time.perf_counter() - began) * MILLISECONDS)
            require(found == state, f"found {found}")
    p50, p95 = percentile(taken, 0.5), percentile(taken, 0.95)
    kept = p50 <= MAX_DISCOVER_MS[0] and p95 <= MAX_DISCOVER_MS[1]
    yield Outcome(6, f"discover() on a running server × {rounds}", f"p50 {p50:.2f} ms, p95 {p95:.2f} ms", kept=kept)


def loop_stopped_server(scratch: Path, rounds: int) -> Iterator[Outcome]:
    """Discover and start while the server is suspended, then let it go on."""
    with project(scratch, "suspended") as root:
        state = start_server(root).state
        for _ in range(rounds):
            kill(state.pid, signal.SIGSTOP)
            require(discover(root) is None, "a suspended server was found")
            starter = subprocess.Popen(
                [sys.executable, "-c", STARTER, str(root)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
            )
            time.sleep(EVENT_S)
            require(find_servers(root) == [state.pid], "a second server beside a suspended one")
            kill(state.pid, signal.SIGCONT)
            require(starter.wait(START_LIMIT_S) == 0, "the starter failed")
            require(discover(root) == state and find_servers(root) == [state.pid], "another server took over")
            require(os.path.exists(resolve_state_dir(root) / "runtime.json"), "its runtime file was removed")
    yield Outcome(10, f"SIGSTOP, discover and start, SIGCONT × {rounds}", "never cleaned up, never a second server")
