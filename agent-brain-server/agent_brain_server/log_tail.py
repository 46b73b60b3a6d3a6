"""The last lines of a log, for a person who is told that a start failed."""

import json
from collections import deque
from pathlib import Path

from agent_brain_server.errors import StateDirError
from agent_brain_server.state_files import open_file

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
