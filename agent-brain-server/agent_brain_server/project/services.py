"""Build a project's stores and services: the only module that constructs them."""

import logging
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Self

from agent_brain_server.config.settings import ProjectConfig
from agent_brain_server.embedding.embedders import identify_model
from agent_brain_server.embedding.token_counter import TokenCounter
from agent_brain_server.errors import ConfigError, StoreError
from agent_brain_server.indexing.bm25_index import BM25IndexManager
from agent_brain_server.indexing.files.file_types import is_test
from agent_brain_server.indexing.files.walker import own_dirs_pattern
from agent_brain_server.models import Mode
from agent_brain_server.models.query import IndexFreshness
from agent_brain_server.models.status import IndexStatus, ProjectStatus, WatchStatus
from agent_brain_server.project.recovery import Repairs, open_documents, reconcile_stores
from agent_brain_server.project_root import generate_project_id
from agent_brain_server.services.file_reader import FileReader
from agent_brain_server.services.freshness import Unwatched
from agent_brain_server.services.indexed_roots import apply_file_policy
from agent_brain_server.services.indexing_service import IndexingService
from agent_brain_server.services.jobs import IndexingSlots
from agent_brain_server.services.metrics import Metrics
from agent_brain_server.services.outlines import Outlines
from agent_brain_server.services.query_service import QueryEmbedder, QueryService, SingleSlotExecutor
from agent_brain_server.services.related_code import RelatedCode
from agent_brain_server.services.structural_answers import StructuralAnswers
from agent_brain_server.services.symbol_lookup import SymbolLookup
from agent_brain_server.services.symbol_service import SymbolService
from agent_brain_server.services.watcher import TreeWatcher
from agent_brain_server.storage.database import REBUILDABLE_CODES
from agent_brain_server.storage.document_store import DocumentStore
from agent_brain_server.storage.vector_store import VectorStoreManager
from agent_brain_server.storage_paths import StoragePaths, resolve_storage_paths
from agent_brain_server.support.commit import CommitReader
from agent_brain_server.types import ChromaServer, QueryFilter

logger = logging.getLogger(__name__)

MAX_UNWATCHED_SHOWN = 20

MAX_WORD_HITS = 60
"""Chunks with a word whose files are searched for a parameter of this name."""


@dataclass(frozen=True, slots=True)
class SharedServices:
    """Services that all projects of a server share."""

    embedder: QueryEmbedder
    metrics: Metrics
    slots: IndexingSlots
    executor: SingleSlotExecutor
    tokens: TokenCounter

    @classmethod
    def make(cls, embedding_model: str, *, max_concurrent_indexing: int, metrics: Metrics | None = None) -> Self:
        """Return new shared services; nothing heavy is loaded.

        Args:
            embedding_model: Name of the model, as in the settings.
            max_concurrent_indexing: Projects that may index at the same time.
            metrics: The server's metrics; new ones by default.
        """
        slots = IndexingSlots(max_concurrent_indexing)
        return cls(QueryEmbedder(embedding_model), metrics or Metrics(), slots, SingleSlotExecutor(), TokenCounter())


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectServices:
    """The open stores and running services of one project.

    Attributes:
        retired: Set when streams must end, because the services will be closed.
        repairs: What was repaired when the stores were opened.
    """

    mode: Mode
    project_root: Path
    state_dir: Path
    settings: ProjectConfig
    documents: DocumentStore
    bm25: BM25IndexManager
    vectors: VectorStoreManager
    indexing: IndexingService
    queries: QueryService
    symbols: SymbolService
    embedder: QueryEmbedder
    tokens: TokenCounter
    metrics: Metrics
    commit: CommitReader
    retired: threading.Event = field(default_factory=threading.Event)
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
        """Open the stores, synchronize the derived ones with the documents, and start the services.

        Args:
            mode: The server's mode.
            project_root: Canonical root.
            state_dir: Holds data and logs, in the directories that the settings name.
            settings: The settings in force.
            own_state_dir: The project's own state directory, if it differs; it is never indexed.
            shared: What all projects of the server share; by default the project gets its own.

        Raises:
            AgentBrainError: A directory cannot be created, or a store cannot be opened.
        """
        open_once = partial(cls._open, mode, project_root, state_dir, settings, own_state_dir, shared)
        try:
            return open_once()
        except StoreError as exc:
            if exc.code not in REBUILDABLE_CODES:
                raise
            logger.warning("A store was found damaged while stores were compared: opening them again", exc_info=True)
            return open_once()  # the damage is now recorded, so the store is rebuilt

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
            is_behind = reconcile_stores(project_root, *stores, repairs) | apply_file_policy(documents, settings)
            watcher = make_watcher(project_root, documents, indexing, own_dirs) if settings.watch else None
            files, lookup = make_readers(project_root, documents, settings)
            queries = QueryService(
                *stores,
                shared.embedder,
                shared.metrics,
                executor=shared.executor,
                root=project_root,
                changes=watcher or Unwatched(),
                count_unread=indexing.count_unread,
                count_tokens=shared.tokens.count,
                structure=StructuralAnswers(documents, lookup, files.read_rows, partial(find_paths, documents, bm25)),
            )
            start_services(indexing, watcher, closers, is_behind=is_behind)
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
                symbols=make_symbols(documents, bm25, lookup, files, queries),
                embedder=shared.embedder,
                tokens=shared.tokens,
                metrics=shared.metrics,
                commit=CommitReader(project_root),
                repairs=repairs,
                _closers=closers.pop_all(),
            )
        raise AssertionError("unreachable: the stack suppresses no exception")

    @property
    def project_id(self) -> str:
        """The project's id in requests."""
        return generate_project_id(self.project_root)

    def is_busy(self) -> bool:
        """Return whether a job is queued or running."""
        return self.indexing.is_busy()

    def find_fault(self) -> str | None:
        """Return which store's files were removed or damaged since it was opened; costs a few `stat` calls."""
        return self.documents.database.find_fault() or self.bm25.find_fault() or self.vectors.find_fault()

    def retire(self) -> None:
        """Make streams end, because the services will be closed."""
        self.retired.set()

    def close(self) -> None:
        """Stop the services and close the stores in reverse order, even if one of them fails."""
        self._closers.close()

    def project_status(self) -> ProjectStatus:
        """Return a summary of the index and the state of indexing."""
        is_busy = self.is_busy()  # read first, as in `status`
        counts = self.documents.counts()
        freshness = self.queries.freshness(counts=counts)
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
        """Return the contents of the index and the state of indexing."""
        return self.status_and_freshness()[0]

    def status_and_freshness(self) -> tuple[IndexStatus, IndexFreshness]:
        """Return the contents of the index, the state of indexing, and the freshness of that moment."""
        # counts are read last: a status that reports the end of a job must not have counts from before it
        is_busy, current_job, last_job = self.is_busy(), self.indexing.jobs.current(), self.indexing.jobs.last_ended()
        counts = self.documents.counts()
        facts = self.documents.symbols.counts()
        freshness = self.queries.freshness(counts=counts)
        fault = self.vectors.fault
        status = IndexStatus(
            files_pending=freshness.files_pending,
            watch=self._watch_status(),
            total_documents=counts.files,
            total_chunks=counts.chunks,
            total_vectors=counts.embedded,
            vector_coverage=freshness.vector_coverage,
            total_definitions=facts.definitions,
            total_references=facts.references,
            files_partial=facts.files_partial,
            indexing_in_progress=is_busy,
            current_job=current_job,
            last_job=last_job,
            last_indexed_at=freshness.last_indexed_at,
            repairs=[*self.repairs.made(), *self.vectors.repairs],
            skipped=self.documents.skip_counts(),
            mode=self.mode,
            state_dir=str(self.state_dir),
            project_root=str(self.project_root),
            project_id=self.project_id,
            embedding_model=self.settings.embedding_model,
            keyword_engine="tantivy",
            vector_engine=self.vectors.engine,
            vector_server=self.settings.chroma_url if self.vectors.engine == "chroma" else None,
            vector_fault=None if fault is None else f"{fault.code}: {fault.message} {fault.hint}",
            vectors_behind=counts.chunks - counts.embedded,
        )
        return status, freshness

    def _watch_status(self) -> WatchStatus:
        watch = self.queries.changes.report()
        return WatchStatus(
            state=watch.state,
            directories=watch.directories,
            unwatched=dict(sorted(watch.unwatched.items())[:MAX_UNWATCHED_SHOWN]),
            unwatched_directories=len(watch.unwatched),
            recrawls=watch.recrawls,
            last_recrawl=watch.last_recrawl,
        )


def find_own_dirs(project_root: Path, directories: Sequence[Path]) -> tuple[Path, ...]:
    """Return the directories that are never indexed, because each write in them would cause another one.

    Raises:
        ConfigError: One of them is the project root.
    """
    if project_root in directories:
        raise ConfigError(
            f"The project root {project_root} would hold state, indexes or logs itself.",
            hint="Name a separate directory with --state-dir, or in the settings data_dir and log_dir.",
        )
    return tuple(dict.fromkeys(directories))


def open_stores(
    paths: StoragePaths, settings: ProjectConfig, closers: ExitStack, repairs: Repairs
) -> tuple[DocumentStore, BM25IndexManager, VectorStoreManager]:
    """Open the three stores of a project; the derived indexes are not synchronized with the documents yet.

    Args:
        paths: Directories of the stores.
        settings: Names the embedding model and the Chroma server.
        closers: Closes the stores.
        repairs: Records what was repaired.

    Raises:
        StoreError: A store cannot be opened.
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
        engine=settings.effective_vector_engine,
        chroma_server=make_chroma_server(settings),
    )
    closers.callback(vectors.close)
    return documents, bm25, vectors


def make_chroma_server(settings: ProjectConfig) -> ChromaServer | None:
    """Return the Chroma server in the settings, or `None`."""
    return ChromaServer(settings.chroma_url, settings.chroma_token) if settings.chroma_url else None


def make_readers(
    project_root: Path, documents: DocumentStore, settings: ProjectConfig
) -> tuple[FileReader, SymbolLookup]:
    """Return what reads the indexed files, and what finds the definitions and uses of a name."""
    files = FileReader(documents, project_root, max_bytes=settings.max_file_bytes, index_secrets=settings.index_secrets)
    return files, SymbolLookup(documents.symbols, project_root, lambda path: is_test(path, ""))


def find_paths(documents: DocumentStore, bm25: BM25IndexManager, word: str) -> list[str]:
    """Return the files of code and settings with the best chunks for a word, best first."""
    code = documents.resolve_filter(QueryFilter(source_types=("code",)))
    keys = [hit.key for hit in bm25.search(word, MAX_WORD_HITS, code)]
    found = documents.metadata_by_keys(keys)
    return list(dict.fromkeys(found[key].path for key in keys if key in found))


def make_symbols(
    documents: DocumentStore, bm25: BM25IndexManager, lookup: SymbolLookup, files: FileReader, queries: QueryService
) -> SymbolService:
    """Return the service that answers about definitions and files."""
    related = RelatedCode(documents, bm25, lookup, files, queries.freshness)
    return SymbolService(lookup, files, Outlines(documents, files), related, queries.freshness)


def make_watcher(
    project_root: Path, documents: DocumentStore, indexing: IndexingService, own_dirs: Sequence[Path]
) -> TreeWatcher:
    """Return a watcher of the project's tree without the directories of the server; it is not started."""
    is_own = own_dirs_pattern(project_root, own_dirs)
    return TreeWatcher(project_root, documents, indexing, lambda path: bool(is_own.search(path + b"/")))


def start_services(
    indexing: IndexingService, watcher: TreeWatcher | None, closers: ExitStack, *, is_behind: bool
) -> None:
    """Start to run jobs, and to watch the tree.

    Args:
        indexing: Not started yet.
        watcher: Not started yet; `None` if the tree is not watched.
        closers: Stops both.
        is_behind: The stores lack something, so the indexed roots are indexed again.
    """
    if is_behind:
        indexing.reindex_roots()
    indexing.start()
    closers.callback(indexing.close)
    if watcher is not None:
        watcher.start()
        closers.callback(watcher.close)
