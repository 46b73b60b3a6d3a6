"""The lines of a server's log: read from the end backwards through its rotated files, and followed as they come."""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from agent_brain_cli.render import Json
from agent_brain_server.errors import UnsafePathError
from agent_brain_server.storage_paths import PREVIOUS_LOG_FILE, SERVER_LOG_FILE
from agent_brain_server.support.state_files import open_file

LEVELS = ("debug", "info", "warning", "error", "critical")
FOLLOW_INTERVAL_S = 0.2  # a person sees a line come at once, and a process that looks five times a second costs nothing


@dataclass(frozen=True, slots=True)
class LineFilter:
    """Which lines are wanted.

    Attributes:
        level: The least level; a line without one, such as a torn one, is always wanted.
        project_id: Lines of other projects are not wanted; None for those of all.
    """

    level: str = LEVELS[0]
    project_id: str | None = None

    def wants(self, entry: Json) -> bool:
        """Whether a line is wanted."""
        if self.project_id and entry.get("project_id", self.project_id) != self.project_id:
            return False
        level = entry.get("level")
        return level not in LEVELS or LEVELS.index(level) >= LEVELS.index(self.level)


def parse_line(line: bytes) -> Json:
    """Return a line's keys; one that is not ours has its text as `message` and nothing else."""
    text = line.decode("utf-8", "replace").rstrip("\n")
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError):
        return {"message": text}
    return entry if isinstance(entry, dict) and isinstance(entry.get("message"), str) else {"message": text}


def open_log(log_dir: Path) -> BinaryIO:
    """Open the newest file of a log, to be read to its end and followed from there.

    Raises:
        FileNotFoundError: There is no log.
        UnsafePathError: It is a link, not a regular file, or belongs to another user.
    """
    return open(open_file(log_dir / SERVER_LOG_FILE), "rb")


def read_backwards(log_dir: Path, newest: BinaryIO) -> Iterator[Json]:
    """Yield every line of a log, the newest first, through the files that were rotated away.

    Args:
        log_dir: Where it lies.
        newest: Is read whole first, and left where what is written from now on begins.
    """
    data = newest.read()
    whole = data[: data.rfind(b"\n") + 1]
    newest.seek(len(whole))
    yield from map(parse_line, reversed(whole.splitlines()))
    for path in list_older_files(log_dir, newest):
        try:
            with open(open_file(path), "rb") as file:
                lines = file.read().splitlines()
        except (OSError, UnsafePathError):  # rotated away meanwhile, or no log of ours
            continue
        yield from map(parse_line, reversed(lines))


def list_older_files(log_dir: Path, newest: BinaryIO) -> list[Path]:
    """Return the other files of a log, the newest first; the one that is kept of the previous run comes once."""
    found = log_dir.glob(f"{SERVER_LOG_FILE}.*")
    numbered = sorted((int(path.suffix[1:]), path) for path in found if path.suffix[1:].isdigit())
    seen, files = {os.fstat(newest.fileno()).st_ino}, []
    # the last one is a second name of a file that is old enough to have been rotated away
    for path in (*(path for _, path in numbered), log_dir / PREVIOUS_LOG_FILE):
        with contextlib.suppress(FileNotFoundError):
            inode = path.lstat().st_ino
            if inode not in seen:
                seen.add(inode)
                files.append(path)
    return files


def read_last(log_dir: Path, newest: BinaryIO, count: int, wanted: LineFilter, *, previous: bool = False) -> list[Json]:
    """Return the last lines of a log, the oldest of them first.

    Args:
        log_dir: Where it lies.
        newest: As `open_log` gives it.
        count: At most so many.
        wanted: Others are left out and not counted.
        previous: Of the run before the newest, instead of all runs.
    """
    entries = read_backwards(log_dir, newest)
    if previous:
        entries = keep_previous_run(entries)
    found: list[Json] = []
    for entry in entries:
        if len(found) >= count:
            break
        if wanted.wants(entry):
            found.append(entry)
    return found[::-1]


def keep_previous_run(entries: Iterator[Json]) -> Iterator[Json]:
    """Yield the lines of the run before the newest.

    Args:
        entries: The newest first; each names its run as `instance_id`.
    """
    runs: list[object] = []
    for entry in entries:
        run = entry.get("instance_id") or (runs[-1] if runs else None)
        if run is not None and run not in runs:
            runs.append(run)
        if len(runs) == 2:
            yield entry
        elif len(runs) > 2:
            return


def follow(log_dir: Path, file: BinaryIO, wanted: LineFilter) -> Iterator[Json]:
    """Yield the lines that are written from now on, through every rotation, for ever.

    Args:
        log_dir: Where the log lies.
        file: Its newest file, read as far as it was.
        wanted: Others are left out.
    """
    path = log_dir / SERVER_LOG_FILE
    try:
        while True:
            position = file.tell()
            line = file.readline()
            if line.endswith(b"\n"):
                entry = parse_line(line)
                if wanted.wants(entry):
                    yield entry
                continue
            file.seek(position)  # half a line is read again once it is whole
            if not line and is_replaced(path, file):
                file.close()
                file = open_log(log_dir)
            else:
                time.sleep(FOLLOW_INTERVAL_S)
    finally:
        file.close()


def is_replaced(path: Path, file: BinaryIO) -> bool:
    """Whether the name has come to mean another file; where it means none, the next one has not been made yet."""
    try:
        named = path.lstat()
    except FileNotFoundError:
        return False
    held = os.fstat(file.fileno())
    return (named.st_dev, named.st_ino) != (held.st_dev, held.st_ino) or named.st_size < file.tell()
