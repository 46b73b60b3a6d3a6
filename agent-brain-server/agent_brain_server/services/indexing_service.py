"""Keeps a project's index up to date: jobs in, stores written, one thread at work."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from agent_brain_server.config.settings import ProjectConfig
from agent_brain_server.errors import NotFoundError, StoreError
from agent_brain_server.indexing.bm25_index import BM25IndexManager
from agent_brain_server.indexing.worker.client import Role, WorkerClient
from agent_brain_server.lifecycle.log import project_id
from agent_brain_server.models.index import ClearedIndex, IndexRequest, JobStatus
from agent_brain_server.project_root import generate_project_id
from agent_brain_server.services.embedding_queue import EmbeddingQueue
from agent_brain_server.services.file_indexer import FileIndexer, JobCancelledError
from agent_brain_server.services.freshness import SyncOutcome, SyncSlot, TreeChanges
from agent_brain_server.services.index_writer import IndexWriter
from agent_brain_server.services.indexed_roots import forget_roots, load_roots, merge_roots, remember_root
from agent_brain_server.services.jobs import IndexingSlots, JobQueue, Turn, describe_failure
from agent_brain_server.services.metrics import Metrics
from agent_brain_server.services.progress import RunningJob
from agent_brain_server.storage.document_store import DocumentStore
from agent_brain_server.storage.job_store import JobStore
from agent_brain_server.storage.schema import LAST_INDEXED_META
from agent_brain_server.storage.vector_store import VectorStoreManager
from agent_brain_server.support.processes import RETURN_INTERVAL_S, return_free_memory

logger = logging.getLogger(__name__)

WORKER_IDLE_S = 20.0
"""A worker is kept this long for the next job; it holds some 150 MB with the model loaded."""

WORKER_LOG = "worker.log"

RETRY_S = 2.0
"""Pause after a step that failed as a whole, as when a full disk can't take a job's end: until somebody makes room."""

STOP_CHECK_S = 0.2
"""How often a thread that waits for the end of a sync checks whether to stop."""

STOP_TIMEOUT_S = 10.0
"""A batch that is being written when the server stops is finished within this."""


class IndexingService:
    """The index of one project: takes jobs, runs them one after the other in a thread of its own, fills in vectors.

    Args:
        project_root: Canonical root of the project.
        own_dirs: Agent Brain's own directories, which are never indexed.
        settings: Model, chunk sizes and limits.
        documents: The truth.
        bm25: The keyword index, bound to the documents.
        vectors: The vector index, bound to the documents.
        metrics: Counted on.
        log_dir: Takes the worker's complaints.
        slots: Shared with the other projects of the server.
    """

    def __init__(
        self,
        project_root: Path,
        own_dirs: Sequence[Path],
        settings: ProjectConfig,
        *,
        documents: DocumentStore,
        bm25: BM25IndexManager,
        vectors: VectorStoreManager,
        metrics: Metrics,
        log_dir: Path,
        slots: IndexingSlots,
    ) -> None:
        self._documents = documents
        self._metrics = metrics
        self._slots = slots
        self.jobs = JobQueue(JobStore(documents), metrics.count_job_end)
        self._worker = WorkerClient(log_dir / WORKER_LOG)
        self._writer = IndexWriter(documents, bm25, vectors)
        self._files = FileIndexer(
            project_root,
            own_dirs,
            settings,
            documents=documents,
            writer=self._writer,
            worker=self._worker,
            metrics=metrics,
        )
        self._queue = EmbeddingQueue(documents, vectors, self._worker, metrics, model=settings.embedding_model)
        documents.on_damage = self.jobs.wake
        self._sync = SyncSlot()
        self._running: RunningJob | None = None
        self.rules_generation = 0
        self._embedding: list[RunningJob] = []
        self._vectors_due = False
        self._stopping = threading.Event()
        self._store_lock = threading.Lock()
        self._turn = Turn(self.jobs.wake)
        self._thread = threading.Thread(target=self._work, args=(project_root,), name="indexing", daemon=True)

    def start(self) -> None:
        """Begin to work, first on what an earlier server left unfinished."""
        if resumed := self.jobs.resume_unfinished():
            logger.info("resuming %d unfinished jobs", resumed)
        self._thread.start()

    def close(self) -> None:
        """Stop at the next batch; what was written stays, what was not is resumed by the next server."""
        self._stopping.set()
        self._worker.close()
        self.jobs.wake()
        self._slots.wake()
        if self._thread.is_alive():
            self._thread.join(STOP_TIMEOUT_S)
        self._worker.release()

    def submit(self, request: IndexRequest) -> JobStatus:
        """Queue a job.

        Raises:
            NotFoundError: The folder does not exist.
            InvalidRequestError: The folder is outside the project, or a glob or number is not allowed.
        """
        self._files.check(request)
        return self.jobs.submit(request)

    def is_busy(self) -> bool:
        """Whether a job or a change of the tree is being indexed or waits to be."""
        return self.jobs.is_busy() or self._sync.is_busy()

    def count_unread(self) -> int:
        """Return how many changed files are known to the indexing thread and not read yet."""
        job = self._running
        return (job.count_unread() if job else 0) + self._files.count_slow()

    def is_slow(self, path: str) -> bool:
        """Whether a file waits to be read after all others."""
        return self._files.is_slow(path)

    @property
    def worker_pids(self) -> dict[Role, int]:
        """The processes that read and embed, as far as they run."""
        return self._worker.pids

    def sync(self, changes: TreeChanges, should_stop: Callable[[], bool]) -> SyncOutcome | None:
        """Bring the index in step with changes of the tree, and wait for it. For one caller at a time.

        Args:
            changes: What may have changed.
            should_stop: Whether to stop waiting.

        Returns:
            `None` if it failed or was stopped.
        """
        self._sync.put(changes)
        self.jobs.wake()
        self._slots.wake()
        while not self._sync.wait(STOP_CHECK_S):
            if should_stop() or self._stopping.is_set():
                self._sync.withdraw()
                return None
        return self._sync.outcome

    def reindex_roots(self) -> None:
        """Queue a job for each folder that was indexed, as needed if the index itself has lost something."""
        for scope in load_roots(self._documents):
            with contextlib.suppress(NotFoundError):  # the folder is gone; a job for one above it removes its files
                self.submit(scope)

    def clear(self) -> ClearedIndex:
        """Forget everything that is indexed.

        Raises:
            ConflictError: A job runs or waits.
        """
        with self._store_lock:
            self.jobs.require_idle()
            counts = self._documents.counts()
            self._writer.clear()
            self._documents.set_meta(LAST_INDEXED_META, None)
            forget_roots(self._documents)
        return ClearedIndex(removed_documents=counts.files, removed_chunks=counts.chunks)

    def _work(self, project_root: Path) -> None:
        """Index whenever there is something to, until the service is closed.

        What fails outside of any job is tried again, and a job whose end could not be written is run again.
        """
        project_id.set(generate_project_id(project_root))
        while not self._stopping.is_set():
            try:
                self._wait_or_work()
            except Exception:  # border: the thread that runs every later job must not end
                logger.exception("indexing can't go on; is the disk full? Trying again in %.0f s", RETRY_S)
                self._recover()

    def _recover(self) -> None:
        """Wait until the jobs can be written again; put those back into the queue whose end was lost."""
        while not self._stopping.wait(RETRY_S):
            with contextlib.suppress(StoreError):
                self.jobs.resume_unfinished()
                return

    def _wait_or_work(self) -> None:
        """Work if there is something to do and it is this project's turn."""
        self._read_damaged_again()
        if not self._has_work_left() and not self._queue.catch_up():
            self.jobs.wait(WORKER_IDLE_S, unless=lambda: self._stopping.is_set() or self._sync.has_request())
        elif self._slots.take(self._turn, self._stopping.is_set):
            try:
                self._work_in_turn()
                self._writer.release()
                return_free_memory()
            finally:
                self._slots.give_back(self._turn, self._worker.hand_over())

    def _read_damaged_again(self) -> None:
        if self._documents.take_damage():
            self.reindex_roots()
            self._queue.drop_orphans()

    def _work_in_turn(self) -> None:
        """Run jobs and fill vectors until another project is to, or nothing came for a time."""
        self._worker.adopt(self._turn.workers)
        idle_since = returned_at = time.monotonic()
        while not self._stopping.is_set():
            if self._take_step():
                idle_since = time.monotonic()
                if idle_since - returned_at >= RETURN_INTERVAL_S:
                    return_free_memory()
                    returned_at = idle_since
                if self._slots.is_over(self._turn):
                    return
                continue
            linger_s = WORKER_IDLE_S - (time.monotonic() - idle_since)
            if linger_s <= 0 or self._slots.is_wanted():
                return
            self.jobs.wait(linger_s, unless=self._should_not_linger)

    def _should_not_linger(self) -> bool:
        return self._stopping.is_set() or self._slots.is_wanted() or self._sync.has_request()

    def _has_work_left(self) -> bool:
        return bool(self._embedding or self._vectors_due) or self._files.has_slow_files() or self._has_work()

    def _has_work(self) -> bool:
        return self._sync.has_request() or self.jobs.has_queued()

    def _take_step(self) -> bool:
        """Do the next thing there is to do; False where there is none."""
        self._read_damaged_again()
        if self._run_sync():
            return True
        with self._store_lock:
            job = self.jobs.take_next()
        if job is not None:
            with job.bound_to_log():
                self._run(job)
            return True
        if self._embedding or self._vectors_due or self._files.has_slow_files():
            with self._embedding[0].bound_to_log() if self._embedding else contextlib.nullcontext():
                if self._files.has_slow_files():
                    self._index_slow_files()
                else:
                    self._drain_embedding_queue()
            return True
        return self._queue.catch_up()

    def _run_sync(self) -> bool:
        """Index the changes of the tree that wait, if any do; return whether there were some."""
        changes = self._sync.take()
        if changes is None:
            return False
        outcome: SyncOutcome | None = None
        try:
            with self._store_lock, self._metrics.time_indexing():
                outcome = self._sync_scopes(changes)
        except JobCancelledError:
            pass
        except Exception:  # boundary: a failed sync must not end the thread; its changes stay counted as pending
            logger.warning("changes of the tree could not be indexed; trying again", exc_info=True)
        finally:
            self._sync.finish(outcome)
        return True

    def _sync_scopes(self, changes: TreeChanges) -> SyncOutcome:
        """Index changes of every folder that was indexed, or that the running job is indexing."""
        scopes = load_roots(self._documents)
        if self._running is not None:
            scopes = merge_roots(scopes, self._files.normalize(self._running.request))
        total = SyncOutcome()
        ignored: list[set[bytes]] = []
        for scope in scopes:
            try:
                outcome = self._files.sync(scope, changes, self._stopping.is_set)
            except NotFoundError:  # the folder is gone; the scope above it removes its files
                continue
            if outcome is None:
                total.jobs.append(self.submit(scope).job_id)
                continue
            ignored.append(outcome.ignored)
            total.sizes += outcome.sizes
            total.slow |= outcome.slow
            total.has_changed |= outcome.has_changed
        total.ignored = set.intersection(*ignored) if ignored and not total.jobs else set()
        if total.has_changed:
            self._vectors_due = True
            self._note_indexed()
        return total

    def _note_indexed(self) -> None:
        self._documents.set_meta(LAST_INDEXED_META, datetime.now(UTC).isoformat(timespec="milliseconds"))

    def _run(self, job: RunningJob) -> None:
        """Run a job's keyword half; its vectors follow once no other job waits."""
        self._running = job
        self.rules_generation += 1
        try:
            self._index(job)
        finally:
            self._running = None

    def _index(self, job: RunningJob) -> None:
        try:
            with self._metrics.time_indexing():
                self._files.index(
                    job,
                    lambda: self._stopping.is_set() or job.cancelled.is_set(),
                    between=self._sync_between,
                    should_yield=self._sync.has_request,
                )
            remember_root(self._documents, self._files.normalize(job.request))
            self._note_indexed()
        except Exception as error:  # noqa: BLE001 - border: a failed job must not end the thread that runs the next
            self._fail(job, error)
            return
        self._embedding.append(job)
        if not self._files.has_slow_files():
            self._complete_keywords()

    def _index_slow_files(self) -> None:
        """Index what takes long to read, until it is done or another job waits."""
        try:
            self._files.index_slow_files(self._should_pause)
        except Exception as error:  # noqa: BLE001 - boundary: the thread continues with the next job
            self._fail_all(error)
            return
        self._embedding = [job for job in self._embedding if not job.cancelled.is_set()]
        if not self._files.has_slow_files():
            self._complete_keywords()

    def _complete_keywords(self) -> None:
        """Report the keyword half of the jobs as done; their vectors follow."""
        for job in self._embedding:
            if not job.keywords_ready:
                job.keywords_ready, job.phase = True, "embedding"
                with job.bound_to_log():
                    logger.info("keyword answers are complete: %s", job.describe())
        self._count_vectors()

    def _fail_all(self, error: Exception) -> None:
        for job in self._embedding:
            self._fail(job, error)
        if not self._embedding:
            logger.error("changes of the tree could not be indexed to the end", exc_info=error)
            self._stopping.wait(RETRY_S)
        self._embedding.clear()
        self._vectors_due = False

    def _sync_between(self) -> None:
        self._run_sync()

    def _drain_embedding_queue(self) -> None:
        """Embed what lacks a vector, until it is done or another job waits."""
        try:
            self._queue.drain(self._should_pause)
        except Exception as error:  # noqa: BLE001 - border: keyword answers go on without vectors
            self._fail_all(error)
            return
        self._embedding = [job for job in self._embedding if not job.cancelled.is_set()]
        if self._queue.is_empty():
            self._vectors_due = False
            self._count_vectors()
            for job in self._embedding:
                self.jobs.finish(job, "done")
            self._embedding.clear()

    def _should_pause(self) -> bool:
        self._count_vectors()
        wanted = self._vectors_due or self._files.has_slow_files()
        wanted = wanted or any(not job.cancelled.is_set() for job in self._embedding)
        return self._stopping.is_set() or not wanted or self._has_work() or self._slots.is_over(self._turn)

    def _count_vectors(self) -> None:
        counts = self._documents.counts()
        for job in self._embedding:
            job.vectors_total, job.vectors_done = counts.chunks, counts.embedded

    def _fail(self, job: RunningJob, error: Exception) -> None:
        """End a job that could not go on; a server that stops leaves it to the next one."""
        if self._stopping.is_set() or isinstance(error, JobCancelledError):
            return
        logger.error("job %s, to index %s, failed", job.status.job_id, job.request.folder_path, exc_info=error)
        self.jobs.finish(job, "failed", describe_failure(error))
