"""The projects of one server: `SingleProject` in project mode, `SharedProjects` in shared mode."""

import contextlib
import logging
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NoReturn

from agent_brain_server.config.settings import DaemonSettings
from agent_brain_server.errors import (
    AgentBrainError,
    ConfigError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    StoreError,
    UnavailableError,
)
from agent_brain_server.lifecycle import log, registry
from agent_brain_server.lifecycle.registry import RegisteredProject, try_point_to_daemon, withdraw_pointer
from agent_brain_server.models.status import ProjectInfo, UnregisteredProject
from agent_brain_server.project.context import ServerContext
from agent_brain_server.project.pool import ProjectPool, is_busy
from agent_brain_server.project.services import ProjectServices, SharedServices, make_chroma_server
from agent_brain_server.runtime import RuntimeState
from agent_brain_server.services.metrics import IndexFigures, Metrics
from agent_brain_server.storage.job_store import has_unfinished_jobs
from agent_brain_server.storage.vector_store import purge_remote_vectors
from agent_brain_server.storage_paths import (
    DATA_DIR,
    DOCUMENTS_DIR,
    SINGLE_PROJECT_HINT,
    require_project_id,
    shared_project_home,
)
from agent_brain_server.support.processes import read_resident_bytes, return_free_memory
from agent_brain_server.support.text import pluralize

logger = logging.getLogger(__name__)

RECOVERY_PATIENCE_S = 10.0  # a damaged index stays open that long for requests in progress
RECOVERY_RETRY_S = 5.0  # pause after an index could not be opened, for example on a full disk
RECOVERY_HINT = "Ask again in a moment; the server's log has the reason."

TICK_S = 1.0  # between two checks for idle indexes and missing roots, which take microseconds for each project
STOP_LIMIT_S = 10.0  # the shutdown waits that long for a tick in progress


@dataclass(frozen=True, slots=True)
class ProjectsHealth:
    """Health of the projects, for `/health`.

    Attributes:
        project_id: The project of a project server; `None` in shared mode.
        active_projects: The number of registered projects; `None` in project mode.
        fault: What is wrong, without a path; `None` if nothing is.
    """

    project_id: str | None = None
    active_projects: int | None = None
    fault: str | None = None


def open_projects(context: ServerContext, metrics: Metrics) -> "SingleProject | SharedProjects":
    """Open the project of a project server, or the projects of the daemon, whose indexes are opened on demand.

    Args:
        context: The server's identity, directories and settings.
        metrics: The server's metrics.

    Raises:
        AgentBrainError: A store of the single project cannot be opened.
    """
    if context.daemon is not None:
        return SharedProjects(context.daemon, metrics)
    if context.project_root is None:
        raise ConfigError("A project server needs a project root.")
    settings = context.settings
    shared = SharedServices.make(settings.embedding_model, max_concurrent_indexing=1, metrics=metrics)
    open_services = partial(
        ProjectServices.open, context.mode, context.project_root, context.state_dir, settings, shared=shared
    )
    return SingleProject(open_services(), open_services)


def measure_index(services: ProjectServices) -> IndexFigures:
    """Return the metrics of an open index."""
    queued, running = services.indexing.jobs.count_unfinished()
    return IndexFigures(
        counts=services.documents.counts(),
        keyword_chunks=services.bm25.count(),
        stored_vectors=services.vectors.count(),
        files_pending=services.queries.freshness().files_pending,
        jobs_queued=queued,
        jobs_running=running,
        worker_bytes=sum(map(read_resident_bytes, services.indexing.worker_pids.values())),
    )


class SingleProject:
    """The project of a project server; ids in requests are ignored.

    Args:
        services: The project's services.
        reopen: Opens them again after the files of a store were removed or damaged; `None` disables this recovery.
    """

    def __init__(self, services: ProjectServices, reopen: Callable[[], ProjectServices] | None = None) -> None:
        self._services = services
        self._reopen = reopen
        self._project_id = services.project_id
        self._leases = 0
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._recovery: threading.Thread | None = None

    @contextmanager
    def lease(self, project_id: str | None, *, exact: bool = False) -> Iterator[ProjectServices]:
        """Lend the services.

        Args:
            project_id: Ignored unless `exact`.
            exact: Refuse the id of another project.

        Raises:
            InvalidRequestError: The id is malformed.
            NotFoundError: The id belongs to another project.
            UnavailableError: The index is being opened again.
        """
        if exact:
            require_project_id(project_id or "")
            if project_id != self._project_id:
                raise NotFoundError(
                    f"This server serves {self._project_id}, not {project_id}.",
                    code="unknown_project",
                    hint="Ask the server of that project: agent-brain list",
                )
        with self._changed:
            if self._is_recovering():
                raise UnavailableError("The index is being opened again.", code="index_mending", hint=RECOVERY_HINT)
            services = self._services
            self._leases += 1
        try:
            yield services
        finally:
            with self._changed:
                self._leases -= 1
                self._changed.notify_all()

    def list_projects(self) -> list[ProjectInfo]:
        """Raise `ConflictError`: a project server has no registered projects."""
        _refuse()

    def register(self, project_root: str, state_dir: str | None = None) -> tuple[ProjectInfo, bool]:
        """Raise `ConflictError`: a project server registers no projects."""
        _refuse()

    def unregister(self, project_id: str, *, forget: bool) -> UnregisteredProject:
        """Raise `ConflictError`: a project server unregisters no projects."""
        _refuse()

    def health(self) -> ProjectsHealth:
        """Return the project's id, and whether its index is unavailable or Chroma fails."""
        fault = None
        if self._is_recovering():
            fault = "the index is being opened again"
        elif self._services.vectors.fault is not None:
            fault = "the vector engine fails; queries are answered by keywords alone"
        return ProjectsHealth(project_id=self._project_id, fault=fault)

    def is_busy(self) -> bool:
        """Return whether a job is queued or running; `False` if the store cannot be read."""
        return is_busy(self._services)

    def render_metrics(self) -> bytes:
        """Return the metrics in Prometheus's text format."""
        return self._services.metrics.render([measure_index(self._services)], 1)

    def publish(self, state: RuntimeState) -> None:
        """Add the project to the registry, for `list`."""
        registry.register(self._services.project_root, self._services.state_dir)

    def tick(self) -> None:
        """Start to open the services again if the files of a store were removed or damaged; return at once."""
        if self._reopen is None or self._is_recovering() or self._closing.is_set():
            return
        if fault := self._services.find_fault():
            logger.error("%s: opening the index again", fault)
            with self._changed:
                self._recovery = threading.Thread(
                    target=self._recover, args=(self._reopen,), name="recovery", daemon=True
                )
                self._recovery.start()

    def close(self) -> None:
        """Close the services."""
        self._closing.set()
        if self._recovery is not None:
            self._recovery.join()
        self._services.close()

    def _is_recovering(self) -> bool:
        return self._recovery is not None and self._recovery.is_alive()

    def _recover(self, reopen: Callable[[], ProjectServices]) -> None:
        """Close the services when no request uses them, and open them again as soon as possible."""
        self._services.retired.set()
        with self._changed:
            self._changed.wait_for(lambda: not self._leases, RECOVERY_PATIENCE_S)
        try:
            self._services.close()
        except Exception:  # boundary: stores without their files may fail in any way
            logger.exception("The index could not be closed properly")
        while not self._closing.is_set():
            try:
                self._services = reopen()
                return
            except Exception:  # boundary: the disk may become available again
                logger.exception("The index cannot be opened; trying again in %.0f s", RECOVERY_RETRY_S)
                self._closing.wait(RECOVERY_RETRY_S)


def _refuse() -> NoReturn:
    raise ConflictError(
        "This server serves one project; projects are registered with the shared daemon.",
        code="wrong_mode",
        hint="Start the daemon with: agent-brain start --mode shared",
    )


class SharedProjects:
    """The registered projects of the shared daemon.

    Args:
        settings: The daemon's settings.
        metrics: The server's metrics.
    """

    def __init__(self, settings: DaemonSettings, metrics: Metrics) -> None:
        self._settings = settings
        shared = settings.shared
        self._shared = SharedServices.make(
            shared.embedding_model, max_concurrent_indexing=shared.max_concurrent_indexing, metrics=metrics
        )
        self._pool: ProjectPool[ProjectServices] = ProjectPool(
            self._open_services, max_open=shared.max_open_projects, idle_s=shared.project_idle_seconds
        )
        self._base_url = ""
        self._registering: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._missing: frozenset[str] = frozenset()
        self._unfinished: deque[RegisteredProject] = deque()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="projects", daemon=True)
        registry.finish_removals()
        for project in registry.list_registrations():
            self._pool.admit(project)

    def lease(self, project_id: str | None, *, exact: bool = False) -> AbstractContextManager[ProjectServices]:
        """Lend the services of a registered project; its index is opened if necessary.

        Args:
            project_id: Required.
            exact: Without effect: the id always counts.

        Raises:
            InvalidRequestError: The id is missing or malformed.
            NotFoundError: The project is not registered, or its root does not exist.
            UnavailableError: Its index cannot be opened.
        """
        project = self._pool.find(project_id)
        log.project_id.set(project.project_id)  # lasts until the handler returns: each runs in its own context
        return self._pool.lease(project.project_id)

    def list_projects(self) -> list[ProjectInfo]:
        """Return the registered projects, ordered by root."""
        return [self._describe(project) for project in self._pool.projects()]

    def register(self, project_root: str, state_dir: str | None = None) -> tuple[ProjectInfo, bool]:
        """Register a project, and write a pointer to the daemon into its state directory.

        Returns:
            The project, and whether it is new.

        Raises:
            InvalidRequestError: A path is not absolute.
            NotFoundError: The root is not a directory.
            ConflictError: The project's own server is running, or its state directory cannot be written or belongs to
                another project.
            StateDirError: The daemon's directory cannot be written.
        """
        root, named = _resolve_root(project_root), None if state_dir is None else _resolve_state_dir(state_dir)
        project = registry.make_registration(root, named)
        with self._registering[project.project_id]:
            known = next((each for each in self._pool.projects() if each.project_id == project.project_id), None)
            if known is not None:
                project = replace(known, state_dir=named or known.state_dir)
            self._require_own(project, root)
            registry.point_to_daemon(project, self._base_url)
            if project != known or not registry.is_registration_saved(project):
                self._save(project, known)
        return self._describe(project), known is None

    def unregister(self, project_id: str, *, forget: bool) -> UnregisteredProject:
        """Close a project, remove its registration and its pointer, and delete its index if `forget`.

        Raises:
            InvalidRequestError: The id is malformed.
            NotFoundError: The project is not registered.
            UnavailableError: A request to the project does not end.
            StateDirError: Its files cannot be removed.
        """
        project = self._pool.find(project_id)
        with self._registering[project_id]:
            self._pool.dismiss(project_id)
            withdraw_pointer(project)
            fault = self._purge_remote_vectors(project_id) if forget else None
            registry.delete_registration(project_id, with_data=forget)
        logger.info("Unregistered %s, %s", project_id, project.root)
        return UnregisteredProject(
            project_id=project_id, project_root=str(project.root), data_removed=forget, vector_fault=fault
        )

    def health(self) -> ProjectsHealth:
        """Return the number of registered projects, and whether roots are missing."""
        missing = len(self._missing)
        fault = f"{pluralize(missing, 'registered project')} without a root; see GET /projects" if missing else None
        return ProjectsHealth(active_projects=len(self._pool), fault=fault)

    def is_busy(self) -> bool:
        """Return whether a job is queued or running in any project."""
        return bool(self._unfinished) or self._pool.is_busy()

    def render_metrics(self) -> bytes:
        """Return the metrics in Prometheus's text format; index sizes are those of the open projects."""
        figures = []
        for services in self._pool.list_open():
            with contextlib.suppress(AgentBrainError):  # closed meanwhile
                figures.append(measure_index(services))
        return self._shared.metrics.render(figures, len(self._pool))

    def publish(self, state: RuntimeState) -> None:
        """Start the thread that writes the pointers, resumes unfinished jobs and closes idle indexes."""
        self._base_url = state.base_url
        self._thread.start()

    def tick(self) -> None:
        """Do nothing: periodic work is done in a separate thread."""

    def close(self) -> None:
        """Close every project and withdraw the pointers."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(STOP_LIMIT_S)
        for project in self._pool.projects():
            withdraw_pointer(project, base_url=self._base_url)
        self._pool.close()

    def _open_services(self, project: RegisteredProject) -> ProjectServices:
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
            shared=self._shared,
        )

    def _save(self, project: RegisteredProject, known: RegisteredProject | None) -> None:
        try:
            registry.save_registration(project)
        except AgentBrainError:
            withdraw_pointer(project)
            raise
        self._pool.admit(project)
        logger.info("Registered %s as %s", project.root, project.project_id)
        if known is not None:
            withdraw_pointer(known)
            try_point_to_daemon(project, self._base_url)  # both may name the same directory

    def _purge_remote_vectors(self, project_id: str) -> str | None:
        """Remove a closed project's vectors from the Chroma server; return why they remain, or `None`."""
        server = make_chroma_server(self._settings.server)
        if server is None:
            return None
        try:
            purge_remote_vectors(shared_project_home(project_id) / DATA_DIR, server)
        except StoreError as exc:
            logger.warning("The vectors of %s remain on the Chroma server: %s", project_id, exc.message)
            return f"{exc.message} {exc.hint}"
        return None

    def _run(self) -> None:
        """Write the pointers, then do the periodic work until the daemon stops."""
        projects = self._pool.projects()
        for project in projects:
            if self._stopping.is_set():
                return
            try_point_to_daemon(project, self._base_url)
        for project in projects:
            if has_unfinished_jobs(shared_project_home(project.project_id) / DATA_DIR / DOCUMENTS_DIR):
                self._unfinished.append(project)
        while not self._stopping.is_set():
            try:
                self._resume_unfinished()
                if self._pool.close_idle():
                    return_free_memory()
                self._close_faulty()
                self._missing = frozenset(each.project_id for each in self._pool.projects() if not each.has_root())
            except Exception:  # boundary: a failed tick must not end the thread
                logger.exception("The periodic work on the projects failed")
            self._stopping.wait(TICK_S)

    def _close_faulty(self) -> None:
        """Close indexes whose files were removed or damaged; the next request opens them again."""
        for services in self._pool.list_open():
            if fault := services.find_fault():
                logger.error("%s: opening the index of %s again", fault, services.project_root)
                self._pool.close_one(services.project_id)

    def _resume_unfinished(self) -> None:
        """Open projects with unfinished jobs while the pool has room; opening one resumes its jobs."""
        while self._unfinished and self._pool.has_room() and not self._stopping.is_set():
            try:
                with self._pool.lease(self._unfinished[0].project_id):
                    pass
            except AgentBrainError as exc:
                logger.warning("A job was not resumed: %s", exc.message)
            self._unfinished.popleft()

    def _require_own(self, project: RegisteredProject, root: Path) -> None:
        """Refuse a project whose id or state directory belongs to another one."""
        if project.root != root:
            raise ConflictError(
                f"{project.root} has the same id, {project.project_id}.",
                code="project_id_taken",
                hint="Serve one of the two with a separate server: agent-brain start",
            )
        for other in self._pool.projects():
            if project.state_dir is not None and other.state_dir == project.state_dir and other.root != root:
                raise ConflictError(
                    f"The state directory {project.state_dir} belongs to {other.root}.",
                    code="state_dir_in_use",
                    hint=SINGLE_PROJECT_HINT,
                )

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
    _require_absolute("project_root", text, code="invalid_project_root")
    try:
        root = Path(text).resolve()
        is_directory = root.is_dir()
    except (OSError, RuntimeError):  # a name that is too long, a loop of links, a closed directory
        is_directory = False
    if not is_directory:
        raise NotFoundError(f"There is no directory {ascii(text[:200])}.", code="project_root_missing")
    return root


def _resolve_state_dir(text: str) -> Path:
    _require_absolute("state_dir", text, code="invalid_state_dir")
    try:
        return Path(text).resolve()
    except (OSError, RuntimeError) as exc:  # a name that is too long, a loop of links
        raise InvalidRequestError(
            f"state_dir: {ascii(text[:100])} cannot be resolved: {exc}.", code="invalid_state_dir"
        ) from exc


def _require_absolute(field: str, text: str, *, code: str) -> None:
    if "\0" in text or not Path(text).is_absolute():
        raise InvalidRequestError(
            f"{field}: {ascii(text[:100])} is not an absolute path.",
            code=code,
            hint="Send the path that agent-brain shows, beginning with /.",
        )
