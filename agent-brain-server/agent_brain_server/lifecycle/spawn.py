"""Starting a server process and hearing what became of it: detached, nobody's child, reporting over the ready pipe."""

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

READ_SIZE = 65_536


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


class ReadyPipe:
    """The server's end of the pipe; each message is sent once, and a starter that is gone is no trouble.

    Args:
        descriptor: The end to write to, or None where nobody waits.
    """

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        if descriptor is not None:
            os.set_inheritable(descriptor, False)

    @property
    def is_open(self) -> bool:
        """True while somebody waits for a message."""
        return self._descriptor is not None

    def tell_ready(self, state: RuntimeState) -> None:
        """Say that the server answers."""
        self._send({"outcome": "ready", "state": state.model_dump(mode="json")})

    def tell_held(self) -> None:
        """Say that another process holds the lock."""
        self._send({"outcome": "held"})

    def tell_failed(self, error: AgentBrainError) -> None:
        """Say why the server does not start; the notes of the error go along."""
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
        # Python ignores SIGPIPE: a starter that has gone shows as an error of the write
        with contextlib.suppress(OSError), os.fdopen(descriptor, "wb") as pipe:
            pipe.write(json.dumps(message).encode() + b"\n")


def receive_outcome(descriptor: int, deadline: float) -> Ready | Held | Failed | None:
    """Wait for the server's message.

    Args:
        descriptor: The end to read from.
        deadline: Until when to wait, on the monotonic clock.

    Returns:
        None where the server ended without a word.

    Raises:
        TimeoutError: Neither a message nor an end until `deadline`.
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


def _parse_outcome(message: dict[str, object]) -> Ready | Held | Failed:
    if message["outcome"] == "held":
        return Held()
    if message["outcome"] == "failed":
        return Failed(_rebuild_error(message))
    try:
        return Ready(RuntimeState.model_validate(message["state"]))
    except ValidationError as exc:
        return Failed(StartError(f"The server describes itself in a way that is not understood: {exc}."))


def _rebuild_error(message: dict[str, object]) -> AgentBrainError:
    kind = getattr(errors, str(message["kind"]), StartError)
    error: AgentBrainError = kind(str(message["message"]), hint=str(message["hint"]), code=str(message["code"]))
    notes = message["notes"]
    for note in notes if isinstance(notes, list) else []:
        error.add_note(str(note))
    return error


logger = logging.getLogger(__name__)

StartedBy = Literal["person", "agent"]

MAX_STARTS = 3
"""How often a process is started that ends before it is ready without having written a word: that is how one ends which
is killed, for want of memory say. One that fails by itself says why, and would only fail again."""

MAX_STDERR_BYTES = 1_000_000  # then the file is begun anew; the log proper rotates by itself


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """Which server to start.

    Attributes:
        name: As messages call it, such as `the server of /home/me/project`.
        state_dir: Absolute; exists.
        arguments: What tells the process which server to be.
        status_command: Shows whether it runs.
        stop_command: Ends it.
        project_root: The project that it serves; `None` for the shared daemon.
    """

    name: str
    state_dir: Path
    arguments: tuple[str, ...]
    status_command: str
    stop_command: str
    project_root: Path | None = None


def launch(
    plan: LaunchPlan, overrides: Mapping[str, Any], started_by: StartedBy, deadline: float
) -> RuntimeState | None:
    """Start the process and wait until it answers; None where it found the lock held.

    Args:
        plan: Which server.
        overrides: Settings by name that go before all others.
        started_by: A server that an agent started ends by itself after a time without requests.
        deadline: On the monotonic clock.

    Raises:
        AgentBrainError: What the process reported; the last lines of its log are in the notes.
        DeadlineError: It is not ready yet.
    """
    for starts_left in reversed(range(MAX_STARTS)):
        outcome, last_words = _launch_once(plan, overrides, started_by, deadline)
        if outcome is not None or last_words or not starts_left:
            break
        logger.warning("%s ended before it was ready, without a word: it is started again", capitalise(plan.name))
    match outcome:
        case Ready(state):
            return state
        case Held():
            return None
        case None:
            raise _describe_crash(stderr_log_path(plan.state_dir), last_words)
    raise outcome.error


def _launch_once(
    plan: LaunchPlan, overrides: Mapping[str, Any], started_by: StartedBy, deadline: float
) -> tuple[Ready | Held | Failed | None, list[str]]:
    """Start the process; return what it reported, and if nothing, the last lines that it wrote."""
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
        if process.poll() is None:  # not even detached: an interpreter that hangs, and so never the server
            process.kill()
            process.wait()
            raise DeadlineError(f"{capitalise(plan.name)} did not begin to start.") from exc
        raise DeadlineError(
            f"{capitalise(plan.name)} is not ready yet.", hint=f"It may still become so: {plan.status_command}"
        ) from exc
    finally:
        os.close(reader)
    process.wait()  # it has forked the server and ended: that is nobody's child and never a zombie of ours
    return outcome, [] if outcome is not None else read_log_tail(stderr_path, offset=offset)


def capitalise(text: str) -> str:
    """Return `text` with a capital first letter; `str.capitalize` would change the rest too."""
    return text[:1].upper() + text[1:]


def _make_command(plan: LaunchPlan, overrides: Mapping[str, Any], started_by: StartedBy, ready_fd: int) -> list[str]:
    # -P: a module of the same name in the current directory must not be run instead
    command = [sys.executable, "-P", "-m", "agent_brain_server", *plan.arguments]
    command += ["--started-by", started_by, "--ready-fd", str(ready_fd)]
    for key, value in overrides.items():
        if value is not None:
            command += ["--set", f"{key}={value}"]
    return command


def _make_environment() -> dict[str, str]:
    # the state directory is named in the arguments, and a daemon must not take one project's for that of all
    return {name: value for name, value in make_child_environment().items() if name != STATE_DIR_VARIABLE}


def _spawn(command: list[str], ready_fd: int, stderr_path: Path) -> subprocess.Popen[bytes]:
    try:
        with open(open_log(stderr_path), "ab") as stderr:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                cwd="/",  # the server must not keep a disk from being unmounted
                env=_make_environment(),
                start_new_session=True,
                pass_fds=(ready_fd,),
            )
    except OSError as exc:
        raise StartError(f"The server process could not be started: {exc}.") from exc


def _prepare_stderr(path: Path) -> int:
    """Return the length of the file, to which the server's process will append."""
    try:
        make_private_dir(path.parent)
        with open(open_log(path, max_bytes=MAX_STDERR_BYTES), "ab") as file:
            return os.fstat(file.fileno()).st_size
    except OSError as exc:
        raise StateDirError(f"The directory {path.parent} cannot be written: {exc.strerror}.") from exc


def _describe_crash(stderr_path: Path, last_words: list[str]) -> AgentBrainError:
    error = StartError("The server process ended before it was ready.", hint=f"See {stderr_path}.")
    if last_words:
        error.add_note("\n".join(["Its last lines were:", *last_words]))
    return error
