"""The server's log: one JSON object per line, rotated by size, with an id that follows a request into its job."""

import json
import logging
import logging.handlers
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path

from agent_brain_server.storage_paths import SERVER_LOG_FILE

MAX_LOG_BYTES = 2_000_000  # about 10,000 lines
KEPT_LOGS = 5
CHATTY_LOGGERS = ("chromadb", "httpx", "httpcore", "urllib3", "watchfiles", "asyncio", "llama_index")
"""Libraries whose informational lines say nothing about this server; their warnings are kept."""

correlation_id: ContextVar[str | None] = ContextVar("correlation_id", default=None)
"""Id of the request or job that the current task works for."""

_STANDARD_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


@contextmanager
def bind_correlation_id(identifier: str) -> Iterator[None]:
    """Mark every log line of the block as work for `identifier`."""
    token = correlation_id.set(identifier)
    try:
        yield
    finally:
        correlation_id.reset(token)


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON; what a caller passes as `extra` becomes keys of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        identifier = correlation_id.get()
        if identifier is not None:
            line["correlation_id"] = identifier
        line.update({key: value for key, value in vars(record).items() if key not in _STANDARD_ATTRIBUTES})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure_logging(log_dir: Path, level: str = "info", *, console: bool = False) -> Path:
    """Send everything that is logged in this process to the server's log.

    Args:
        log_dir: Directory of the log; it exists.
        level: `debug`, `info`, `warning` or `error`.
        console: Show warnings on stderr too, for a person who watches.

    Returns:
        The log's path. Lines of earlier runs stay in front.
    """
    path = log_dir / SERVER_LOG_FILE
    file_handler = logging.handlers.RotatingFileHandler(
        path, maxBytes=MAX_LOG_BYTES, backupCount=KEPT_LOGS, encoding="utf-8", errors="backslashreplace"
    )
    file_handler.setFormatter(JsonFormatter())
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
