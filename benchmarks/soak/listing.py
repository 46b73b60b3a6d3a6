"""A list of servers that hang, servers that are dead, and a daemon that hangs: it is there in less than two seconds."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from agent_brain_server.lifecycle import registry
from agent_brain_server.locking import StateLock
from agent_brain_server.runtime import RuntimeState, write_runtime
from agent_brain_server.storage_paths import brain_home, default_state_dir, prepare_state_dir
from agent_brain_server.support.processes import read_start_time
from benchmarks.soak.outcome import Outcome, require
from benchmarks.soak.servers import own_home

LISTING_PROMISE = 20
SERVERS = 20
LIMIT_S = 2.0
COMMAND_LIMIT_S = 60.0


def loop_list(directory: Path, rounds: int) -> Iterator[Outcome]:
    """List servers that do not answer, several times over."""
    with own_home(directory / "home"), ExitStack() as stack:
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=4 * SERVERS * rounds))
        port = silent.getsockname()[1]
        hung = [_make_project(directory, f"hung {number}", port) for number in range(SERVERS)]
        dead = [_make_project(directory, f"dead {number}", port) for number in range(SERVERS)]
        prepare_state_dir(brain_home())
        write_runtime(brain_home(), _describe_server(port, None))
        for state_dir in (brain_home(), *map(default_state_dir, hung)):
            # this process takes the servers' place: it holds their locks, takes connections and says nothing
            stack.enter_context(StateLock(state_dir))
        expected = {str(root): "not_answering" for root in hung} | {str(root): "stopped" for root in dead}
        times = []
        for _ in range(rounds):
            began = time.monotonic()
            answer = subprocess.run(
                [sys.executable, "-m", "agent_brain_cli", "list", "--json"],
                capture_output=True,
                check=True,
                timeout=COMMAND_LIMIT_S,
            )
            times.append(time.monotonic() - began)
            listed = json.loads(answer.stdout)
            states = {project["project_root"]: project["state"] for project in listed["projects"]}
            require(states == expected, f"the list says {states}")
            require(listed["daemon"]["state"] == "not_answering", f"the list says {listed['daemon']}")
    yield Outcome(
        LISTING_PROMISE,
        f"list × {rounds} with {SERVERS} hung servers, {SERVERS} dead ones and a hung daemon",
        f"each told for what it is, at most {max(times):.2f} s",
        kept=max(times) < LIMIT_S,
    )


def _make_project(directory: Path, name: str, port: int) -> Path:
    root = (directory / name).resolve()
    root.mkdir(parents=True)
    state_dir = default_state_dir(root)
    prepare_state_dir(state_dir)
    write_runtime(state_dir, _describe_server(port, root))
    require(registry.register(root, state_dir), "the registry can't be written")
    return root


def _describe_server(port: int, root: Path | None) -> RuntimeState:
    pid = os.getpid()
    return RuntimeState(
        mode="shared" if root is None else "project",
        project_root=None if root is None else str(root),
        instance_id="ds_000000",
        base_url=f"http://127.0.0.1:{port}",
        bind_host="127.0.0.1",
        port=port,
        pid=pid,
        pid_started_at=read_start_time(pid),
        started_at="2026-01-01T00:00:00+00:00",
    )
