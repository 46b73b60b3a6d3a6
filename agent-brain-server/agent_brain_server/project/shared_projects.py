"""The projects of the shared daemon: registered, lent, pointed to, closed when idle."""

import contextlib
import logging
import threading
from collections import defaultdict, deque
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from agent_brain_server.config.daemon import DaemonSettings
from agent_brain_server.errors import AgentBrainError, ConflictError, InvalidRequestError, NotFoundError, StoreError
from agent_brain_server.lifecycle import log
from agent_brain_server.lifecycle.registry import (
    RegisteredProject,
    delete_registration,
    finish_removals,
    is_registration_saved,
    list_registrations,
    make_registration,
    point_to_daemon,
    save_registration,
    try_point_to_daemon,
    withdraw_pointer,
)
from agent_brain_server.models.status import ProjectInfo, UnregisteredProject
from agent_brain_server.project.pool import ProjectPool
from agent_brain_server.project.projects import ProjectsHealth, measure_index
from agent_brain_server.project.services import ProjectServices, SharedServices, make_chroma_server
from agent_brain_server.runtime import RuntimeState
from agent_brain_server.services.metrics import Metrics
from agent_brain_server.storage.job_store import has_unfinished_jobs
from agent_brain_server.storage.vector_removal import remove_from_server
from agent_brain_server.storage_paths import (
    DATA_DIR,
    DOCUMENTS_DIR,
    SINGLE_PROJECT_HINT,
    VECTORS_DIR,
    shared_project_home,
)
from agent_brain_server.support.processes import return_free_memory
from agent_brain_server.support.text import pluralize

logger = logging.getLogger(__name__)

TICK_S = 1.0
"""How often is looked for indexes to close and roots that are gone; some microseconds of work for each project."""

STOP_LIMIT_S = 10.0
"""How long the end waits for a tick that is under way."""


class SharedProjects:
    """Serves the registered projects of one daemon.

    Args:
        settings: The daemon's.
        metrics: Of the server.
    """

    def __init__(self, settings: DaemonSettings, metrics: Metrics) -> None:
        self._settings = settings
        shared = settings.shared
        self._parts = SharedServices.make(
            shared.embedding_model,
            max_concurrent_indexing=shared.max_concurrent_indexing,
            metrics=metrics,
        )
        self._pool: ProjectPool[ProjectServices] = ProjectPool(
            self._open_bundle, max_open=shared.max_open_projects, idle_s=shared.project_idle_seconds
        )
        self._base_url = ""
        self._changing: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._missing: frozenset[str] = frozenset()
        self._unfinished: deque[RegisteredProject] = deque()
        self._stopping = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="projects", daemon=True)
        finish_removals()
        for project in list_registrations():
            self._pool.admit(project)

    def lease(self, project_id: str | None) -> AbstractContextManager[ProjectServices]:
        """Lend the services of a registered project, opened if need be.

        Raises:
            InvalidRequestError: The id is missing, or none.
            NotFoundError: The project is not registered, or its root is gone.
            UnavailableError: Its index can't be opened.
        """
        project = self._pool.find(project_id)
        log.project_id.set(project.project_id)  # until the handler returns: each runs in a context of its own
        return self._pool.lease(project.project_id)

    def lease_named(self, project_id: str) -> AbstractContextManager[ProjectServices]:
        """Lend the services of a registered project, as `lease` does."""
        return self.lease(project_id)

    def list_projects(self) -> list[ProjectInfo]:
        """Return the registered projects, ordered by root."""
        return [self._describe(project) for project in self._pool.projects()]

    def register(self, project_root: str, state_dir: str | None = None) -> tuple[ProjectInfo, bool]:
        """Serve a project from now on, and leave a pointer to the daemon in its state directory.

        Raises:
            InvalidRequestError: A path is not absolute.
            NotFoundError: The root is not a directory.
            ConflictError: A project server runs there, or the state directory can't be written or is another project's.
            StateDirError: The daemon's directory can't be written.
        """
        root, named = _resolve_root(project_root), None if state_dir is None else _resolve_place(state_dir)
        project = make_registration(root, named)
        with self._changing[project.project_id]:
            known = self._find(project.project_id)
            if known is not None:
                project = replace(known, state_dir=named or known.state_dir)
            self._require_own(project, root)
            point_to_daemon(project, self._base_url)
            if project != known or not is_registration_saved(project):
                try:
                    save_registration(project)
                except AgentBrainError:
                    withdraw_pointer(project)
                    raise
                self._pool.admit(project)
                logger.info("Registered %s as %s", project.root, project.project_id)
                if known is not None:
                    withdraw_pointer(known)
                    try_point_to_daemon(project, self._base_url)  # the same place may have been named in another way
        return self._describe(project), known is None

    def unregister(self, project_id: str, *, forget: bool) -> UnregisteredProject:
        """Close a project, take it out, and withdraw its pointer.

        Raises:
            InvalidRequestError: The id is none.
            NotFoundError: The project is not registered.
            UnavailableError: A request to it does not end.
            StateDirError: Its files can't be removed.
        """
        project = self._pool.find(project_id)
        with self._changing[project_id]:
            self._pool.dismiss(project_id)
            withdraw_pointer(project)
            fault = self._forget_vectors(project_id) if forget else None
            delete_registration(project_id, with_data=forget)
        logger.info("Unregistered %s, %s", project_id, project.root)
        return UnregisteredProject(
            project_id=project_id, project_root=str(project.root), data_removed=forget, vector_fault=fault
        )

    def _forget_vectors(self, project_id: str) -> str | None:
        """Remove what a closed project has on the Chroma server; returns why that is still there, None where not."""
        server = make_chroma_server(self._settings.server)
        if server is None:
            return None
        try:
            remove_from_server(shared_project_home(project_id) / DATA_DIR / VECTORS_DIR, server)
        except StoreError as exc:
            logger.warning("The vectors of %s stay on the Chroma server: %s", project_id, exc.message)
            return f"{exc.message} {exc.hint}"
        return None

    def health(self) -> ProjectsHealth:
        """Return how many projects are registered, and whether roots are gone."""
        gone = len(self._missing)
        fault = f"{pluralize(gone, 'registered project')} without a root; GET /projects tells which" if gone else None
        return ProjectsHealth(active_projects=len(self._pool), fault=fault)

    def is_busy(self) -> bool:
        """Whether a job runs or waits in any project."""
        return bool(self._unfinished) or self._pool.is_busy()

    def render_metrics(self) -> bytes:
        """Return what was measured, in Prometheus's text format; index sizes are those of the open projects."""
        figures = []
        for bundle in self._pool.open_now():
            with contextlib.suppress(AgentBrainError):  # closed meanwhile
                figures.append(measure_index(bundle))
        return self._parts.metrics.render(figures, len(self._pool))

    def publish(self, state: RuntimeState) -> None:
        """Begin to point to the daemon, to go on with unfinished jobs, and to close what is idle."""
        self._base_url = state.base_url
        self._keeper.start()

    def close(self) -> None:
        """Close every project and withdraw the pointers."""
        self._stopping.set()
        if self._keeper.is_alive():
            self._keeper.join(STOP_LIMIT_S)
        for project in self._pool.projects():
            withdraw_pointer(project, base_url=self._base_url)
        self._pool.close()

    def _open_bundle(self, project: RegisteredProject) -> ProjectServices:
        own_state_dir = project.locate_state_dir()
        settings = self._settings.load_project(own_state_dir)
        if settings.ignored:
            logger.warning("%s %s", settings.ignored.describe(), settings.ignored.hint)
        return ProjectServices.open(
            "shared",
            project.root,
            shared_project_home(project.project_id),
            settings.config,
            own_state_dir=own_state_dir,
            shared=self._parts,
        )

    def _close_idle(self) -> None:
        if self._pool.close_idle():
            return_free_memory()

    def _keep(self) -> None:
        """Do what nobody asks for, until the daemon stops."""
        projects = self._pool.projects()
        for project in projects:
            if self._stopping.is_set():
                return
            try_point_to_daemon(project, self._base_url)
        self._unfinished.extend(project for project in projects if has_unfinished_jobs(_documents_dir(project)))
        while not self._stopping.is_set():
            try:
                self._resume_unfinished()
                self._close_idle()
                self._close_faulty()
                self._missing = frozenset(p.project_id for p in self._pool.projects() if not p.has_root())
            except Exception:  # border: a tick that fails must not end the ones after it
                logger.exception("Looking after the projects failed")
            self._stopping.wait(TICK_S)

    def look_after(self) -> None:
        """Do nothing: a thread of its own looks after the projects."""

    def _close_faulty(self) -> None:
        """Close what lost its files or gave up; the next request opens it anew."""
        for bundle in self._pool.open_now():
            if fault := bundle.find_fault():
                logger.error("%s: opening the index of %s anew", fault, bundle.project_root)
                self._pool.close_one(bundle.project_id)

    def _resume_unfinished(self) -> None:
        """Open projects whose jobs were left unfinished, as far as there is room: that resumes the jobs."""
        while self._unfinished and self._pool.has_room() and not self._stopping.is_set():
            try:
                with self._pool.lease(self._unfinished[0].project_id):
                    pass
            except AgentBrainError as exc:
                logger.warning("A job was not resumed: %s", exc.message)
            self._unfinished.popleft()

    def _require_own(self, project: RegisteredProject, root: Path) -> None:
        """Refuse a project whose id or state directory is another's."""
        if project.root != root:
            raise ConflictError(
                f"{project.root} has the same id, {project.project_id}.",
                code="project_id_taken",
                hint="Serve one of the two by a server of its own: agent-brain start",
            )
        for other in self._pool.projects():
            if project.state_dir is not None and other.state_dir == project.state_dir and other.root != root:
                raise ConflictError(
                    f"The state directory {project.state_dir} is that of {other.root}.",
                    code="state_dir_in_use",
                    hint=SINGLE_PROJECT_HINT,
                )

    def _find(self, project_id: str) -> RegisteredProject | None:
        return next((p for p in self._pool.projects() if p.project_id == project_id), None)

    def _describe(self, project: RegisteredProject) -> ProjectInfo:
        return ProjectInfo(
            project_id=project.project_id,
            project_root=str(project.root),
            state_dir=None if project.state_dir is None else str(project.state_dir),
            registered_at=project.registered_at,
            is_open=self._pool.is_open(project.project_id),
            is_root_missing=not project.has_root(),
        )


def _resolve_root(text: str) -> Path:
    if "\0" in text or not Path(text).is_absolute():
        raise InvalidRequestError(
            f"project_root: {ascii(text[:100])} is not an absolute path.",
            code="invalid_project_root",
            hint="Send the path that agent-brain shows, beginning with /.",
        )
    try:
        root = Path(text).resolve()
        is_directory = root.is_dir()
    except (OSError, RuntimeError):  # a name that is too long, a loop of links, a closed directory
        is_directory = False
    if not is_directory:
        raise NotFoundError(f"There is no directory {ascii(text[:200])}.", code="project_root_missing")
    return root


def _resolve_place(text: str) -> Path:
    if "\0" not in text and Path(text).is_absolute():
        with contextlib.suppress(OSError, RuntimeError):  # a name that is too long, a loop of links
            return Path(text).resolve()
    raise InvalidRequestError(
        f"state_dir: {ascii(text[:100])} is not an absolute path.",
        code="invalid_state_dir",
        hint="Send the path that agent-brain shows, beginning with /, or leave it out.",
    )


def _documents_dir(project: RegisteredProject) -> Path:
    return shared_project_home(project.project_id) / DATA_DIR / DOCUMENTS_DIR
