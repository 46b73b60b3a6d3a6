"""Schedule indexing: the queue of jobs of one project, and the slots that the projects of a server share."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from agent_brain_server.errors import AgentBrainError, ConflictError, NotFoundError, StoreError
from agent_brain_server.indexing.worker.client import Workers
from agent_brain_server.lifecycle.log import bind_job, correlation_id
from agent_brain_server.models import TERMINAL_STATES, JobState
from agent_brain_server.models.index import IndexRequest, JobStatus
from agent_brain_server.services.runs import RunningJob
from agent_brain_server.storage.job_store import JobStore, StoredJob

logger = logging.getLogger(__name__)

MIN_TURN_S = 2.0
"""Shortest turn of a project: each switch to another one ends the current batches and opens stores."""


class JobQueue:
    """The jobs of one project, first in, first out; they outlive the server. Safe from any thread.

    A job is `running` from its first step until its vectors are complete. Several jobs can run, since a job that only
    waits for vectors does not delay the keywords of the next one.

    Args:
        store: Persists the jobs.
        count_end: Called with the terminal state of each job.
    """

    def __init__(self, store: JobStore, count_end: Callable[[JobState], None] = lambda _: None) -> None:
        self._store = store
        self._count_end = count_end
        self._running: dict[str, RunningJob] = {}
        self._unsaved: dict[str, JobStatus] = {}
        self._changed = threading.Condition()

    def count_unfinished(self) -> tuple[int, int]:
        """Return the number of queued and of running jobs."""
        return self._store.count_queued(), len(self._running)

    def resume_unfinished(self) -> int:
        """Queue unfinished jobs that are not in memory again, and return their number.

        A previous server leaves them when it ends, and this one when a failure interrupts the work on a job.
        """
        with self._changed:
            self._save_ends()
            known = self._running.keys() | self._unsaved.keys()
            orphans = [job.status.job_id for job in self._store.unfinished() if job.status.job_id not in known]
            for job_id in orphans:
                self._store.requeue(job_id)
        return len(orphans)

    def submit(self, request: IndexRequest) -> JobStatus:
        """Queue a job, and return it; if an equal job is already queued, return that one instead."""
        with self._changed:
            self._save_ends()
            for job in self._store.unfinished():
                if job.status.state == "queued" and job.request == request:
                    logger.info("job %s is already queued for this request", job.status.job_id)
                    return job.status
            created = self._store.create(request, correlation_id.get())
            logger.info("job %s: index %s", created.status.job_id, request.folder_path)
            self._changed.notify_all()
        return created.status

    def take_next(self) -> RunningJob | None:
        """Start the oldest queued job; return `None` if none is queued."""
        with self._changed:
            job = self._store.next_queued()
            if job is None:
                return None
            self._store.mark_running(job.status.job_id)
            status = self._stored(job.status.job_id).status
            running = RunningJob(status=status, request=job.request, correlation_id=job.correlation_id)
            self._running[running.status.job_id] = running
            return running

    def has_queued(self) -> bool:
        """Return whether a job is queued."""
        return self._store.next_queued() is not None

    def wait(self, timeout_s: float, *, unless: Callable[[], bool]) -> None:
        """Sleep until a job is submitted, `wake` is called, or the time is over.

        Args:
            timeout_s: Seconds.
            unless: Returns whether there is other work. A thread that makes it true calls `wake` afterwards.
        """
        with self._changed:
            self._save_ends()
            if not self.has_queued() and not unless():
                self._changed.wait(timeout_s)

    def wake(self) -> None:
        """End every `wait`."""
        with self._changed:
            self._changed.notify_all()

    def finish(self, job: RunningJob, state: JobState, error: str | None = None) -> None:
        """Record the terminal state of a job; later calls have no effect.

        A state that cannot be saved, as on a full disk, is kept in memory until it can.
        """
        with self._changed:
            if self._running.pop(job.status.job_id, None) is None:
                return
            job.phase = "finished"
            ended = {
                "state": state,
                "error": error,
                "finished_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            }
            self._unsaved[job.status.job_id] = job.snapshot().model_copy(update=ended)
            self._save_ends()
            self._count_end(state)
            with bind_job(job.status.job_id, job.correlation_id):
                logger.info("job %s %s", job.status.job_id, state, extra={"error": error} if error else None)
            self._changed.notify_all()

    def cancel(self, job_id: str) -> JobStatus:
        """Cancel a job.

        Raises:
            NotFoundError: There is no such job.
            ConflictError: It has already ended.
        """
        with self._changed:
            stored = self.get(job_id)
            if stored.state in TERMINAL_STATES:
                raise ConflictError(
                    f"The job {job_id} has already ended: {stored.state}.",
                    code="job_already_ended",
                    hint="GET /index/jobs lists the jobs.",
                )
            running = self._running.get(job_id)
            if running is not None:
                running.cancelled.set()
                self.finish(running, "cancelled")
            else:
                self._store.mark_finished(job_id, "cancelled")
                self._count_end("cancelled")
                logger.info("job %s cancelled before it started", job_id)
            return self.get(job_id)

    def get(self, job_id: str) -> JobStatus:
        """Return a job with its current progress.

        Raises:
            NotFoundError: There is no such job.
        """
        return self._in_memory().get(job_id) or self._stored(job_id).status

    def newest(self) -> list[JobStatus]:
        """Return the recorded jobs, newest first."""
        known = self._in_memory()
        return [known.get(job.status.job_id, job.status) for job in self._store.newest()]

    def current(self) -> JobStatus | None:
        """Return the running job that started first; `None` if none runs."""
        running = next(iter(dict(self._running).values()), None)
        return running.snapshot() if running else None

    def last_ended(self) -> JobStatus | None:
        """Return the job that ended last; `None` if none has ended."""
        if unsaved := list(dict(self._unsaved).values()):
            return unsaved[-1]
        job = self._store.last_finished()
        return job.status if job else None

    def is_busy(self) -> bool:
        """Return whether a job is running or queued."""
        with self._changed:  # without the lock a job that is just being started would be in neither set
            return bool(self._running) or self.has_queued()

    def is_settled(self, job_id: str) -> bool:
        """Return whether the keyword index has the job's files, or will not get them."""
        job = self.get(job_id)
        return job.progress.keywords_ready or job.state in TERMINAL_STATES

    def is_indexed(self, job_id: str) -> bool:
        """Return whether the keyword index has the job's files."""
        job = self.get(job_id)
        return job.progress.keywords_ready or job.state == "done"

    def require_idle(self) -> None:
        """Check that no job is running or queued.

        Raises:
            ConflictError: One is.
        """
        if self.is_busy():
            raise ConflictError(
                "The index cannot be cleared while a job is indexing.",
                code="indexing_in_progress",
                hint="Wait for the job, or cancel it with DELETE /index/jobs/{job_id}.",
            )

    def _stored(self, job_id: str) -> StoredJob:
        job = self._store.get(job_id)
        if job is None:
            raise NotFoundError(
                f"There is no job {job_id[:40]!r}.", code="unknown_job", hint="GET /index/jobs lists the jobs."
            )
        return job

    def _in_memory(self) -> dict[str, JobStatus]:
        """Return the jobs whose latest status is not in the store."""
        running = {job_id: job.snapshot() for job_id, job in dict(self._running).items()}
        return {**dict(self._unsaved), **running}

    def _save_ends(self) -> None:
        """Save terminal states; a state that cannot be saved now is saved with the next change."""
        try:
            for job_id, ended in list(self._unsaved.items()):
                self._store.mark_finished(job_id, ended.state, progress=ended.progress, error=ended.error)
                del self._unsaved[job_id]
        except StoreError:
            logger.warning("the end of %d jobs cannot be saved yet", len(self._unsaved), exc_info=True)


def describe_failure(error: Exception) -> str:
    """Return the error message of a failed job, with what to do next."""
    if isinstance(error, AgentBrainError):
        return f"{error.message} {error.hint}"
    return f"{type(error).__name__}: {error}. {AgentBrainError.default_hint}"


@dataclass(slots=True, eq=False)
class Turn:
    """A project's request for an indexing slot, and then its use of the slot.

    Attributes:
        on_contention: Called from any thread when another project starts to wait while this one holds a slot.
        workers: The worker processes that came with the slot; `None` if there are none yet.
        began: When the slot was taken, in seconds of `time.monotonic`.
    """

    on_contention: Callable[[], None]
    workers: Workers | None = None
    began: float = field(default=0.0)


class IndexingSlots:
    """Slots that projects take in turns, first in, first out. Safe from any thread.

    Worker processes belong to a slot, so there are never more of a role than slots.

    Args:
        limit: Number of projects that can index at the same time.
    """

    def __init__(self, limit: int) -> None:
        self._free: list[Workers | None] = [None] * limit
        self._waiting: deque[Turn] = deque()
        self._holding: list[Turn] = []
        self._changed = threading.Condition()

    def take(self, turn: Turn, is_stopping: Callable[[], bool]) -> bool:
        """Wait for a slot; return `False` if `is_stopping` returned `True` first, which `wake` makes it check."""
        with self._changed:
            self._waiting.append(turn)
            holding = [] if self._can_begin(turn) else list(self._holding)
        for other in holding:
            other.on_contention()
        with self._changed:
            try:
                while not self._can_begin(turn):
                    if is_stopping():
                        return False
                    self._changed.wait()
                turn.workers, turn.began = self._pop_free(), time.monotonic()
                self._holding.append(turn)
                return True
            finally:
                self._waiting.remove(turn)
                self._end_unused_workers()
                self._changed.notify_all()

    def give_back(self, turn: Turn, workers: Workers | None) -> None:
        """Free the slot, with its workers."""
        with self._changed:
            turn.workers = None
            self._holding.remove(turn)
            self._free.append(workers)
            self._end_unused_workers()
            self._changed.notify_all()

    def has_waiters(self) -> bool:
        """Return whether a project waits for a slot."""
        return bool(self._waiting)

    def is_over(self, turn: Turn) -> bool:
        """Return whether a turn should end: it has lasted long enough and another project waits."""
        return self.has_waiters() and time.monotonic() - turn.began >= MIN_TURN_S

    def wake(self) -> None:
        """Wake all waiters so that they re-check their condition."""
        with self._changed:
            self._changed.notify_all()

    def _pop_free(self) -> Workers | None:
        warm = next((index for index, workers in enumerate(self._free) if workers is not None), 0)
        return self._free.pop(warm)

    def _end_unused_workers(self) -> None:
        if self._waiting:
            return
        for workers in self._free:  # no project is about to use them, and they hold memory
            if workers is not None:
                workers.end()
        self._free = [None] * len(self._free)

    def _can_begin(self, turn: Turn) -> bool:
        return self._waiting.index(turn) < len(self._free)
