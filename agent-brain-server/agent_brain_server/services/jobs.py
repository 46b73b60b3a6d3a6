"""The queue of indexing jobs: what waits, what runs, how each ended."""

import logging
import threading
from collections.abc import Callable

from agent_brain_server.errors import ConflictError, NotFoundError
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
    """

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._running: dict[str, RunningJob] = {}
        self._changed = threading.Condition()

    def resume_unfinished(self) -> int:
        """Put what was left unfinished back into the queue; returns how many jobs that is.

        An earlier server leaves jobs behind when it ends, this one where it could not write how a job ended.
        """
        with self._changed:
            left = [job.status.job_id for job in self._store.unfinished() if job.status.job_id not in self._running]
            for job_id in left:
                self._store.requeue(job_id)
        return len(left)

    def submit(self, request: IndexRequest) -> JobStatus:
        """Queue a job; an equal one that has not begun yet stands for both."""
        with self._changed:
            for job in self._store.unfinished():
                if job.status.state == "queued" and job.request == request:
                    return job.status
            created = self._store.create(request)
            self._changed.notify_all()
        return created.status

    def take_next(self) -> RunningJob | None:
        """Begin the job that has waited longest; None where none waits."""
        with self._changed:
            job = self._store.next_queued()
            if job is None:
                return None
            self._store.mark_running(job.status.job_id)
            running = RunningJob(self._stored(job.status.job_id).status, job.request)
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
            if not self.has_waiting() and not unless():
                self._changed.wait(timeout_s)

    def wake(self) -> None:
        """End every `wait`."""
        with self._changed:
            self._changed.notify_all()

    def finish(self, job: RunningJob, state: JobState, error: str | None = None) -> None:
        """Record how a job ended; the first word counts."""
        with self._changed:
            if self._running.pop(job.status.job_id, None) is None:
                return
            job.phase = "finished"
            self._store.mark_finished(job.status.job_id, state, progress=job.progress(), error=error)
            logger.info("job %s %s", job.status.job_id, state, extra={"job_id": job.status.job_id, "error": error})
            self._changed.notify_all()

    def cancel(self, job_id: str) -> JobStatus:
        """Cancel a job that has not ended.

        Raises:
            NotFoundError: There is no such job.
            ConflictError: It has ended.
        """
        with self._changed:
            stored = self._stored(job_id).status
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
            return self._stored(job_id).status

    def get(self, job_id: str) -> JobStatus:
        """Return a job as it is now.

        Raises:
            NotFoundError: There is no such job.
        """
        running = self._running.get(job_id)
        return running.snapshot() if running else self._stored(job_id).status

    def newest(self) -> list[JobStatus]:
        """Return the remembered jobs, newest first."""
        running = dict(self._running)
        jobs = [job.status for job in self._store.newest()]
        return [running[job.job_id].snapshot() if job.job_id in running else job for job in jobs]

    def current(self) -> JobStatus | None:
        """Return the running job that began first; None where none runs."""
        running = next(iter(dict(self._running).values()), None)
        return running.snapshot() if running else None

    def last_ended(self) -> JobStatus | None:
        """Return the job that ended last."""
        job = self._store.last_finished()
        return job.status if job else None

    def is_busy(self) -> bool:
        """Whether a job runs or waits."""
        with self._changed:  # between the two, a job may be on its way from the one to the other
            return bool(self._running) or self.has_waiting()

    def _stored(self, job_id: str) -> StoredJob:
        job = self._store.get(job_id)
        if job is None:
            raise NotFoundError(
                f"There is no job {job_id[:40]!r}.", code="unknown_job", hint="GET /index/jobs lists the jobs."
            )
        return job
