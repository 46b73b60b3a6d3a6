"""Loops about starting servers: many starters at once, and a start after a kill."""

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
from benchmarks.soak.outcome import Outcome, require
from benchmarks.soak.servers import can_connect, find_leftovers, find_servers, has_ended, kill, project, wait_until

STARTERS = 20
START_LIMIT_S = 120.0  # twenty interpreters on two cores
MAX_EXTRA_S = 1.5

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
    """Start the servers of all roots at once, each from its own process; return the answer of each."""
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
            require(starter.stdout.readline() == "loaded\n", "a starter did not load")
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
    """Start one project from many processes at once, in many rounds."""
    most_servers = 0
    with project(scratch, "starters ä") as root:
        for _ in range(rounds):
            answers = start_together([root] * STARTERS)
            state = read_runtime(resolve_state_dir(root))
            assert state is not None
            require(set(answers) == {f"{state.instance_id} {state.base_url} {state.pid}"}, f"answers differ: {answers}")
            servers = find_servers(root)
            most_servers = max(most_servers, len(servers))
            require(servers == [state.pid], f"servers: {servers}, expected {state.pid}")
            stop_server(resolve_state_dir(root))
            require(not find_servers(root) and not find_leftovers(root), "files or processes remain after stop")
            require(not can_connect(state.port), "the port still answers after stop")
    done = f"{STARTERS} simultaneous starters × {rounds} rounds"
    yield Outcome(1, done, f"{most_servers} server in every round, one answer for all, nothing left after stop")


def loop_restart_after_kill(scratch: Path, rounds: int) -> Iterator[Outcome]:
    """Compare the time of a start after a stop with one after kill -9."""
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
    found = f"median {statistics.median(after_kill):.2f} s, {extra:+.2f} s compared with a start after a stop"
    yield Outcome(2, f"kill -9, then start, × {rounds}", found, kept=extra <= MAX_EXTRA_S)


def _time_start(root: Path) -> float:
    began = time.perf_counter()
    require(start_server(root).started, "start found a server that does not exist")
    return time.perf_counter() - began
