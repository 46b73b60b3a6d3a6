"""Follow an indexing job and show its progress on stderr: bars on a terminal, a line now and then elsewhere."""

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Protocol, Self, TextIO

from agent_brain_cli.client import Client
from agent_brain_cli.output import Json, format_share, note, obeys_escapes
from agent_brain_server.errors import NotRunningError, ServerRefusedError
from agent_brain_server.models import TERMINAL_STATES
from agent_brain_server.project_root import describe_large_project
from agent_brain_server.support.text import pluralize

if TYPE_CHECKING:
    from rich.progress import TaskID

LINE_INTERVAL_S = 3.0  # a log shows that the job proceeds without filling up; a shorter job prints no line

Milestone = Literal["keywords", "end"]
"""The end of a wait: keyword search is complete, or the vectors are complete too."""


def wait_for_job(client: Client, job_id: str, milestone: Milestone, *, timeout_s: float | None = None) -> Json:
    """Show the progress of a job on stderr and return its status at the milestone.

    Args:
        client: A client of the server that runs the job.
        job_id: The job.
        milestone: How far to wait.
        timeout_s: The longest wait; `None` waits until the milestone.

    Raises:
        DeadlineError: The milestone was not reached in time.
        NotRunningError: The server ended.
        ServerRefusedError: The job failed or was cancelled.
    """
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    job: Json = {}
    remark: str | None = None
    try:
        with open_progress() as display:
            for job in client.follow_job(job_id, deadline=deadline):
                if remark is None and (remark := describe_large_project(job["progress"]["files_total"])):
                    note(remark)
                display.update(job)
                if has_reached(job, milestone):
                    break
    except NotRunningError as error:
        hint = "The job continues when the server is started again: agent-brain start"
        raise NotRunningError("The server ended while it was indexing.", hint=hint) from error
    except KeyboardInterrupt:
        note("The job continues in the server. See its progress with: agent-brain status")
        raise
    check_job(job)
    return job


def has_reached(job: Json, milestone: Milestone) -> bool:
    """Return whether a job has reached a milestone or has ended."""
    return job["state"] in TERMINAL_STATES or (milestone == "keywords" and bool(job["progress"]["keywords_ready"]))


def check_job(job: Json) -> None:
    """Raise `ServerRefusedError` if a job failed or was cancelled."""
    if job["state"] == "failed":
        message = job["error"] or "The job failed without an error message."
        raise ServerRefusedError(message, hint="Try again with: agent-brain index", code="job_failed")
    if job["state"] == "cancelled":
        hint = "Start it again with: agent-brain index"
        raise ServerRefusedError("The job was cancelled.", hint=hint, code="job_cancelled")


def describe_progress(job: Json) -> str:
    """Return the progress of a job in one line."""
    progress = job["progress"]
    if progress["phase"] == "queued":
        return "waiting for its turn"
    if progress["phase"] == "scanning":
        return f"scanning: {pluralize(progress['files_total'], 'file')}"
    if not progress["keywords_ready"]:
        return f"reading: {progress['files_done']:,} of {pluralize(progress['files_changed'], 'file')}"
    share = format_share(get_vector_share(job))
    return f"embedding: {progress['vectors_done']:,} of {pluralize(progress['vectors_total'], 'chunk')} ({share})"


def count_reasons(skipped: dict[str, int]) -> str:
    """Return the reasons for which files were skipped with their counts, the most frequent first."""
    by_count = sorted(skipped.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count:,} {reason}" for reason, count in by_count)


def get_vector_share(job: Json) -> float:
    """Return the share of chunks that have a vector; 1 if there are no chunks."""
    progress = job["progress"]
    return progress["vectors_done"] / progress["vectors_total"] if progress["vectors_total"] else 1.0


class ProgressDisplay(Protocol):
    """A context manager that shows the status of one job while it runs."""

    def __enter__(self) -> Self:
        """Start the display."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the display and restore the terminal."""

    def update(self, job: Json) -> None:
        """Show the status of the job."""


def open_progress() -> ProgressDisplay:
    """Return a display for stderr: bars on a terminal, else lines."""
    return ProgressBars() if obeys_escapes(sys.stderr) else ProgressLines(sys.stderr)


class ProgressLines:
    """Write one line for each interval in which the progress has changed.

    Args:
        stream: The stream to write to.
        interval_s: The shortest time before the first line and between two lines.
    """

    def __init__(self, stream: TextIO, interval_s: float = LINE_INTERVAL_S) -> None:
        self._stream = stream
        self._interval_s = interval_s
        self._next_at = time.monotonic() + interval_s
        self._last_line = ""

    def __enter__(self) -> Self:
        """Do nothing: the first status writes the first line."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Do nothing: no resource is open."""

    def update(self, job: Json) -> None:
        """Write a line if the interval has passed and the line differs from the last one."""
        line, now = describe_progress(job), time.monotonic()
        if line == self._last_line or now < self._next_at:
            return
        self._next_at, self._last_line = now + self._interval_s, line
        print(line, file=self._stream, flush=True)


class ProgressBars:
    """Draw one bar for the files read and one for the chunks embedded."""

    def __init__(self) -> None:
        # late: rich costs 45 ms and only a terminal needs it
        from rich.console import Console  # noqa: PLC0415
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

        columns = (TextColumn("{task.description:<9}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress: Progress = Progress(*columns, console=Console(stderr=True))
        self._files: TaskID = self._progress.add_task("scanning", total=None)
        self._vectors: TaskID = self._progress.add_task("embedding", total=None, visible=False)

    def __enter__(self) -> Self:
        """Start drawing."""
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop drawing and restore the cursor."""
        self._progress.stop()

    def update(self, job: Json) -> None:
        """Move the bars."""
        progress = job["progress"]
        if progress["phase"] in ("queued", "scanning"):
            self._progress.update(self._files, description=progress["phase"], completed=progress["files_total"])
            return
        self._progress.update(
            self._files, description="reading", total=progress["files_changed"], completed=progress["files_done"]
        )
        if progress["keywords_ready"]:
            self._progress.update(
                self._vectors, total=progress["vectors_total"], completed=progress["vectors_done"], visible=True
            )
