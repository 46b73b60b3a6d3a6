"""Starting and stopping a project's server: the one implementation, for the command line and for agents.

The lock decides. A start that finds it held waits for the holder's runtime file; a stop signals nobody but the process
that is proven to be the holder, and returns when that process has ended and nothing of it is left.
"""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from agent_brain_server.errors import AgentBrainError, ConfigError, DeadlineError, StartError, StateDirError
from agent_brain_server.local_http import fetch_instance_id
from agent_brain_server.locking import cleanup_stale, is_stale, read_holder
from agent_brain_server.log_tail import read_log_tail
from agent_brain_server.processes import ProcessHandle
from agent_brain_server.ready_pipe import Held, Ready, receive_outcome
from agent_brain_server.runtime import RuntimeState, read_runtime, validate_runtime
from agent_brain_server.storage_paths import prepare_state_dir, resolve_state_dir, stderr_log_path

logger = logging.getLogger(__name__)

StartedBy = Literal["person", "agent"]

DEFAULT_LIMIT_S = 30.0  # a start takes about a second, a stop what its slowest request takes
WAIT_INTERVAL_S = 0.01  # between looks at a file that another process is about to write
KILL_LIMIT_S = 10.0  # SIGKILL waits only for a system call that cannot be interrupted
PROOF_TIMEOUT_S = 0.5  # a hung server must still be stoppable: no answer is no objection
MAX_STDERR_BYTES = 1_000_000  # then the file is begun anew; the log proper rotates by itself


@dataclass(frozen=True, slots=True)
class StartResult:
    """A running server; `started` is False where it ran already."""

    state: RuntimeState
    started: bool


@dataclass(frozen=True, slots=True)
class StopResult:
    """What a stop did.

    Attributes:
        stopped: False where no server ran.
        forced: True where it had to be killed.
        pid: The process that was ended.
    """

    stopped: bool
    forced: bool
    pid: int | None


def start_server(
    project_root: Path,
    *,
    state_dir: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    started_by: StartedBy = "person",
    timeout_s: float = DEFAULT_LIMIT_S,
) -> StartResult:
    """Return the server of a project, started if none runs; any number of simultaneous calls get the same one.

    Args:
        project_root: Root of the project.
        state_dir: Where its state lies, if not in the default place.
        overrides: Settings by name that go before all others; they do not change a server that runs already.
        started_by: A server that an agent started ends by itself after a time without requests.
        timeout_s: Seconds to wait until a server answers.

    Raises:
        StateDirError: The state directory is unusable.
        ConfigError: A setting is wrong, or the project is not a directory.
        StartError: The server could not start; its last log lines are in the notes.
        DeadlineError: No server answered in time.
    """
    root = project_root.expanduser().resolve()
    if not root.is_dir():
        raise ConfigError(f"{root} is not a directory.", hint="Name an existing one with --project-root.")
    place = resolve_state_dir(root, state_dir)
    prepare_state_dir(place)
    deadline = time.monotonic() + timeout_s
    while True:
        running = _await_holder(place, deadline)
        if running is not None:
            return StartResult(_require_same_project(running, root, place), started=False)
        started = _launch(root, place, overrides or {}, started_by, deadline)
        if started is not None:
            return StartResult(started, started=True)


def stop_server(state_dir: Path, *, timeout_s: float = DEFAULT_LIMIT_S, force: bool = False) -> StopResult:
    """End the server of a state directory; on return it has ended and nothing of it is left.

    Args:
        state_dir: Absolute.
        timeout_s: Seconds to wait for an orderly end.
        force: Kill it where that is not enough.

    Raises:
        DeadlineError: It still runs, or the holder of the lock can't be proven to be the server.
        StateDirError: What it left can't be removed.
    """
    deadline = time.monotonic() + timeout_s
    while not cleanup_stale(state_dir):
        process = _find_holder(state_dir)
        if process is not None:
            with process:
                forced = _end_process(process, deadline, force=force)
            cleanup_stale(state_dir)
            return StopResult(stopped=True, forced=forced, pid=process.pid)
        # the holder has not described itself yet, or is just leaving
        if time.monotonic() >= deadline:
            raise DeadlineError(
                f"The lock of {state_dir} is held by a process that can't be proven to be its server.",
                hint="Find it with: fuser -v <state directory>/*.lock",
            )
        time.sleep(WAIT_INTERVAL_S)
    return StopResult(stopped=False, forced=False, pid=None)


def _await_holder(state_dir: Path, deadline: float) -> RuntimeState | None:
    while not is_stale(state_dir):
        state = read_runtime(state_dir)
        remaining = deadline - time.monotonic()
        if state is not None and validate_runtime(state, timeout=max(PROOF_TIMEOUT_S, remaining)):
            return state
        if remaining <= 0:
            holder = read_holder(state_dir)
            who = f"process {holder[0]}" if holder else "a process"
            raise DeadlineError(
                f"A server of {state_dir} is there ({who}), but does not answer.",
                hint="Wait and try again, or end it with: agent-brain stop --force",
            )
        time.sleep(WAIT_INTERVAL_S)
    return None


def _require_same_project(state: RuntimeState, root: Path, state_dir: Path) -> RuntimeState:
    if state.project_root == str(root):
        return state
    raise StartError(
        f"The state directory {state_dir} is in use by the server of {state.project_root} (pid {state.pid}).",
        hint="Stop that one with: agent-brain stop, or name another directory with --state-dir.",
        code="state_dir_in_use",
    )


def _launch(
    root: Path, state_dir: Path, overrides: Mapping[str, Any], started_by: StartedBy, deadline: float
) -> RuntimeState | None:
    stderr_path = stderr_log_path(state_dir)
    offset = _prepare_stderr(stderr_path)
    reader, writer = os.pipe()
    try:
        try:
            command = _make_command(root, state_dir, overrides, started_by, writer)
            _spawn(command, writer, stderr_path)
        finally:
            os.close(writer)
        outcome = receive_outcome(reader, deadline)
    except TimeoutError as exc:
        raise DeadlineError(
            f"The server of {root} is not ready yet.", hint="It may still become so: agent-brain status"
        ) from exc
    finally:
        os.close(reader)
    match outcome:
        case Ready(state):
            return state
        case Held():
            return None
        case None:
            raise _describe_crash(stderr_path, offset)
    raise outcome.error


def _make_command(
    root: Path, state_dir: Path, overrides: Mapping[str, Any], started_by: StartedBy, ready_fd: int
) -> list[str]:
    # -P: a module of the same name in the current directory must not be run instead
    command = [sys.executable, "-P", "-m", "agent_brain_server", "--project-root", str(root)]
    command += ["--state-dir", str(state_dir), "--started-by", started_by, "--ready-fd", str(ready_fd)]
    for key, value in overrides.items():
        if value is not None:
            command += ["--set", f"{key}={value}"]
    return command


def _spawn(command: list[str], ready_fd: int, stderr_path: Path) -> None:
    try:
        with stderr_path.open("ab") as stderr:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                cwd="/",  # the server must not keep a disk from being unmounted
                start_new_session=True,
                pass_fds=(ready_fd,),
            )
    except OSError as exc:
        raise StartError(f"The server process could not be started: {exc}.") from exc
    # the process forks the server and ends at once, so that the server is nobody's child and never a zombie of ours
    process.wait()


def _prepare_stderr(path: Path) -> int:
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        size = path.stat().st_size if path.exists() else 0
        if size > MAX_STDERR_BYTES:
            path.unlink()
            size = 0
    except OSError as exc:
        raise StateDirError(f"The directory {path.parent} cannot be written: {exc.strerror}.") from exc
    return size


def _describe_crash(stderr_path: Path, offset: int) -> AgentBrainError:
    tail = read_log_tail(stderr_path, offset=offset)
    error = StartError("The server process ended before it was ready.", hint=f"See {stderr_path}.")
    if tail:
        error.add_note("\n".join(["Its last lines were:", *tail]))
    return error


def _find_holder(state_dir: Path) -> ProcessHandle | None:
    """Return the process that holds the lock, if start time and instance id say that it is the server."""
    holder = read_holder(state_dir)
    if holder is None:
        return None
    process = ProcessHandle.open(*holder)
    if process is None:
        return None
    state = None
    with contextlib.suppress(AgentBrainError):  # a file of another version says nothing against the process
        state = read_runtime(state_dir)
    if state is not None and state.pid == process.pid:
        answer = fetch_instance_id(state.base_url, timeout=PROOF_TIMEOUT_S)
        if answer is not None and answer != state.instance_id:
            process.close()
            return None
    return process


def _end_process(process: ProcessHandle, deadline: float, *, force: bool) -> bool:
    process.send(signal.SIGTERM)
    if process.wait(deadline - time.monotonic()):
        return False
    if force:
        logger.warning("Killing process %d, which did not end in time", process.pid)
        process.send(signal.SIGKILL)
        if process.wait(KILL_LIMIT_S):
            return True
    raise DeadlineError(
        f"The server (process {process.pid}) did not end in time.", hint="Kill it with: agent-brain stop --force"
    )
