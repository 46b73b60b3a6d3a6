"""The one place where a project's stores and services are made and put together."""

import logging
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

from agent_brain_server.config.settings import ProjectConfig
from agent_brain_server.embedding.named import identify_model
from agent_brain_server.errors import ConfigError, StoreError
from agent_brain_server.indexing.bm25_index import BM25IndexManager
from agent_brain_server.indexing.files.walker import own_dirs_pattern
from agent_brain_server.models import Mode
from agent_brain_server.models.status import IndexStatus, ProjectStatus, WatchStatus
from agent_brain_server.project.recovery import REBUILDABLE, Repairs, open_documents, reconcile_stores
from agent_brain_server.project_root import generate_project_id
from agent_brain_server.services.freshness import Unwatched
from agent_brain_server.services.indexed_roots import apply_secret_policy
from agent_brain_server.services.indexing_service import IndexingService
from agent_brain_server.services.jobs import IndexingSlots
from agent_brain_server.services.metrics import Metrics
from agent_brain_server.services.query_service import QueryEmbedder, QueryService, SingleSlotExecutor
from agent_brain_server.services.watcher import TreeWatcher
from agent_brain_server.storage.document_store import DocumentStore
from agent_brain_server.storage.vector_store import VectorStoreManager
from agent_brain_server.storage_paths import StoragePaths, resolve_storage_paths
from agent_brain_server.types import ChromaServer


@dataclass(frozen=True, slots=True)
class SharedServices:
    """What the bundles of one server have in common."""

    embedder: QueryEmbedder
    metrics: Metrics
    slots: IndexingSlots
    executor: SingleSlotExecutor

    @classmethod
    def make(cls, embedding_model: str, *, max_concurrent_indexing: int, metrics: Metrics | None = None) -> Self:
        """Return new parts; nothing heavy is loaded for them.

        Args:
            embedding_model: Name of the model, as in the settings.
            max_concurrent_indexing: Bundles that index at the same time.
            metrics: Of the server; new ones where None.
        """
        slots = IndexingSlots(max_concurrent_indexing)
        return cls(QueryEmbedder(embedding_model), metrics or Metrics(), slots, SingleSlotExecutor())


logger = logging.getLogger(__name__)

MAX_UNWATCHED_SHOWN = 20


@dataclass(frozen=True, slots=True)
class ProjectServices:
    """Everything that serves one project."""

    mode: Mode
    project_root: Path
    state_dir: Path
    settings: ProjectConfig
    documents: DocumentStore
    bm25: BM25IndexManager
    vectors: VectorStoreManager
    indexing: IndexingService
    queries: QueryService
    embedder: QueryEmbedder
    metrics: Metrics
    retired: threading.Event
    repairs: Repairs
    _closers: ExitStack

    @classmethod
    def open(
        cls,
        mode: Mode,
        project_root: Path,
        state_dir: Path,
        settings: ProjectConfig,
        *,
        own_state_dir: Path | None = None,
        shared: SharedServices | None = None,
    ) -> Self:
        """Open the stores, make the derived ones agree with the documents, and start the services.

        Args:
            mode: Of the server.
            project_root: Canonical.
            state_dir: Where data and logs lie, at the places that the settings name.
            settings: The settings that won.
            own_state_dir: The project's own one, which is never indexed, if that is another.
            shared: What the bundle shares with others; None gives it parts of its own.

        Raises:
            AgentBrainError: A directory can't be made, or a store can't be opened.
        """
        open_once = partial(cls._open, mode, project_root, state_dir, settings, own_state_dir, shared)
        try:
            return open_once()
        except StoreError as exc:
            if exc.code not in REBUILDABLE:
                raise
            logger.warning(
                "a store was found damaged while the stores were compared: opening them again", exc_info=True
            )
            return open_once()  # a store that was met damaged says so when it is opened the next time

    @classmethod
    def _open(
        cls,
        mode: Mode,
        project_root: Path,
        state_dir: Path,
        settings: ProjectConfig,
        own_state_dir: Path | None,
        shared: SharedServices | None,
    ) -> Self:
        paths = resolve_storage_paths(state_dir, data_dir=settings.data_dir, log_dir=settings.log_dir)
        shared = shared or SharedServices.make(settings.embedding_model, max_concurrent_indexing=1)
        own_dirs = find_own_dirs(project_root, (own_state_dir or state_dir, state_dir, paths["data"], paths["logs"]))
        repairs = Repairs()
        with ExitStack() as closers:
            stores = documents, bm25, vectors = open_stores(paths, settings, closers, repairs)
            indexing = IndexingService(
                project_root,
                own_dirs,
                settings,
                documents=documents,
                bm25=bm25,
                vectors=vectors,
                metrics=shared.metrics,
                log_dir=paths["logs"],
                slots=shared.slots,
            )
            is_behind = reconcile_stores(project_root, documents, bm25, vectors, repairs)
            is_behind |= apply_secret_policy(documents, index_secrets=settings.index_secrets)
            is_own = own_dirs_pattern(project_root, own_dirs)
            watcher = None
            if settings.watch:
                watcher = TreeWatcher(project_root, documents, indexing, lambda path: bool(is_own.search(path + b"/")))
            queries = QueryService(
                *stores,
                shared.embedder,
                shared.metrics,
                executor=shared.executor,
                root=project_root,
                changes=watcher or Unwatched(),
                count_unread=indexing.count_unread,
            )
            start_following(indexing, watcher, closers, is_behind=is_behind)
            return cls(
                mode=mode,
                project_root=project_root,
                state_dir=state_dir,
                settings=settings,
                documents=documents,
                bm25=bm25,
                vectors=vectors,
                indexing=indexing,
                queries=queries,
                embedder=shared.embedder,
                metrics=shared.metrics,
                retired=threading.Event(),
                repairs=repairs,
                _closers=closers.pop_all(),
            )
        raise AssertionError("unreachable: the stack swallows no exception")

    def is_busy(self) -> bool:
        """Whether a job runs or waits."""
        return self.indexing.is_busy()

    def find_fault(self) -> str | None:
        """Say what of the stores was removed or gave up since they were opened; costs some `stat`s."""
        return self.documents.database.find_fault() or self.bm25.find_fault() or self.vectors.find_fault()

    def retire(self) -> None:
        """Let streams end: the bundle is about to be closed."""
        self.retired.set()

    def close(self) -> None:
        """Stop the services and close the stores, in the reverse order of their opening; one failure stops no other."""
        self._closers.close()

    @property
    def project_id(self) -> str:
        """The id by which the project is asked for."""
        return generate_project_id(self.project_root)

    def project_status(self) -> ProjectStatus:
        """Return in short what the index holds and what is being done to it."""
        is_busy = self.is_busy()  # asked first, as in `status`
        counts = self.documents.counts()
        freshness = self.queries.freshness()
        return ProjectStatus(
            project_id=self.project_id,
            project_root=str(self.project_root),
            mode=self.mode,
            total_documents=counts.files,
            total_chunks=counts.chunks,
            vector_coverage=freshness.vector_coverage,
            last_indexed_at=freshness.last_indexed_at,
            indexing_in_progress=is_busy,
        )

    def status(self) -> IndexStatus:
        """Return what the index holds and what is being done to it."""
        # counted last: numbers from before a job's end must not stand beside the word that it has ended
        is_busy, current_job, last_job = self.is_busy(), self.indexing.jobs.current(), self.indexing.jobs.last_ended()
        counts = self.documents.counts()
        freshness = self.queries.freshness()
        watch = self.queries.changes.report()
        return IndexStatus(
            files_pending=freshness.files_pending,
            watch=WatchStatus(
                state=watch.state,
                directories=watch.directories,
                unwatched=dict(sorted(watch.unwatched.items())[:MAX_UNWATCHED_SHOWN]),
                unwatched_directories=len(watch.unwatched),
                recrawls=watch.recrawls,
                last_recrawl=watch.last_recrawl,
            ),
            total_documents=counts.files,
            total_chunks=counts.chunks,
            total_vectors=counts.embedded,
            vector_coverage=freshness.vector_coverage,
            indexing_in_progress=is_busy,
            current_job=current_job,
            last_job=last_job,
            last_indexed_at=freshness.last_indexed_at,
            repairs=self.repairs.made(),
            skipped=self.documents.skip_counts(),
            mode=self.mode,
            state_dir=str(self.state_dir),
            project_root=str(self.project_root),
            project_id=self.project_id,
            embedding_model=self.settings.embedding_model,
            keyword_engine="tantivy",
            vector_engine=self.vectors.engine,
            vector_server=self.settings.chroma_url,
            vector_fault=self.vectors.chroma_fault,
            vectors_behind=self.vectors.count_behind(),
        )


def find_own_dirs(project_root: Path, directories: Sequence[Path]) -> tuple[Path, ...]:
    """Return the directories that are never indexed, as each write in them would be a change to index.

    Raises:
        ConfigError: One of them is the project root.
    """
    if project_root in directories:
        raise ConfigError(
            f"State, indexes or logs would be kept in the project root {project_root} itself.",
            hint="Name a directory for them alone with --state-dir, or in the settings data_dir and log_dir.",
        )
    return tuple(dict.fromkeys(directories))


def open_stores(
    paths: StoragePaths, settings: ProjectConfig, closers: ExitStack, repairs: Repairs
) -> tuple[DocumentStore, BM25IndexManager, VectorStoreManager]:
    """Open the three stores of a project; the indexes are not yet made to agree with the documents.

    Args:
        paths: Where they lie.
        settings: Name the model that the vectors are made with, and the Chroma server if there is one.
        closers: Closes what was opened.
        repairs: Takes what had to be mended.

    Raises:
        StoreError: A store can't be opened.
    """
    model = identify_model(settings.embedding_model)
    documents = open_documents(paths["llamaindex"], repairs)
    closers.callback(documents.close)
    bm25 = BM25IndexManager(paths["bm25_index"])
    closers.callback(bm25.close)
    vectors = VectorStoreManager(
        paths["chroma_db"],
        dimension=model.dimension,
        model_name=model.name,
        store_id=documents.store_id,
        chroma_server=make_chroma_server(settings),
    )
    closers.callback(vectors.close)
    return documents, bm25, vectors


def make_chroma_server(settings: ProjectConfig) -> ChromaServer | None:
    """Return the Chroma server that the settings name, None where they name none."""
    return ChromaServer(settings.chroma_url, settings.chroma_token) if settings.chroma_url else None


def start_following(
    indexing: IndexingService, watcher: TreeWatcher | None, closers: ExitStack, *, is_behind: bool
) -> None:
    """Start to work on jobs and, where that is wanted, to watch the tree.

    Args:
        indexing: Not started yet.
        watcher: Likewise; None where the tree is not to be watched.
        closers: Ends both.
        is_behind: The stores have lost something, so what was indexed is indexed again.
    """
    if is_behind:
        indexing.reindex_roots()
    indexing.start()
    closers.callback(indexing.close)
    if watcher is not None:
        watcher.start()
        closers.callback(watcher.close)
