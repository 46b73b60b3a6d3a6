"""How a starting server tells the process that started it what became of the start: one JSON line over a pipe.

The starter waits on the pipe and nothing polls. If the server dies without a word, the pipe is closed by the kernel.
"""

import contextlib
import json
import os
import select
import time
from dataclasses import dataclass

from pydantic import ValidationError

from agent_brain_server import errors
from agent_brain_server.errors import AgentBrainError, StartError
from agent_brain_server.runtime import RuntimeState

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
