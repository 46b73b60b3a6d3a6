"""The server's log: one JSON object per line, rotated by size, with an id that follows a request into its job.

Each line names the server process that wrote it (`instance_id`), so that a reader can tell one run from the next. The
worker's lines come to the server with its replies and are written here too: one file, one writer, one order.
"""

import contextlib
import json
import logging
import logging.handlers
import os
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from io import TextIOWrapper
from pathlib import Path

from agent_brain_server.errors import StateDirError
from agent_brain_server.storage_paths import PREVIOUS_LOG_FILE, SERVER_LOG_FILE
from agent_brain_server.support.state_files import open_file, open_log

TAIL_LINES = 10
TAIL_LINE_LENGTH = 300  # what fits on a screen


def read_log_tail(path: Path, *, offset: int = 0, lines: int = TAIL_LINES) -> list[str]:
    """Return the last lines of a log for a person to read; none where it can't be read.

    Args:
        path: A text file; lines of JSON, as the server writes them, are put into words.
        offset: Byte at which to begin: what is older belongs to an earlier run.
        lines: At most so many.
    """
    try:
        with open(open_file(path), encoding="utf-8", errors="replace") as file:
            file.seek(offset)
            return [_put_into_words(line.rstrip("\n"))[:TAIL_LINE_LENGTH] for line in deque(file, maxlen=lines)]
    except (OSError, StateDirError):
        return []


def _put_into_words(line: str) -> str:
    try:
        entry = json.loads(line)
        words = f"{entry['level']}: {entry['message'].splitlines()[0]}"
        cause = entry.get("exception", "").rpartition("\n")[2]
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return line  # a library's own words
    return f"{words} ({cause})" if cause else words


MAX_LOG_BYTES = 2_000_000  # about 10,000 lines
KEPT_LOGS = 5
CHATTY_LOGGERS = ("chromadb", "httpx", "httpcore", "urllib3", "asyncio", "llama_index")
"""Libraries whose informational lines say nothing about this server; their warnings are kept."""

correlation_id: ContextVar[str | None] = ContextVar("correlation_id", default=None)
"""Id of the request or job that the current task works for."""

job_id: ContextVar[str | None] = ContextVar("job_id", default=None)
"""The indexing job that the current thread works on."""

_STANDARD_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


project_id: ContextVar[str | None] = ContextVar("project_id", default=None)
"""The project that the current task or thread works for; the daemon's log is that of many."""

CONTEXT = {"correlation_id": correlation_id, "job_id": job_id, "project_id": project_id}
"""Keys of a line that say whose work it was."""


@contextmanager
def bind_correlation_id(identifier: str) -> Iterator[None]:
    """Mark every log line of the block as work for `identifier`."""
    token = correlation_id.set(identifier)
    try:
        yield
    finally:
        correlation_id.reset(token)


@contextmanager
def bind_job(identifier: str, requested_by: str | None) -> Iterator[None]:
    """Mark every log line of the block as work on a job, for the request that asked for it.

    Args:
        identifier: The job.
        requested_by: Correlation id of the request; None where nobody asked, as when the tree was seen to change.
    """
    token = job_id.set(identifier)
    try:
        with bind_correlation_id(requested_by or identifier):
            yield
    finally:
        job_id.reset(token)


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON; what a caller passes as `extra` becomes keys of its own.

    Args:
        constants: Keys that every line has.
    """

    def __init__(self, constants: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self._constants = dict(constants or {})

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update({key: value for key, variable in CONTEXT.items() if (value := variable.get()) is not None})
        line.update(self._constants)
        line.update({key: value for key, value in vars(record).items() if key not in _STANDARD_ATTRIBUTES})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        elif record.exc_text:  # of another process, which has no exception to send
            line["exception"] = record.exc_text
        return json.dumps(line, default=str)


class RunKeepingHandler(logging.handlers.RotatingFileHandler):
    """Rotates by size, and keeps the last lines of the run before this one however much this run writes.

    Args:
        path: The log.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(
            path, maxBytes=MAX_LOG_BYTES, backupCount=KEPT_LOGS, encoding="utf-8", errors="backslashreplace"
        )
        self._previous_is_kept = not path.lstat().st_size

    def _open(self) -> TextIOWrapper:
        """Open the log to append to it, also after each rotation; a link in its place is refused."""
        descriptor = open_log(Path(self.baseFilename))
        return TextIOWrapper(open(descriptor, "ab"), encoding=self.encoding, errors=self.errors)

    def doRollover(self) -> None:  # noqa: N802 - the standard library's name
        """Rotate; the first time, give the file in which the run before ended a second name that rotation spares."""
        if not self._previous_is_kept:
            self._previous_is_kept = True
            kept = os.path.join(os.path.dirname(self.baseFilename), PREVIOUS_LOG_FILE)
            with contextlib.suppress(OSError):  # a file system without hard links keeps the numbered files alone
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(kept)
                os.link(self.baseFilename, kept, follow_symlinks=False)
        super().doRollover()


def configure_logging(
    log_dir: Path, level: str = "info", *, console: bool = False, instance_id: str | None = None
) -> Path:
    """Send everything that is logged in this process to the server's log.

    Args:
        log_dir: Directory of the log; it exists.
        level: `debug`, `info`, `warning` or `error`.
        console: Show warnings on stderr too, for a person who watches.
        instance_id: Of this process; each line carries it.

    Returns:
        The log's path. Lines of earlier runs stay in front.
    """
    path = log_dir / SERVER_LOG_FILE
    file_handler = RunKeepingHandler(path)
    file_handler.setFormatter(JsonFormatter({"instance_id": instance_id} if instance_id else None))
    root = logging.getLogger()
    root.setLevel(level.upper())
    root.addHandler(file_handler)
    if console:
        console_handler = logging.StreamHandler(sys.stderr)
        console_handler.setLevel(logging.WARNING)
        console_handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
        root.addHandler(console_handler)
    for name in CHATTY_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    return path
