"""The projects whose indexes are open: opened by the first request, closed when idle, never more than a limit."""

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


class OpenProject(Protocol):
    """What the pool needs to know of an open index; `ProjectServices` is one."""

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


logger = logging.getLogger(__name__)

OPEN_LIMIT_S = 30.0
"""How long a request waits for an index that another request opens, or that is being closed."""

MAX_WAITING_REQUESTS = 24
"""Requests that wait for one index to open: others are told to come back, and leave the threads to other projects."""

RETIRE_LIMIT_S = 10.0
"""How long requests that are being answered are waited for when a project is unregistered."""


class ProjectPool(Generic[Opened]):
    """Lends the open indexes of registered projects, from any thread.

    An index that is lent, or that a job is queued or running for, is never closed, so the limit can be exceeded while
    more projects than that are at work.

    Args:
        open_project: Opens the index of a project; takes its time and may fail.
        max_open: Indexes that are open at the same time.
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
        """Serve a project from now on."""
        with self._changed:
            self._registered[project.project_id] = project

    def dismiss(self, project_id: str) -> None:
        """Serve a project no longer; on return its index is closed.

        Raises:
            NotFoundError: It is not registered.
            UnavailableError: A request that is being answered does not end; the project stays registered.
        """
        with self._changed:
            project = self.find(project_id)
            del self._registered[project_id]
            entry = self._entries.get(project_id)
            if entry is not None and entry.opened is not None:
                entry.opened.retire()
            if not self._changed.wait_for(lambda: self._is_unused(project_id), RETIRE_LIMIT_S):
                self._registered[project_id] = project
                raise UnavailableError(f"A request to project {project_id} is still being answered.")
            entry = self._begin_closing(project_id)
        if entry is not None:
            self._finish_closing(project_id, entry)

    def projects(self) -> list[RegisteredProject]:
        """Return the registered projects, ordered by root."""
        return sorted(self._registered.copy().values(), key=lambda project: project.root)

    def find(self, project_id: str | None) -> RegisteredProject:
        """Return a registered project.

        Raises:
            InvalidRequestError: The id is missing, or none.
            NotFoundError: No project is registered with it.
        """
        if project_id is None:
            raise InvalidRequestError(
                "project_id: missing; this server serves many projects.",
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
        """Whether the index of a project is open."""
        entry = self._entries.get(project_id)
        return entry is not None and entry.opened is not None and not entry.is_closing

    def open_now(self) -> list[Opened]:
        """Return the open indexes, which may be closed at any moment."""
        return [entry.opened for entry in self._entries.copy().values() if entry.opened and not entry.is_closing]

    def has_room(self) -> bool:
        """Whether another index can be put to work without exceeding the limit."""
        return sum(is_busy(opened) for opened in self.open_now()) < self._max_open

    def __len__(self) -> int:
        """Return how many projects are registered."""
        return len(self._registered)

    def is_busy(self) -> bool:
        """Whether a job runs or waits in any project."""
        return any(opened.is_busy() for opened in self.open_now())

    @contextmanager
    def lease(self, project_id: str | None) -> Iterator[Opened]:
        """Lend the index of a project for the length of a block; it is opened if need be.

        Raises:
            InvalidRequestError: The id is missing, or none.
            NotFoundError: The project is not registered, or its root is gone.
            UnavailableError: The index can't be opened, or others wait for that already.
        """
        project = self.find(project_id)
        if not project.has_root():
            raise NotFoundError(
                f"The root of project {project.project_id} is gone: {project.root}.",
                code="project_root_missing",
                hint=f"Bring it back, or forget the project: DELETE /projects/{project.project_id}",
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
        """Close what was not asked for lately, and what is over the limit; returns how many those were."""
        closed = 0
        while (leaving := self._claim_free(0.0 if self._is_over_limit() else self._idle_s)) is not None:
            self._finish_closing(*leaving)
            closed += 1
        return closed

    def close_one(self, project_id: str) -> None:
        """Close an index that has to be opened anew, once the requests to it are answered; others wait for that."""
        with self._changed:
            entry = self._begin_closing(project_id)
            if entry is None or entry.opened is None:
                return
            entry.opened.retire()
            self._changed.wait_for(lambda: not entry.leases, RETIRE_LIMIT_S)
        self._finish_closing(project_id, entry)

    def close(self) -> None:
        """Close every index; one that fails to close stops no other."""
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
        """Take part in an index that is open, or make an entry for one that the caller is then to open."""
        deadline = time.monotonic() + OPEN_LIMIT_S
        with self._changed:
            while True:
                self.find(project.project_id)  # it may have been unregistered meanwhile
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
        """Open the index for an entry that the caller has made."""
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
        """Return the index that was used least lately and can be closed without anybody noticing, marked for that.

        Args:
            unused_s: How long it must not have been used, in seconds.
        """
        latest = time.monotonic() - unused_s
        with self._changed:
            unused = [
                (entry.last_used, project_id, entry)
                for project_id, entry in self._entries.items()
                if entry.opened is not None and is_unused(entry) and entry.last_used <= latest
            ]
        for last_used, project_id, entry in sorted(unused, key=lambda item: item[:2]):
            # asked without holding up the other projects, so it is looked again whether somebody came
            if entry.opened is None or is_busy(entry.opened):
                continue
            with self._changed:
                if is_unused(entry) and entry.last_used == last_used:
                    entry.is_closing = True
                    return project_id, entry
        return None

    def _is_unused(self, project_id: str) -> bool:
        entry = self._entries.get(project_id)
        return entry is None or is_unused(entry)

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
        except Exception:  # border: what can't be closed must not keep the others from it
            logger.exception("The index of project %s could not be closed in order", project_id)
        with self._changed:
            if self._entries.get(project_id) is entry:
                del self._entries[project_id]
            self._changed.notify_all()
