"""How far a job is, on stderr: bars on a terminal, now and then a line elsewhere."""

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TextIO

from agent_brain_cli.render import Json, format_share, obeys_escapes
from agent_brain_server.support.text import pluralize

if TYPE_CHECKING:
    from rich.progress import TaskID

LINE_INTERVAL_S = 3.0
"""A log should show that something moves, and not fill up; what ends sooner needs no line."""


class ProgressDisplay(Protocol):
    """Shows the status of one job, again and again; a context manager around the whole of it."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End, leaving the terminal as it was."""

    def update(self, job: Json) -> None:
        """Show this status."""


def open_progress() -> ProgressDisplay:
    """Return the display that suits stderr."""
    return ProgressBars() if obeys_escapes(sys.stderr) else ProgressLines(sys.stderr)


def describe_progress(job: Json) -> str:
    """Say in one line how far a job is."""
    progress = job["progress"]
    if progress["phase"] == "queued":
        return "waiting for its turn"
    if progress["phase"] == "scanning":
        return f"scanning: {pluralize(progress['files_total'], 'file')}"
    if not progress["keywords_ready"]:
        return f"reading: {progress['files_done']:,} of {pluralize(progress['files_changed'], 'file')}"
    return f"vectors: {progress['vectors_done']:,} of {progress['vectors_total']:,} ({format_share(vector_share(job))})"


def count_reasons(skipped: dict[str, int]) -> str:
    """Return why files were left out, with their counts, the most frequent first."""
    by_count = sorted(skipped.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count:,} {reason}" for reason, count in by_count)


def vector_share(job: Json) -> float:
    """Return which share of the chunks has a vector; all of none is all."""
    progress = job["progress"]
    return progress["vectors_done"] / progress["vectors_total"] if progress["vectors_total"] else 1.0


class ProgressLines:
    """A line per interval, if there is something new to say.

    Args:
        stream: Where to.
        interval_s: Least time before the first line, and between two.
    """

    def __init__(self, stream: TextIO, interval_s: float = LINE_INTERVAL_S) -> None:
        self._stream = stream
        self._interval_s = interval_s
        self._next_at = time.monotonic() + interval_s
        self._last_line = ""

    def __enter__(self) -> Self:
        """Begin; nothing is written before the first status."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End; nothing is left open."""

    def update(self, job: Json) -> None:
        """Write a line, if it is time for one and it says something new."""
        line, now = describe_progress(job), time.monotonic()
        if line == self._last_line or now < self._next_at:
            return
        self._next_at, self._last_line = now + self._interval_s, line
        print(line, file=self._stream, flush=True)


class ProgressBars:
    """One bar for the files that are read, and one for the vectors, once they come."""

    def __init__(self) -> None:
        # late: rich costs 45 ms and is needed on a terminal alone
        from rich.console import Console  # noqa: PLC0415
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

        columns = (TextColumn("{task.description:<9}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress: Progress = Progress(*columns, console=Console(stderr=True))
        self._files: TaskID = self._progress.add_task("scanning", total=None)
        self._vectors: TaskID = self._progress.add_task("vectors", total=None, visible=False)

    def __enter__(self) -> Self:
        """Start drawing."""
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop drawing and give the cursor back."""
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
