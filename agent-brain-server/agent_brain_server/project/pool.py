"""A pool of open projects: the first request opens an index, and idle ones are closed to stay within a limit."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from agent_brain_server.errors import AgentBrainError, InvalidRequestError, NotFoundError, UnavailableError
from agent_brain_server.lifecycle.registry import RegisteredProject
from agent_brain_server.storage_paths import require_project_id

logger = logging.getLogger(__name__)

OPEN_LIMIT_S = 30.0
"""Time that a request waits for an index that is being opened or closed."""

MAX_WAITING_REQUESTS = 24
"""Requests that may wait for one index to open; more are refused, so that threads remain for other projects."""

RETIRE_LIMIT_S = 10.0
"""Time that requests in progress may delay closing an index."""


class OpenProject(Protocol):
    """An open index as the pool needs it; `ProjectServices` implements it."""

    def is_busy(self) -> bool:
        """Return whether a job is queued or running."""

    def retire(self) -> None:
        """Make streams end."""

    def close(self) -> None:
        """Close everything."""


Opened = TypeVar("Opened", bound=OpenProject)


@dataclass(slots=True, eq=False)
class PoolEntry(Generic[Opened]):
    """A project that is open, being opened or being closed. Guarded by the pool's condition.

    Attributes:
        opened: `None` while it is being opened.
        leases: Requests that use it.
        waiting: Requests that wait for it to open.
        is_closing: No new request may use it.
        failure: Why it could not be opened.
        last_used: Time of `time.monotonic`.
    """

    opened: Opened | None = None
    leases: int = 0
    waiting: int = 0
    is_closing: bool = False
    failure: UnavailableError | None = None
    last_used: float = field(default_factory=time.monotonic)

    def is_unused(self) -> bool:
        """Return whether no request uses it and it is not being closed."""
        return not self.leases and not self.is_closing


def is_busy(opened: OpenProject) -> bool:
    """Return whether a job is queued or running; `False` if the store cannot be read."""
    try:
        return opened.is_busy()
    except AgentBrainError:
        return False  # closed and opened again, the store reports the damage, or is repaired


def describe_failure(project: RegisteredProject, error: Exception) -> UnavailableError:
    """Return the error for all requests that waited for an index that could not be opened."""
    reason = error.message if isinstance(error, AgentBrainError) else f"{type(error).__name__}: {error}."
    return UnavailableError(
        f"The index of project {project.project_id} cannot be opened: {reason}",
        hint=error.hint if isinstance(error, AgentBrainError) else AgentBrainError.default_hint,
        code="project_unavailable",
    )


class ProjectPool(Generic[Opened]):
    """Lend the open indexes of registered projects; thread-safe.

    An index that is leased or busy is never closed for room, so the limit can be exceeded while many projects work.

    Args:
        open_project: Opens the index of a project; may block and fail.
        max_open: Indexes that may be open at the same time.
        idle_s: Seconds without a request after which an index is closed.
    """

    def __init__(self, open_project: Callable[[RegisteredProject], Opened], *, max_open: int, idle_s: float) -> None:
        self._open_project = open_project
        self._max_open = max_open
        self._idle_s = idle_s
        self._registered: dict[str, RegisteredProject] = {}
        self._entries: dict[str, PoolEntry[Opened]] = {}
        self._changed = threading.Condition()
        self._is_closed = False

    def admit(self, project: RegisteredProject) -> None:
        """Add a registered project."""
        with self._changed:
            self._registered[project.project_id] = project

    def dismiss(self, project_id: str) -> None:
        """Remove a project, and close its index.

        Raises:
            NotFoundError: It is not registered.
            UnavailableError: A request in progress does not end; the project stays registered.
        """
        with self._changed:
            project = self.find(project_id)
            del self._registered[project_id]
            entry = self._entries.get(project_id)
            if entry is not None and entry.opened is not None:
                entry.opened.retire()
            if not self._changed.wait_for(lambda: self._is_unused(project_id), RETIRE_LIMIT_S):
                self._registered[project_id] = project
                raise UnavailableError(f"A request to project {project_id} is still in progress.")
            entry = self._begin_closing(project_id)
        if entry is not None:
            self._finish_closing(project_id, entry)

    def projects(self) -> list[RegisteredProject]:
        """Return the registered projects, ordered by root."""
        return sorted(self._registered.copy().values(), key=lambda project: project.root)

    def find(self, project_id: str | None) -> RegisteredProject:
        """Return a registered project.

        Raises:
            InvalidRequestError: The id is missing or malformed.
            NotFoundError: No such project is registered.
        """
        if project_id is None:
            raise InvalidRequestError(
                "project_id: missing; this server serves several projects.",
                code="project_id_required",
                hint="Send the project_id; GET /projects lists the projects.",
            )
        require_project_id(project_id)
        project = self._registered.get(project_id)
        if project is None:
            raise NotFoundError(
                f"No project {project_id} is registered.",
                code="unknown_project",
                hint='Register it: POST /projects {"project_root": "..."}',
            )
        return project

    def is_open(self, project_id: str) -> bool:
        """Return whether the index of a project is open."""
        entry = self._entries.get(project_id)
        return entry is not None and entry.opened is not None and not entry.is_closing

    def list_open(self) -> list[Opened]:
        """Return the open indexes; they may be closed at any time."""
        return [entry.opened for entry in self._entries.copy().values() if entry.opened and not entry.is_closing]

    def has_room(self) -> bool:
        """Return whether another index can become busy without exceeding the limit."""
        return sum(is_busy(opened) for opened in self.list_open()) < self._max_open

    def __len__(self) -> int:
        """Return the number of registered projects."""
        return len(self._registered)

    def is_busy(self) -> bool:
        """Return whether a job is queued or running in any project."""
        return any(opened.is_busy() for opened in self.list_open())

    @contextmanager
    def lease(self, project_id: str | None) -> Iterator[Opened]:
        """Lend the index of a project for the duration of a block; it is opened if necessary.

        Raises:
            InvalidRequestError: The id is missing or malformed.
            NotFoundError: The project is not registered, or its root does not exist.
            UnavailableError: The index cannot be opened, or too many requests wait for it.
        """
        project = self.find(project_id)
        if not project.has_root():
            raise NotFoundError(
                f"The root of project {project.project_id} does not exist: {project.root}.",
                code="project_root_missing",
                hint=f"Restore it, or unregister the project: DELETE /projects/{project.project_id}",
            )
        entry = self._enter(project)
        try:
            opened = entry.opened if entry.opened is not None else self._open(project, entry)
            yield opened
        finally:
            with self._changed:
                entry.leases -= 1
                entry.last_used = time.monotonic()
                self._changed.notify_all()

    def close_idle(self) -> int:
        """Close idle indexes and those over the limit; return their number."""
        closed = 0
        while (leaving := self._claim_free(0.0 if self._is_over_limit() else self._idle_s)) is not None:
            self._finish_closing(*leaving)
            closed += 1
        return closed

    def close_one(self, project_id: str) -> None:
        """Close an index after its requests; later requests wait, then open it again."""
        with self._changed:
            entry = self._begin_closing(project_id)
            if entry is None or entry.opened is None:
                return
            entry.opened.retire()
            self._changed.wait_for(lambda: not entry.leases, RETIRE_LIMIT_S)
        self._finish_closing(project_id, entry)

    def close(self) -> None:
        """Close every index, even if one fails to close."""
        with self._changed:
            self._is_closed = True
            for entry in self._entries.values():
                if entry.opened is not None:
                    entry.opened.retire()
            self._changed.wait_for(lambda: not any(entry.leases for entry in self._entries.values()), RETIRE_LIMIT_S)
            leaving = [(project_id, self._begin_closing(project_id)) for project_id in list(self._entries)]
        for project_id, closing in leaving:
            if closing is not None:
                self._finish_closing(project_id, closing)

    def _enter(self, project: RegisteredProject) -> PoolEntry[Opened]:
        """Lease an open index, or create the entry of one that the caller must open."""
        deadline = time.monotonic() + OPEN_LIMIT_S
        with self._changed:
            while True:
                self.find(project.project_id)  # it may have been unregistered while this thread waited
                entry = self._entries.get(project.project_id)
                if entry is None:
                    entry = self._entries[project.project_id] = PoolEntry()
                elif entry.opened is None or entry.is_closing:
                    self._await_change(project.project_id, entry, deadline)
                    continue
                entry.leases += 1
                return entry

    def _await_change(self, project_id: str, entry: PoolEntry[Opened], deadline: float) -> None:
        remaining = deadline - time.monotonic()
        if entry.waiting >= MAX_WAITING_REQUESTS or remaining <= 0:
            raise UnavailableError(f"The index of project {project_id} is being opened or closed.", code="project_busy")
        entry.waiting += 1
        try:
            self._changed.wait(remaining)
        finally:
            entry.waiting -= 1
        if entry.failure is not None:
            raise UnavailableError(entry.failure.message, hint=entry.failure.hint, code=entry.failure.code)

    def _open(self, project: RegisteredProject, entry: PoolEntry[Opened]) -> Opened:
        """Open the index for an entry that the caller created."""
        while self._is_over_limit() and (leaving := self._claim_free(0.0)) is not None:
            self._finish_closing(*leaving)
        try:
            opened = self._open_project(project)
        except Exception as exc:
            logger.warning("The index of %s could not be opened", project.root, exc_info=exc)
            failure = describe_failure(project, exc)
            with self._changed:
                entry.failure = failure
                del self._entries[project.project_id]
                self._changed.notify_all()
            raise failure from exc
        with self._changed:
            entry.opened = opened
            if project.project_id not in self._registered or self._is_closed:
                opened.retire()
            self._changed.notify_all()
        return opened

    def _is_over_limit(self) -> bool:
        return len(self._entries) > self._max_open

    def _claim_free(self, unused_s: float) -> tuple[str, PoolEntry[Opened]] | None:
        """Mark the least recently used index that can be closed, and return it; `None` if there is none.

        Args:
            unused_s: Minimum time since its last use, in seconds.
        """
        latest = time.monotonic() - unused_s
        with self._changed:
            unused = [
                (entry.last_used, project_id, entry)
                for project_id, entry in self._entries.items()
                if entry.opened is not None and entry.is_unused() and entry.last_used <= latest
            ]
        for last_used, project_id, entry in sorted(unused, key=lambda item: item[:2]):
            # asked without the lock, which other projects need; so the entry is checked again afterwards
            if entry.opened is None or is_busy(entry.opened):
                continue
            with self._changed:
                if entry.is_unused() and entry.last_used == last_used:
                    entry.is_closing = True
                    return project_id, entry
        return None

    def _is_unused(self, project_id: str) -> bool:
        entry = self._entries.get(project_id)
        return entry is None or entry.is_unused()

    def _begin_closing(self, project_id: str) -> PoolEntry[Opened] | None:
        entry = self._entries.get(project_id)
        if entry is None or entry.opened is None or entry.is_closing:
            return None
        entry.is_closing = True
        return entry

    def _finish_closing(self, project_id: str, entry: PoolEntry[Opened]) -> None:
        try:
            if entry.opened is not None:
                entry.opened.close()
        except Exception:  # boundary: one failure must not stop the others
            logger.exception("The index of project %s could not be closed properly", project_id)
        with self._changed:
            if self._entries.get(project_id) is entry:
                del self._entries[project_id]
            self._changed.notify_all()
