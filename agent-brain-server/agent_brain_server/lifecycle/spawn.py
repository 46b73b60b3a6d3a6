"""Start a detached server process and wait for its report over the ready pipe."""

import contextlib
import json
import logging
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from agent_brain_server import errors
from agent_brain_server.errors import AgentBrainError, DeadlineError, StartError, StateDirError
from agent_brain_server.lifecycle.log import read_log_tail
from agent_brain_server.runtime import RuntimeState
from agent_brain_server.storage_paths import STATE_DIR_VARIABLE, make_child_environment, stderr_log_path
from agent_brain_server.support.state_files import make_private_dir, open_log

logger = logging.getLogger(__name__)

StartedBy = Literal["user", "agent"]
"""A server that an agent started ends by itself after a time without requests."""

READ_SIZE = 65_536
MAX_STDERR_BYTES = 1_000_000  # then the file is replaced; the server's log rotates by itself

MAX_STARTS = 3
"""Attempts for a process that ends before it is ready and wrote nothing, which is how a process ends that is killed for
lack of memory. A process that fails by itself writes a reason, and would fail again."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The server listens and has published `state`."""

    state: RuntimeState


@dataclass(frozen=True, slots=True)
class Held:
    """Another process holds the lock: it is the server, or is about to be."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The server could not start."""

    error: AgentBrainError


Outcome = Ready | Held | Failed


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """Describes a server to start.

    Attributes:
        name: Name in messages, such as `the server of /home/me/project`.
        state_dir: Absolute; exists.
        arguments: Command-line arguments of the server process.
        status_command: Command that shows whether it runs.
        stop_command: Command that ends it.
        project_root: The project that it serves; `None` for the shared daemon.
    """

    name: str
    state_dir: Path
    arguments: tuple[str, ...]
    status_command: str
    stop_command: str
    project_root: Path | None = None


class ReadyPipe:
    """The server's end of the ready pipe. Only the first message is sent; a starter that has ended is no error.

    Args:
        descriptor: The end to write to; `None` if no process waits.
    """

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        if descriptor is not None:
            os.set_inheritable(descriptor, False)

    @property
    def is_open(self) -> bool:
        """Whether a process waits for a message."""
        return self._descriptor is not None

    def send_ready(self, state: RuntimeState) -> None:
        """Report that the server answers."""
        self._send({"outcome": "ready", "state": state.model_dump(mode="json")})

    def send_held(self) -> None:
        """Report that another process holds the lock."""
        self._send({"outcome": "held"})

    def send_failed(self, error: AgentBrainError) -> None:
        """Report why the server does not start, with the notes of the error."""
        self._send(
            {
                "outcome": "failed",
                "kind": type(error).__name__,
                "message": error.message,
                "hint": error.hint,
                "code": error.code,
                "notes": getattr(error, "__notes__", []),
            }
        )

    def _send(self, message: dict[str, object]) -> None:
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        # Python ignores SIGPIPE: if the starter has ended, the write fails
        with contextlib.suppress(OSError), os.fdopen(descriptor, "wb") as pipe:
            pipe.write(json.dumps(message).encode() + b"\n")


def launch(
    plan: LaunchPlan, overrides: Mapping[str, Any], started_by: StartedBy, deadline: float
) -> RuntimeState | None:
    """Start the server process and wait until it answers. Return `None` if another process holds the lock.

    Args:
        plan: The server.
        overrides: Settings by name that override all others.
        started_by: Whether the user or an agent starts it.
        deadline: On the monotonic clock.

    Raises:
        AgentBrainError: The error that the process reported; the last lines of its log are in the notes.
        DeadlineError: The server is not ready yet.
    """
    for starts_left in reversed(range(MAX_STARTS)):
        outcome, stderr_lines = _launch_once(plan, overrides, started_by, deadline)
        if outcome is not None or stderr_lines or not starts_left:
            break
        logger.warning("%s ended before it was ready and reported nothing; starting it again", capitalize(plan.name))
    match outcome:
        case Ready(state):
            return state
        case Held():
            return None
        case None:
            raise _describe_crash(stderr_log_path(plan.state_dir), stderr_lines)
    raise outcome.error


def receive_outcome(descriptor: int, deadline: float) -> Outcome | None:
    """Wait for the server's message.

    Args:
        descriptor: The end of the pipe to read from.
        deadline: On the monotonic clock.

    Returns:
        `None` if the server ended without a message.

    Raises:
        TimeoutError: Neither a message nor the end of the process until `deadline`.
    """
    data = b""
    while not data.endswith(b"\n"):
        readable, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        if not readable:
            raise TimeoutError
        piece = os.read(descriptor, READ_SIZE)
        if not piece:
            return None
        data += piece
    return _parse_outcome(json.loads(data))


def capitalize(text: str) -> str:
    """Return `text` with a capital first letter; `str.capitalize` would change the rest too."""
    return text[:1].upper() + text[1:]


def _parse_outcome(message: dict[str, object]) -> Outcome:
    if message["outcome"] == "held":
        return Held()
    if message["outcome"] == "failed":
        return Failed(_rebuild_error(message))
    try:
        return Ready(RuntimeState.model_validate(message["state"]))
    except ValidationError as exc:
        return Failed(StartError(f"The server's description of itself is invalid: {exc}."))


def _rebuild_error(message: dict[str, object]) -> AgentBrainError:
    kind = getattr(errors, str(message["kind"]), StartError)
    error: AgentBrainError = kind(str(message["message"]), hint=str(message["hint"]), code=str(message["code"]))
    notes = message["notes"]
    for note in notes if isinstance(notes, list) else []:
        error.add_note(str(note))
    return error


def _launch_once(
    plan: LaunchPlan, overrides: Mapping[str, Any], started_by: StartedBy, deadline: float
) -> tuple[Outcome | None, list[str]]:
    """Start the process. Return its report or, without one, the last lines that it wrote to stderr."""
    stderr_path = stderr_log_path(plan.state_dir)
    offset = _prepare_stderr(stderr_path)
    reader, writer = os.pipe()
    try:
        try:
            process = _spawn(_make_command(plan, overrides, started_by, writer), writer, stderr_path)
        finally:
            os.close(writer)
        outcome = receive_outcome(reader, deadline)
    except TimeoutError as exc:
        if process.poll() is None:  # it has not even forked the server: the interpreter hangs
            process.kill()
            process.wait()
            raise DeadlineError(f"{capitalize(plan.name)} did not begin to start.") from exc
        raise DeadlineError(
            f"{capitalize(plan.name)} is not ready yet.", hint=f"It may still become ready: {plan.status_command}"
        ) from exc
    finally:
        os.close(reader)
    process.wait()  # it has forked the server and ended, so that the server is not our child and never our zombie
    return outcome, [] if outcome is not None else read_log_tail(stderr_path, offset=offset)


def _make_command(plan: LaunchPlan, overrides: Mapping[str, Any], started_by: StartedBy, ready_fd: int) -> list[str]:
    # -P: do not run a module of the same name in the current directory instead
    command = [sys.executable, "-P", "-m", "agent_brain_server", *plan.arguments]
    command += ["--started-by", started_by, "--ready-fd", str(ready_fd)]
    for key, value in overrides.items():
        if value is not None:
            command += ["--set", f"{key}={value}"]
    return command


def _make_environment() -> dict[str, str]:
    # the arguments name the state directory, and the daemon must not use that of one project
    return {name: value for name, value in make_child_environment().items() if name != STATE_DIR_VARIABLE}


def _spawn(command: list[str], ready_fd: int, stderr_path: Path) -> subprocess.Popen[bytes]:
    try:
        with open(open_log(stderr_path), "ab") as stderr:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                cwd="/",  # the server must not prevent a disk from being unmounted
                env=_make_environment(),
                start_new_session=True,
                pass_fds=(ready_fd,),
            )
    except OSError as exc:
        raise StartError(f"The server process could not be started: {exc}.") from exc


def _prepare_stderr(path: Path) -> int:
    """Return the length of the file, to which the server process appends."""
    try:
        make_private_dir(path.parent)
        with open(open_log(path, max_bytes=MAX_STDERR_BYTES), "ab") as file:
            return os.fstat(file.fileno()).st_size
    except OSError as exc:
        raise StateDirError(f"The directory {path.parent} cannot be written: {exc.strerror}.") from exc


def _describe_crash(stderr_path: Path, stderr_lines: list[str]) -> AgentBrainError:
    error = StartError("The server process ended before it was ready.", hint=f"See {stderr_path}.")
    if stderr_lines:
        error.add_note("\n".join(["Its last lines were:", *stderr_lines]))
    return error
