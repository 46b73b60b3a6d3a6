"""One project of the pool: what it needs of an open index, and what is noted about it."""

import time
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from agent_brain_server.errors import AgentBrainError, UnavailableError
from agent_brain_server.types import RegisteredProject


class OpenProject(Protocol):
    """What the pool needs to know of an open index; `ServiceBundle` is one."""

    def is_busy(self) -> bool:
        """Whether a job runs or waits."""

    def retire(self) -> None:
        """Let streams end."""

    def close(self) -> None:
        """Close everything."""


Opened = TypeVar("Opened", bound=OpenProject)


@dataclass(slots=True, eq=False)
class PoolEntry(Generic[Opened]):
    """A project that is open, or on its way to or from that. Guarded by the pool's condition.

    Attributes:
        opened: None while it is being opened.
        leases: Requests that use it.
        waiting: Requests that wait for it to open.
        is_closing: Nobody may begin to use it any more.
        failure: Why it could not be opened.
        last_used: In seconds of `time.monotonic`.
    """

    opened: Opened | None = None
    leases: int = 0
    waiting: int = 0
    is_closing: bool = False
    failure: UnavailableError | None = None
    last_used: float = field(default_factory=time.monotonic)


def is_unused(entry: PoolEntry[Opened]) -> bool:
    """Whether nobody uses it, nor is it being closed."""
    return not entry.leases and not entry.is_closing


def is_busy(opened: OpenProject) -> bool:
    """Whether a job runs or waits, as far as can be told."""
    try:
        return opened.is_busy()
    except AgentBrainError:
        return False  # its store is broken: closed and opened again, it says so, or is mended


def describe_failure(project: RegisteredProject, error: Exception) -> UnavailableError:
    """Return what everybody is told who waited for an index that could not be opened."""
    reason = error.message if isinstance(error, AgentBrainError) else f"{type(error).__name__}: {error}."
    return UnavailableError(
        f"The index of project {project.project_id} can't be opened: {reason}",
        hint=error.hint if isinstance(error, AgentBrainError) else AgentBrainError.default_hint,
        code="project_unavailable",
    )
