"""How far a running job is, as its thread counts it and others read it."""

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
    """What a run of indexing has done. Its thread writes them; a reader may see them at slightly different moments.

    Attributes:
        cancelled: Set when the run is to end at the next batch.
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
        """Count what is left out, by reason."""
        self.skipped.update(skip.reason for skip in skips)

    def progress(self) -> JobProgress:
        """Return the counters as they are now."""
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

    def count_unread(self) -> int:
        """Return how many changed files have not been read yet."""
        return max(self.files_changed - self.files_done, 0)


@dataclass(slots=True, kw_only=True)
class RunningJob(Counters):
    """A job at work.

    Attributes:
        status: As it was when the work began.
        correlation_id: Of the HTTP request that asked for it; `None` if a change of the tree did.
    """

    status: JobStatus
    request: IndexRequest
    correlation_id: str | None = None

    def bound_to_log(self) -> AbstractContextManager[None]:
        """Mark every log line of a block as work on the job."""
        return bind_job(self.status.job_id, self.correlation_id)

    def describe(self) -> str:
        """Return a summary of the keyword half."""
        return f"{pluralize(self.files_total, 'file')}: {self.files_done:,} read, {self.files_removed:,} removed"

    def snapshot(self) -> JobStatus:
        """Return the job with its counters as they are now."""
        return self.status.model_copy(update={"progress": self.progress()})
