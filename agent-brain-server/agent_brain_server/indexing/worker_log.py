"""The worker's log lines on their way to the server's log: they travel with its replies.

So there is one log with one writer, and each line stands there with the request and the job that it was written for.
"""

import logging
from collections.abc import Iterable
from typing import Any

MAX_RECORDS = 200
"""Lines that one reply takes along; a request is a few files, and what says more repeats itself."""

Record = dict[str, Any]


class RecordCollector(logging.Handler):
    """Keeps what is logged until the next reply takes it along."""

    def __init__(self) -> None:
        super().__init__()
        self._records: list[Record] = []
        self._formatter = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record, as long as there is room."""
        if len(self._records) >= MAX_RECORDS:
            return
        line: Record = {
            "name": record.name,
            "levelno": record.levelno,
            "created": record.created,
            "msg": _plain(record.getMessage()),
        }
        if record.exc_info:
            line["exc_text"] = _plain(self._formatter.formatException(record.exc_info))
        self._records.append(line)

    def take(self) -> list[Record]:
        """Return what was kept, and forget it."""
        records, self._records = self._records, []
        return records


def relay_records(records: Iterable[Record], worker_pid: int) -> None:
    """Log in this process what a worker has logged, at the time at which it did.

    Args:
        records: As the worker's `RecordCollector` gave them.
        worker_pid: Named in each line.
    """
    for fields in records:
        logger = logging.getLogger(fields["name"])
        if logger.isEnabledFor(fields["levelno"]):
            level = logging.getLevelName(fields["levelno"])
            logger.handle(logging.makeLogRecord({**fields, "levelname": level, "worker_pid": worker_pid}))


def _plain(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")  # a frame carries no lone surrogates
