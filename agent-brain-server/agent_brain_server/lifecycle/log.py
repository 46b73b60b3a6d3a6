"""The server's log: one JSON object per line, rotated by size, with ids that lead from a request to its job.

Each line has the id of the server process that wrote it (`instance_id`), which separates one run from the next. The
indexing worker sends its lines with its replies, and the server writes them: one file with one writer, in order.
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
TAIL_LINE_LENGTH = 300  # fits on a screen
MAX_LOG_BYTES = 2_000_000  # about 10,000 lines
KEPT_LOGS = 5
CHATTY_LOGGERS = ("chromadb", "httpx", "httpcore", "urllib3", "asyncio", "llama_index")
"""Libraries whose informational lines say nothing about this server; their warnings are kept."""

correlation_id: ContextVar[str | None] = ContextVar("correlation_id", default=None)
"""Id of the request or job that the current task works for."""

job_id: ContextVar[str | None] = ContextVar("job_id", default=None)
"""The indexing job that the current thread runs."""

project_id: ContextVar[str | None] = ContextVar("project_id", default=None)
"""The project that the current task or thread works for; the daemon's log covers many projects."""

CONTEXT = {"correlation_id": correlation_id, "job_id": job_id, "project_id": project_id}
"""Keys that attribute a line to a request, a job and a project."""

_STANDARD_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


@contextmanager
def bind_correlation_id(identifier: str) -> Iterator[None]:
    """Mark every log line of the block with a correlation id."""
    token = correlation_id.set(identifier)
    try:
        yield
    finally:
        correlation_id.reset(token)


@contextmanager
def bind_job(identifier: str, requested_by: str | None) -> Iterator[None]:
    """Mark every log line of the block with a job and the request that asked for it.

    Args:
        identifier: Id of the job.
        requested_by: Correlation id of the request; `None` if the watcher started the job.
    """
    token = job_id.set(identifier)
    try:
        with bind_correlation_id(requested_by or identifier):
            yield
    finally:
        job_id.reset(token)


class JsonFormatter(logging.Formatter):
    """Format a record as one line of JSON; fields passed as `extra` become keys.

    Args:
        constants: Keys of every line.
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
        elif record.exc_text:  # from another process, which cannot send the exception itself
            line["exception"] = record.exc_text
        return json.dumps(line, default=str)


class RunKeepingHandler(logging.handlers.RotatingFileHandler):
    """Rotate by size, and keep the last lines of the previous run however much this run writes.

    Args:
        path: The log file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(
            path, maxBytes=MAX_LOG_BYTES, backupCount=KEPT_LOGS, encoding="utf-8", errors="backslashreplace"
        )
        self._previous_is_kept = not path.lstat().st_size

    def _open(self) -> TextIOWrapper:
        """Open the log to append to it, also after each rotation; a symlink in its place is refused."""
        descriptor = open_log(Path(self.baseFilename))
        return TextIOWrapper(open(descriptor, "ab"), encoding=self.encoding, errors=self.errors)

    def doRollover(self) -> None:  # noqa: N802 - the standard library's name
        """Rotate; the first time, link the file with the end of the previous run under a name that is not rotated."""
        if not self._previous_is_kept:
            self._previous_is_kept = True
            kept = os.path.join(os.path.dirname(self.baseFilename), PREVIOUS_LOG_FILE)
            with contextlib.suppress(OSError):  # file systems without hard links have the numbered files only
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(kept)
                os.link(self.baseFilename, kept, follow_symlinks=False)
        super().doRollover()


def configure_logging(
    log_dir: Path, level: str = "info", *, console: bool = False, instance_id: str | None = None
) -> Path:
    """Write everything that this process logs to the server's log.

    Args:
        log_dir: Directory of the log; it exists.
        level: `debug`, `info`, `warning` or `error`.
        console: Also print warnings to stderr.
        instance_id: Id of this process, a key of each line.

    Returns:
        The path of the log. It may start with lines of earlier runs.
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


def read_log_tail(path: Path, *, offset: int = 0, lines: int = TAIL_LINES) -> list[str]:
    """Return the last lines of a log as readable text; an empty list if it cannot be read.

    Args:
        path: A text file; JSON lines of the server are converted to text.
        offset: Byte at which to start: earlier lines belong to earlier runs.
        lines: Maximum number of lines.
    """
    try:
        with open(open_file(path), encoding="utf-8", errors="replace") as file:
            file.seek(offset)
            return [_format_as_text(line.rstrip("\n"))[:TAIL_LINE_LENGTH] for line in deque(file, maxlen=lines)]
    except (OSError, StateDirError):
        return []


def _format_as_text(line: str) -> str:
    try:
        entry = json.loads(line)
        text = f"{entry['level']}: {entry['message'].splitlines()[0]}"
        cause = entry.get("exception", "").rpartition("\n")[2]
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return line  # not a line of the server
    return f"{text} ({cause})" if cause else text
