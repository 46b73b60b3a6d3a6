"""The seam between the calls and the projects that a server serves: one, or as many as are registered."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import NoReturn, Protocol

from agent_brain_server.errors import ConflictError, NotFoundError, UnavailableError
from agent_brain_server.lifecycle import registry
from agent_brain_server.models.status import ProjectInfo, UnregisteredProject
from agent_brain_server.project.pool import is_busy
from agent_brain_server.project.services import ProjectServices
from agent_brain_server.runtime import RuntimeState
from agent_brain_server.services.metrics import IndexFigures
from agent_brain_server.storage_paths import require_project_id
from agent_brain_server.support.processes import read_resident_bytes

logger = logging.getLogger(__name__)

MEND_PATIENCE_S = 10.0
"""How long requests that are being answered are waited for before their index is closed under them."""

MEND_RETRY_S = 5.0
"""Pause after an index could not be opened: until somebody has mended what is in the way."""

MENDING_HINT = "Ask again in a moment; the server's log says what was wrong."


@dataclass(frozen=True, slots=True)
class ProjectsHealth:
    """What `/health` tells of the projects.

    Attributes:
        project_id: The one project; None where there are many.
        active_projects: How many are registered; None where there is one.
        fault: What is wrong, in words that tell no path; None where nothing is.
    """

    project_id: str | None = None
    active_projects: int | None = None
    fault: str | None = None


def measure_index(bundle: ProjectServices) -> IndexFigures:
    """Return what `/metrics` tells of an open index."""
    queued, running = bundle.indexing.jobs.count_unfinished()
    return IndexFigures(
        counts=bundle.documents.counts(),
        keyword_chunks=bundle.bm25.count(),
        stored_vectors=bundle.vectors.count(),
        files_pending=bundle.queries.freshness().files_pending,
        jobs_queued=queued,
        jobs_running=running,
        worker_bytes=sum(map(read_resident_bytes, bundle.indexing.worker_pids.values())),
    )


class Projects(Protocol):
    """The projects of a server. Every method may be called from any thread; most of them block."""

    def lease(self, project_id: str | None) -> AbstractContextManager[ProjectServices]:
        """Lend the services of the project that a request means; they are not closed meanwhile."""

    def lease_named(self, project_id: str) -> AbstractContextManager[ProjectServices]:
        """Lend the services of the project that a path names: the id counts in every mode."""

    def list_projects(self) -> list[ProjectInfo]:
        """Return the registered projects, ordered by root."""

    def register(self, project_root: str, state_dir: str | None = None) -> tuple[ProjectInfo, bool]:
        """Serve a project from now on; returns it, and whether it is new."""

    def unregister(self, project_id: str, *, forget: bool) -> UnregisteredProject:
        """Serve a project no longer, and delete its index if it is to be forgotten."""

    def health(self) -> ProjectsHealth:
        """Return what `/health` tells, without waiting for anything."""

    def is_busy(self) -> bool:
        """Whether a job runs or waits."""

    def render_metrics(self) -> bytes:
        """Return what was measured, in Prometheus's text format."""

    def publish(self, state: RuntimeState) -> None:
        """Make the projects found by others: the server of `state` answers now."""

    def look_after(self) -> None:
        """Do what has to be done now and then; returns at once."""

    def close(self) -> None:
        """Close everything."""


class SingleProject:
    """The project of a project server: ids in requests are ignored.

    Args:
        bundle: Its services.
        reopen: Opens them anew where their files were removed or gave up; None where that is not wanted.
    """

    def __init__(self, bundle: ProjectServices, reopen: Callable[[], ProjectServices] | None = None) -> None:
        self._bundle = bundle
        self._reopen = reopen
        self._project_id = bundle.project_id
        self._leases = 0
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._mender: threading.Thread | None = None

    @contextmanager
    def lease(self, project_id: str | None) -> Iterator[ProjectServices]:
        """Lend the services, whatever the id.

        Raises:
            UnavailableError: They are being opened anew.
        """
        with self._changed:
            if self._is_mending():
                raise UnavailableError("The index is being opened anew.", code="index_mending", hint=MENDING_HINT)
            bundle = self._bundle
            self._leases += 1
        try:
            yield bundle
        finally:
            with self._changed:
                self._leases -= 1
                self._changed.notify_all()

    def look_after(self) -> None:
        """Open the services anew where the files of a store were removed or gave up; returns at once."""
        if self._reopen is None or self._is_mending() or self._closing.is_set():
            return
        if fault := self._bundle.find_fault():
            logger.error("%s: opening the index anew", fault)
            with self._changed:
                self._mender = threading.Thread(target=self._mend, args=(self._reopen,), name="mender", daemon=True)
                self._mender.start()

    def _is_mending(self) -> bool:
        return self._mender is not None and self._mender.is_alive()

    def _mend(self, reopen: Callable[[], ProjectServices]) -> None:
        """Close the services once nobody uses them, and open them again as soon as that can be done."""
        self._bundle.retire()
        with self._changed:
            self._changed.wait_for(lambda: not self._leases, MEND_PATIENCE_S)
        try:
            self._bundle.close()
        except Exception:  # border: what lost its files need not close in order
            logger.exception("The index could not be closed in order")
        while not self._closing.is_set():
            try:
                self._bundle = reopen()
                return
            except Exception:  # border: the disk may come back
                logger.exception("The index can't be opened; trying again in %.0f s", MEND_RETRY_S)
                self._closing.wait(MEND_RETRY_S)

    @contextmanager
    def lease_named(self, project_id: str) -> Iterator[ProjectServices]:
        """Lend the services if the id is the project's.

        Raises:
            InvalidRequestError: It is no id.
            NotFoundError: It is another project's.
        """
        require_project_id(project_id)
        if project_id != self._project_id:
            raise NotFoundError(
                f"This server serves {self._project_id}, not {project_id}.",
                code="unknown_project",
                hint="Ask the server of that project: agent-brain list",
            )
        with self.lease(project_id) as bundle:
            yield bundle

    def list_projects(self) -> list[ProjectInfo]:
        """Refuse: there is one project.

        Raises:
            ConflictError: Always.
        """
        _refuse()

    def register(self, project_root: str, state_dir: str | None = None) -> tuple[ProjectInfo, bool]:
        """Refuse: there is one project.

        Raises:
            ConflictError: Always.
        """
        _refuse()

    def unregister(self, project_id: str, *, forget: bool) -> UnregisteredProject:
        """Refuse: there is one project.

        Raises:
            ConflictError: Always.
        """
        _refuse()

    def health(self) -> ProjectsHealth:
        """Return the project's id, and whether its index can't be asked now or Chroma fails."""
        fault = None
        if self._is_mending():
            fault = "the index is being opened anew"
        elif self._bundle.vectors.chroma_fault is not None:
            fault = "Chroma fails; vectors are compared exactly"
        return ProjectsHealth(project_id=self._project_id, fault=fault)

    def is_busy(self) -> bool:
        """Whether a job runs or waits, as far as can be told."""
        return is_busy(self._bundle)

    def render_metrics(self) -> bytes:
        """Return what was measured, in Prometheus's text format."""
        return self._bundle.metrics.render([measure_index(self._bundle)], 1)

    def publish(self, state: RuntimeState) -> None:
        """Remember the project for `list`."""
        registry.register(self._bundle.project_root, self._bundle.state_dir)

    def close(self) -> None:
        """Close the services."""
        self._closing.set()
        if self._mender is not None:
            self._mender.join()
        self._bundle.close()


def _refuse() -> NoReturn:
    raise ConflictError(
        "This server serves one project; projects are registered with the shared daemon.",
        code="wrong_mode",
        hint="Start the daemon with: agent-brain start --mode shared",
    )
