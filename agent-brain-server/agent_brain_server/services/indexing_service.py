"""Keep the index of a project up to date: run jobs and synchronize changes of the tree, in one thread."""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from agent_brain_server.config.settings import ProjectConfig
from agent_brain_server.errors import NotFoundError, StoreError
from agent_brain_server.indexing.bm25_index import BM25IndexManager
from agent_brain_server.indexing.worker.client import Role, WorkerClient
from agent_brain_server.lifecycle.log import bind_job, project_id
from agent_brain_server.models.index import ClearedIndex, IndexRequest, JobStatus
from agent_brain_server.project_root import generate_project_id
from agent_brain_server.services.compare import Difference
from agent_brain_server.services.embedding_queue import EmbeddingQueue
from agent_brain_server.services.indexed_roots import forget_roots, load_roots, merge_roots, remember_root
from agent_brain_server.services.jobs import IndexingSlots, JobQueue, Turn, describe_failure
from agent_brain_server.services.metrics import Metrics
from agent_brain_server.services.pipeline import IndexWriter, JobCancelledError, Pipeline
from agent_brain_server.services.runs import (
    Counters,
    JobRun,
    Run,
    RunningJob,
    SyncOutcome,
    SyncRun,
    SyncSlot,
    TreeChanges,
)
from agent_brain_server.storage.document_store import LAST_INDEXED_META, DocumentStore
from agent_brain_server.storage.job_store import JobStore
from agent_brain_server.storage.vector_store import VectorStoreManager
from agent_brain_server.support.processes import RETURN_INTERVAL_S, return_free_memory
from agent_brain_server.types import FileStat

logger = logging.getLogger(__name__)

WORKER_IDLE_S = 20.0
"""An idle worker is kept for this time; with the model loaded it uses some 150 MB."""

WORKER_LOG = "worker.log"

RETRY_S = 2.0
"""Pause after a failure outside of a job, such as a full disk, on which the end of a job cannot be saved."""

STOP_CHECK_S = 0.2
"""Interval at which a thread that waits for a synchronization checks whether to stop."""

STOP_TIMEOUT_S = 10.0
"""Time to finish the current batch when the server stops."""


class IndexingService:
    """The index of one project. Jobs run one after the other in a separate thread; vectors follow.

    Args:
        project_root: Canonical root of the project.
        own_dirs: Agent Brain's own directories, which are never indexed.
        settings: Model, chunk sizes and limits.
        documents: The document store.
        bm25: The keyword index of these documents.
        vectors: The vectors of these documents.
        metrics: Counts files, chunks and jobs.
        log_dir: Directory for the worker's stderr.
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
        self.jobs = JobQueue(JobStore(documents), metrics.count_job_end)
        self.rules_generation = 0
        self._documents = documents
        self._metrics = metrics
        self._slots = slots
        self._worker = WorkerClient(log_dir / WORKER_LOG)
        self._writer = IndexWriter(documents, bm25, vectors)
        self._pipeline = Pipeline(
            project_root,
            own_dirs,
            settings,
            documents=documents,
            writer=self._writer,
            worker=self._worker,
            metrics=metrics,
            queue_embedding=self._queue_embedding,
        )
        self._slow = self._pipeline.slow
        self._queue = EmbeddingQueue(documents, vectors, self._worker, metrics, model=settings.embedding_model)
        documents.on_damage = self.jobs.wake
        self._sync = SyncSlot()
        self._running: RunningJob | None = None
        self._known: dict[str, Difference] = {}  # what the next job of a root need not find again, by its request
        self._awaiting_vectors: list[RunningJob] = []
        self._vectors_due = False
        self._stopping = threading.Event()
        self._store_lock = threading.Lock()
        self._turn = Turn(self.jobs.wake)
        self._thread = threading.Thread(target=self._work, args=(project_root,), name="indexing", daemon=True)

    def start(self) -> None:
        """Start the thread, which first resumes the jobs that a previous server left unfinished."""
        if resumed := self.jobs.resume_unfinished():
            logger.info("resuming %d unfinished jobs", resumed)
        self._thread.start()

    def close(self) -> None:
        """Stop at the next batch; the next server resumes the jobs."""
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
        self._pipeline.check(request)
        self._known.pop(request.model_dump_json(), None)  # the caller may know of changes after that comparison
        return self.jobs.submit(request)

    def sync(self, changes: TreeChanges, should_stop: Callable[[], bool]) -> SyncOutcome | None:
        """Synchronize the index with changes of the tree, and wait for the end. For one caller at a time.

        Args:
            changes: The possible changes.
            should_stop: Returns whether to stop waiting.

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
        """Queue a job for each indexed root, as the index has lost something."""
        for root in load_roots(self._documents):
            with contextlib.suppress(NotFoundError):  # the folder was deleted; a job for one above it removes its files
                self.submit(root)

    def clear(self) -> ClearedIndex:
        """Remove everything from the index.

        Raises:
            ConflictError: A job is running or queued.
        """
        with self._store_lock:
            self.jobs.require_idle()
            counts = self._documents.counts()
            self._writer.clear()
            self._documents.set_meta(LAST_INDEXED_META, None)
            forget_roots(self._documents)
        return ClearedIndex(removed_documents=counts.files, removed_chunks=counts.chunks)

    def is_busy(self) -> bool:
        """Return whether a job or a synchronization is running or queued."""
        return self.jobs.is_busy() or self._sync.is_busy()

    def is_slow(self, path: str) -> bool:
        """Return whether a file is waiting to be read after all others."""
        return path in self._slow

    def count_unread(self) -> int:
        """Return how many files are known to have changed and have not been read yet."""
        job = self._running
        return (job.count_unread() if job else 0) + len(self._slow)

    @property
    def worker_pids(self) -> dict[Role, int]:
        """The process ids of the workers that are running, by role."""
        return self._worker.pids

    def _work(self, project_root: Path) -> None:
        """Run jobs and synchronizations until the service is closed."""
        project_id.set(generate_project_id(project_root))
        while not self._stopping.is_set():
            try:
                self._wait_or_work()
            except Exception:  # boundary: the thread that runs every later job must not end
                logger.exception("indexing failed outside of a job; is the disk full? Trying again in %.0f s", RETRY_S)
                self._recover()

    def _recover(self) -> None:
        """Wait until jobs can be saved again, and queue those again whose end was lost."""
        while not self._stopping.wait(RETRY_S):
            with contextlib.suppress(StoreError):
                self.jobs.resume_unfinished()
                return

    def _wait_or_work(self) -> None:
        """Wait for work; if there is some, do it when it is this project's turn."""
        self._read_damaged_again()
        if not self._has_work() and not self._maintain_vectors():
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
            self._queue.sync()

    def _work_in_turn(self) -> None:
        """Take steps until the turn is over, or until there was nothing to do for `WORKER_IDLE_S`."""
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
            if linger_s <= 0 or self._slots.has_waiters():
                return
            self.jobs.wait(linger_s, unless=self._should_not_linger)

    def _should_not_linger(self) -> bool:
        return self._stopping.is_set() or self._slots.has_waiters() or self._sync.has_request()

    def _has_work(self) -> bool:
        return bool(self._awaiting_vectors or self._vectors_due or self._slow) or self._has_urgent_work()

    def _has_urgent_work(self) -> bool:
        return self._sync.has_request() or self.jobs.has_queued()

    def _take_step(self) -> bool:
        """Do the most urgent work: changes of the tree, a job, slow files, vectors; return `False` if there is none."""
        self._read_damaged_again()
        if self._run_sync():
            return True
        with self._store_lock:
            job = self.jobs.take_next()
        if job is not None:
            with bind_job(job.status.job_id, job.correlation_id):
                self._run(job)
            return True
        if self._awaiting_vectors or self._vectors_due or self._slow:
            first = self._awaiting_vectors[0] if self._awaiting_vectors else None
            with bind_job(first.status.job_id, first.correlation_id) if first else contextlib.nullcontext():
                if self._slow:
                    self._index_slow_files()
                else:
                    self._embed()
            return True
        return self._maintain_vectors()

    def _maintain_vectors(self) -> bool:
        """Do a short piece of the vector engine's background work; return whether chunks have to be embedded again."""
        self._vectors_due |= self._queue.maintain()
        return self._vectors_due

    def _run_sync(self) -> bool:
        """Synchronize waiting changes of the tree; return `False` if there are none."""
        changes = self._sync.take()
        if changes is None:
            return False
        outcome: SyncOutcome | None = None
        try:
            with self._store_lock, self._metrics.time_indexing():
                outcome = self._sync_roots(changes)
        except JobCancelledError:
            pass
        except Exception:  # boundary: a failed sync must not end the thread; its changes stay counted as pending
            logger.warning("changes of the tree could not be indexed; trying again", exc_info=True)
        finally:
            self._sync.finish(outcome)
        return True

    def _sync_roots(self, changes: TreeChanges) -> SyncOutcome:
        """Synchronize each indexed root, and the folder of the running job."""
        roots = load_roots(self._documents)
        if self._running is not None:
            roots = merge_roots(roots, self._pipeline.normalize(self._running.request))
        total = SyncOutcome()
        ignored: list[set[bytes]] = []
        for root in roots:
            run = SyncRun(request=root, counters=Counters(), should_stop=self._stopping.is_set, changes=changes)
            try:
                difference = self._pipeline.index(run)
            except NotFoundError:  # the folder was deleted; the root above it removes its files
                continue
            if difference.scope.only is None:
                self._known.pop(root.model_dump_json(), None)  # superseded: ignore rules may have changed
            if run.unread:
                total.jobs.append(self._submit_rest(root, difference, run.unread))
                continue
            ignored.append(run.ignored)
            total.sizes += [(os.fsencode(file.path), file.size) for file in difference.changed]
            total.slow |= {os.fsencode(file.path) for file in difference.changed if file.path in self._slow}
        total.ignored = set.intersection(*ignored) if ignored and not total.jobs else set()
        return total

    def _submit_rest(self, root: IndexRequest, difference: Difference, unread: Sequence[FileStat]) -> str:
        """Queue a job for files that are too many for a synchronization, and return its id.

        The job does not walk the tree again. If an earlier one is still queued for the root, it reads both parts.
        """
        key = root.model_dump_json()
        earlier = self._known.get(key)
        files = {file.path: file for file in (*(earlier.changed if earlier else ()), *unread)}
        unchanged = difference.unchanged + len(difference.changed) - len(unread)
        self._known[key] = replace(difference, changed=tuple(files.values()), unchanged=unchanged)
        return self.jobs.submit(root).job_id

    def _run(self, job: RunningJob) -> None:
        """Run the keyword half of a job; its vectors follow when no other job is queued."""
        run = JobRun(
            request=job.request,
            counters=job,
            should_stop=lambda: self._stopping.is_set() or job.cancelled.is_set(),
            known=self._known.pop(job.request.model_dump_json(), None),
            sync=self._run_sync,
            has_sync_request=self._sync.has_request,
        )
        self._running = job
        self.rules_generation += 1
        try:
            with self._metrics.time_indexing():
                self._pipeline.index(run)
            if not self._slow:
                self._complete_keywords()
        except Exception as error:  # noqa: BLE001 - boundary: a failed job must not end the thread that runs the next
            self._fail(job, error)
        finally:
            self._running = None

    def _queue_embedding(self, run: Run, difference: Difference) -> None:
        """Remember that the chunks of a run need vectors, and what it has indexed."""
        if isinstance(run.counters, RunningJob):
            remember_root(self._documents, self._pipeline.normalize(run.request))
            self._awaiting_vectors.append(run.counters)
        elif difference.changed or difference.removed:
            self._vectors_due = True
        else:
            return
        self._documents.set_meta(LAST_INDEXED_META, datetime.now(UTC).isoformat(timespec="milliseconds"))

    def _index_slow_files(self) -> None:
        """Index slow files, until none is left or more urgent work waits."""
        try:
            self._pipeline.index_slow_files(self._should_pause_reading)
        except Exception as error:  # noqa: BLE001 - boundary: the thread continues with the next job
            self._fail_all(error)
            return
        self._awaiting_vectors = [job for job in self._awaiting_vectors if not job.cancelled.is_set()]
        if not self._slow:
            self._complete_keywords()

    def _complete_keywords(self) -> None:
        """Report the keyword half of the running jobs as complete."""
        for job in self._awaiting_vectors:
            if not job.keywords_ready:
                job.keywords_ready, job.phase = True, "embedding"
                with bind_job(job.status.job_id, job.correlation_id):
                    logger.info("keyword answers are complete: %s", job.describe())
        self._count_vectors()

    def _embed(self) -> None:
        """Embed chunks that have no vector, until none is left or more urgent work waits."""
        try:
            self._queue.drain(self._should_pause)
        except Exception as error:  # noqa: BLE001 - boundary: keyword search works without vectors
            self._fail_all(error)
            return
        self._awaiting_vectors = [job for job in self._awaiting_vectors if not job.cancelled.is_set()]
        if self._queue.is_empty():
            self._vectors_due = False
            self._count_vectors()
            for job in self._awaiting_vectors:
                self.jobs.finish(job, "done")
            self._awaiting_vectors.clear()

    def _should_pause_reading(self) -> bool:
        """Synchronize waiting changes of the tree while the slow reader works; return whether other work waits."""
        self._run_sync()
        return self._should_pause()

    def _should_pause(self) -> bool:
        self._count_vectors()
        is_needed = self._vectors_due or bool(self._slow)
        is_needed = is_needed or any(not job.cancelled.is_set() for job in self._awaiting_vectors)
        return self._stopping.is_set() or not is_needed or self._has_urgent_work() or self._slots.is_over(self._turn)

    def _count_vectors(self) -> None:
        counts = self._documents.counts()
        for job in self._awaiting_vectors:
            job.vectors_total, job.vectors_done = counts.chunks, counts.embedded

    def _fail_all(self, error: Exception) -> None:
        for job in self._awaiting_vectors:
            self._fail(job, error)
        if not self._awaiting_vectors and not self._queue.is_blocked():
            logger.error("changes of the tree could not be indexed completely", exc_info=error)
            self._stopping.wait(RETRY_S)
        self._awaiting_vectors.clear()
        self._vectors_due = False

    def _fail(self, job: RunningJob, error: Exception) -> None:
        """Record that a job failed; a job that stops with the server is resumed by the next one."""
        if self._stopping.is_set() or isinstance(error, JobCancelledError):
            return
        logger.error("job %s, to index %s, failed", job.status.job_id, job.request.folder_path, exc_info=error)
        self.jobs.finish(job, "failed", describe_failure(error))
