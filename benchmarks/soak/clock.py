"""Puts the clock of a running server forward and back: what was last stays last, and nothing ends or waits for it."""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent_brain_server.lifecycle.control import start_daemon, start_server, stop_daemon, stop_server
from agent_brain_server.runtime import RuntimeState
from agent_brain_server.shared.daemon import list_projects, register_project
from agent_brain_server.storage_paths import resolve_state_dir, shared_project_home
from benchmarks.soak.killing import SEED, IndexedProject, prepare
from benchmarks.soak.outcome import Outcome, require
from benchmarks.soak.preload import use_library
from benchmarks.soak.servers import find_servers, own_home, project, wait_until

CLOCK_PROMISE = 27
SOURCE = Path(__file__).with_name("shifted_clock.c")
SHIFT_VARIABLE = "SHIFTED_CLOCK_FILE"
YEAR_S = 31_557_600
JUMPS_S = (3_600, -3_600, -10 * YEAR_S, 10 * YEAR_S)
LOOK_S = 1.5  # the server looks once a second whether it is idle
SHORT_IDLE_S = 1
LONG_IDLE_S = 600  # less than the smallest jump
COMMAND_LIMIT_S = 60.0
MAX_UPTIME_S = 1_800.0  # also less than the smallest jump


@dataclass(frozen=True, slots=True)
class ShiftedClock:
    """The time of day of every process that is started while the clock is in use."""

    file: Path

    def set(self, shift_s: int) -> None:
        """Let the clock go ahead of the true time by so many seconds, from now on."""
        partial = self.file.with_suffix(".new")
        partial.write_text(str(shift_s))
        partial.replace(self.file)


@contextlib.contextmanager
def use_shifted_clock(directory: Path) -> Iterator[ShiftedClock]:
    """Give the processes that are started in the block a clock that can be put forward and back.

    Raises:
        FileNotFoundError: There is no C compiler.
    """
    clock = ShiftedClock(directory / "shift")
    clock.set(0)
    with use_library(SOURCE, {SHIFT_VARIABLE: str(clock.file)}):
        yield clock


def loop_clock(scratch: Path, rounds: int) -> Iterator[Outcome]:
    """Put the clock forward and back in turn, while a server indexes, answers, stops and starts."""
    done = f"the clock put forward and back, by an hour and by ten years × {rounds}"
    try:
        with use_shifted_clock(scratch) as clock, own_home(scratch / "home"):
            answers = _shift_project(scratch, clock, rounds)
            _shift_daemon(scratch, clock)
    except FileNotFoundError as exc:
        yield Outcome(CLOCK_PROMISE, done, f"skipped: {exc}")
        return
    found = "the last job is told as the last, no server or project was closed before its time or kept beyond it"
    yield Outcome(CLOCK_PROMISE, done, f"{found}; {answers:,} results compared with the files")


def _shift_project(scratch: Path, clock: ShiftedClock, rounds: int) -> int:
    with project(scratch, "shifted") as root:
        # one that an agent started ends when it is idle; none but the jobs that are asked for are to be the last
        settings = {"idle_stop_seconds": LONG_IDLE_S, "watch": "false"}
        state = start_server(root, started_by="agent", overrides=settings).state
        work = prepare(root, SEED, state, resolve_state_dir(root))
        for number in range(rounds):
            shift_s = JUMPS_S[number % len(JUMPS_S)]
            work.tree.change()
            job_id = work.begin_job()
            clock.set(shift_s)  # in the middle of a job
            work.await_end(job_id)
            work.check_end()
            _require_last(work, job_id)
            work.tree.change()
            job_id = work.begin_job()
            work.await_end(job_id)
            _require_clock(work, shift_s)
            time.sleep(LOOK_S)
            require(find_servers(root) == [work.state.pid], f"the server ended when the clock jumped by {shift_s} s")
            _require_last(work, job_id)
            _require_command(root, job_id)
            stop_server(resolve_state_dir(root))
            clock.set(-shift_s if number % 2 else 0)  # between two runs
            work.state = start_server(root, started_by="agent", overrides=settings).state
            _require_last(work, job_id)
            work.check_end()
        return work.answers


def _shift_daemon(scratch: Path, clock: ShiftedClock) -> None:
    """Let a daemon's clock jump: a project is closed once it was idle for its time, neither before nor after."""
    for idle_s, is_to_stay in ((LONG_IDLE_S, True), (SHORT_IDLE_S, False)):
        clock.set(0)
        with project(scratch, f"shared {idle_s}") as root:
            try:
                daemon = start_daemon(overrides={"port": 0, "project_idle_seconds": idle_s}).state
                state = register_project(daemon, root, resolve_state_dir(root))
                work = prepare(root, SEED, state, shared_project_home(str(state.project_id)))
                for shift_s in JUMPS_S:
                    clock.set(shift_s)
                    _await_closing(daemon, is_to_stay=is_to_stay, why=f"{idle_s} s of idleness, jump to {shift_s} s")
                    work.check_end()
            finally:
                stop_daemon(force=True)


def _await_closing(daemon: RuntimeState, *, is_to_stay: bool, why: str) -> None:
    def is_open() -> bool:
        return any(found["is_open"] for found in list_projects(daemon))

    if is_to_stay:
        time.sleep(LOOK_S)
        require(is_open(), f"a project was closed after a moment: {why}")
    else:
        wait_until(lambda: not is_open(), f"the end of {why}", COMMAND_LIMIT_S)


def _require_last(work: IndexedProject, job_id: str) -> None:
    last = work.ask("GET", "/health/status")["last_job"]
    require(last["job_id"] == job_id, f"the last job is {job_id}, and {last} is told as the last")


def _require_clock(work: IndexedProject, shift_s: int) -> None:
    """Make sure that the server's clock is the one that was put forward or back."""
    told = datetime.fromisoformat(work.ask("GET", "/health/status")["last_job"]["created_at"])
    off = (told - datetime.now(UTC)).total_seconds() - shift_s
    require(abs(off) < COMMAND_LIMIT_S, f"the clock was not put to {shift_s} s, but to {off} s more")


def _require_command(root: Path, job_id: str) -> None:
    """Let the command tell the state, with the same clock."""
    command = [sys.executable, "-m", "agent_brain_cli", "status", "--json", "--project-root", str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=COMMAND_LIMIT_S)
    require(done.returncode == 0, f"status says {done.stdout} {done.stderr}")
    document: dict[str, Any] = json.loads(done.stdout)
    require(document["index"]["last_job"]["job_id"] == job_id, f"status says {document['index']['last_job']}")
    require(document["uptime_seconds"] < MAX_UPTIME_S, f"status says that it runs for {document['uptime_seconds']} s")
