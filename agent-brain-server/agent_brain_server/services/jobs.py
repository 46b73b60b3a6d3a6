"""The queue of indexing jobs: what waits, what runs, how each ended."""

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime

from agent_brain_server.errors import AgentBrainError, ConflictError, NotFoundError, StoreError
from agent_brain_server.lifecycle.log import correlation_id
from agent_brain_server.models.index import IndexRequest, JobState, JobStatus
from agent_brain_server.services.progress import RunningJob
from agent_brain_server.storage.job_store import FINISHED_STATES, JobStore, StoredJob

logger = logging.getLogger(__name__)


class JobQueue:
    """Jobs of one project, first come first served; they outlive the server. Safe from any thread.

    A job is `running` from its first step until its vectors are complete. Several can be, since a job that only waits
    for vectors does not hold up the next one's keywords.

    Args:
        store: Where the jobs are kept.
        count_end: Called with how a job ended.
    """

    def __init__(self, store: JobStore, count_end: Callable[[JobState], None] = lambda _: None) -> None:
        self._store = store
        self._count_end = count_end
        self._running: dict[str, RunningJob] = {}
        self._unwritten: dict[str, JobStatus] = {}
        self._changed = threading.Condition()

    def count_unfinished(self) -> tuple[int, int]:
        """Return how many jobs wait, and how many run."""
        return self._store.count_queued(), len(self._running)

    def resume_unfinished(self) -> int:
        """Put what was left unfinished back into the queue; returns how many jobs that is.

        An earlier server leaves jobs behind when it ends, this one where a failure cut the work on a job short.
        """
        with self._changed:
            self._write_ends()
            known = self._running.keys() | self._unwritten.keys()
            left = [job.status.job_id for job in self._store.unfinished() if job.status.job_id not in known]
            for job_id in left:
                self._store.requeue(job_id)
        return len(left)

    def submit(self, request: IndexRequest) -> JobStatus:
        """Queue a job; an equal one that has not begun yet stands for both."""
        with self._changed:
            self._write_ends()
            for job in self._store.unfinished():
                if job.status.state == "queued" and job.request == request:
                    logger.info("job %s waits already and stands for this request too", job.status.job_id)
                    return job.status
            created = self._store.create(request, correlation_id.get())
            logger.info("job %s: index %s", created.status.job_id, request.folder_path)
            self._changed.notify_all()
        return created.status

    def take_next(self) -> RunningJob | None:
        """Begin the job that has waited longest; None where none waits."""
        with self._changed:
            job = self._store.next_queued()
            if job is None:
                return None
            self._store.mark_running(job.status.job_id)
            status = self._stored(job.status.job_id).status
            running = RunningJob(status=status, request=job.request, correlation_id=job.correlation_id)
            self._running[running.status.job_id] = running
            return running

    def has_waiting(self) -> bool:
        """Whether a job waits to be begun."""
        return self._store.next_queued() is not None

    def wait(self, timeout_s: float, *, unless: Callable[[], bool]) -> None:
        """Sleep until something is submitted, `wake` is called, or the time is over.

        Args:
            timeout_s: Seconds.
            unless: Says that there is no need to, as it was decided just before; whoever decides so calls `wake` then.
        """
        with self._changed:
            self._write_ends()
            if not self.has_waiting() and not unless():
                self._changed.wait(timeout_s)

    def wake(self) -> None:
        """End every `wait`."""
        with self._changed:
            self._changed.notify_all()

    def finish(self, job: RunningJob, state: JobState, error: str | None = None) -> None:
        """Record how a job ended; the first word counts. On a full disk it is remembered until it can be written."""
        with self._changed:
            if self._running.pop(job.status.job_id, None) is None:
                return
            job.phase = "finished"
            ended = {
                "state": state,
                "error": error,
                "finished_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            }
            self._unwritten[job.status.job_id] = job.snapshot().model_copy(update=ended)
            self._write_ends()
            self._count_end(state)
            with job.bound_to_log():
                logger.info("job %s %s", job.status.job_id, state, extra={"error": error} if error else None)
            self._changed.notify_all()

    def cancel(self, job_id: str) -> JobStatus:
        """Cancel a job that has not ended.

        Raises:
            NotFoundError: There is no such job.
            ConflictError: It has ended.
        """
        with self._changed:
            stored = self.get(job_id)
            if stored.state in FINISHED_STATES:
                raise ConflictError(
                    f"The job {job_id} has ended: {stored.state}.",
                    code="job_already_ended",
                    hint="See GET /index/jobs for the jobs that run.",
                )
            running = self._running.get(job_id)
            if running is not None:
                running.cancelled.set()
                self.finish(running, "cancelled")
            else:
                self._store.mark_finished(job_id, "cancelled")
                self._count_end("cancelled")
                logger.info("job %s cancelled before it began", job_id)
            return self.get(job_id)

    def get(self, job_id: str) -> JobStatus:
        """Return a job as it is now.

        Raises:
            NotFoundError: There is no such job.
        """
        return self._in_memory().get(job_id) or self._stored(job_id).status

    def newest(self) -> list[JobStatus]:
        """Return the remembered jobs, newest first."""
        known = self._in_memory()
        return [known.get(job.status.job_id, job.status) for job in self._store.newest()]

    def current(self) -> JobStatus | None:
        """Return the running job that began first; None where none runs."""
        running = next(iter(dict(self._running).values()), None)
        return running.snapshot() if running else None

    def last_ended(self) -> JobStatus | None:
        """Return the job that ended last."""
        if unwritten := list(dict(self._unwritten).values()):
            return unwritten[-1]
        job = self._store.last_finished()
        return job.status if job else None

    def is_busy(self) -> bool:
        """Whether a job runs or waits."""
        with self._changed:  # between the two, a job may be on its way from the one to the other
            return bool(self._running) or self.has_waiting()

    def require_idle(self) -> None:
        """Return if no job runs or waits.

        Raises:
            ConflictError: One does.
        """
        if self.is_busy():
            raise ConflictError(
                "A job is indexing; the index can't be cleared now.",
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
        """Return the jobs of which the store does not know the latest."""
        running = {job_id: job.snapshot() for job_id, job in dict(self._running).items()}
        return {**dict(self._unwritten), **running}

    def _write_ends(self) -> None:
        """Write how jobs ended; what can't be written now is written with the next change."""
        try:
            for job_id, ended in list(self._unwritten.items()):
                self._store.mark_finished(job_id, ended.state, progress=ended.progress, error=ended.error)
                del self._unwritten[job_id]
        except StoreError:
            logger.warning("the end of %d jobs can't be written yet", len(self._unwritten), exc_info=True)


def describe_failure(error: Exception) -> str:
    """Return why a job failed, with what to do."""
    if isinstance(error, AgentBrainError):
        return f"{error.message} {error.hint}"
    return f"{type(error).__name__}: {error}. {AgentBrainError.default_hint}"
