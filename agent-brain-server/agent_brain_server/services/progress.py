"""Progress of an indexing run: counted by the indexing thread, read by others."""

import threading
from collections import Counter
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from agent_brain_server.lifecycle.log import bind_job
from agent_brain_server.models.index import IndexRequest, JobPhase, JobProgress, JobStatus
from agent_brain_server.support.text import pluralize
from agent_brain_server.types import Skip


@dataclass(slots=True)
class Counters:
    """Counters of one run of the indexing pipeline.

    Only the indexing thread writes them. A reader may see counters of slightly different moments.

    Attributes:
        cancelled: Set to end the run at the next batch.
    """

    cancelled: threading.Event = field(default_factory=threading.Event)
    phase: JobPhase = "scanning"
    files_total: int = 0
    files_changed: int = 0
    files_done: int = 0
    files_removed: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    chunks_written: int = 0
    vectors_total: int = 0
    vectors_done: int = 0
    keywords_ready: bool = False

    def count_skips(self, skips: Iterable[Skip]) -> None:
        """Count skipped files, by reason."""
        self.skipped.update(skip.reason for skip in skips)

    def count_unread(self) -> int:
        """Return how many changed files have not been read yet."""
        return max(self.files_changed - self.files_done, 0)

    def progress(self) -> JobProgress:
        """Return a copy of the counters."""
        return JobProgress(
            phase=self.phase,
            files_total=self.files_total,
            files_changed=self.files_changed,
            files_done=self.files_done,
            files_removed=self.files_removed,
            files_skipped=dict(self.skipped),
            chunks_written=self.chunks_written,
            vectors_total=self.vectors_total,
            vectors_done=self.vectors_done,
            keywords_ready=self.keywords_ready,
        )


@dataclass(slots=True, kw_only=True)
class RunningJob(Counters):
    """A job that is running.

    Attributes:
        status: As of its start.
        correlation_id: Id of the HTTP request that submitted it; `None` if a change of the tree did.
    """

    status: JobStatus
    request: IndexRequest
    correlation_id: str | None = None

    def bound_to_log(self) -> AbstractContextManager[None]:
        """Attach the job's id to every log record of a block."""
        return bind_job(self.status.job_id, self.correlation_id)

    def describe(self) -> str:
        """Return a summary of the keyword half, for the log."""
        return f"{pluralize(self.files_total, 'file')}: {self.files_done:,} read, {self.files_removed:,} removed"

    def snapshot(self) -> JobStatus:
        """Return the job's status with its current progress."""
        return self.status.model_copy(update={"progress": self.progress()})
