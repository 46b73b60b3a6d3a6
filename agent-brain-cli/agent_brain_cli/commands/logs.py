"""`agent-brain logs`: show what a server has logged.

The log is read backwards through its rotated files, and followed forwards through the next rotations.
"""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

import click

from agent_brain_cli.options import Target, mode_option, target_options
from agent_brain_cli.output import Json, colours_wanted, note, show, visible
from agent_brain_cli.servers import note_ignored, resolve_mode
from agent_brain_server.config.settings import load_settings
from agent_brain_server.errors import NotRunningError, StateDirError, UnsafePathError
from agent_brain_server.project_root import generate_project_id
from agent_brain_server.storage_paths import LOG_DIR, PREVIOUS_LOG_FILE, SERVER_LOG_FILE, brain_home, locate_below
from agent_brain_server.support.state_files import open_file

DEFAULT_LINES = 40  # one screen
LEVELS = ("debug", "info", "warning", "error", "critical")
FOLLOW_INTERVAL_S = 0.2  # a new line appears at once for a person, and five checks a second cost nothing

COLOURS = {"warning": "yellow", "error": "red", "critical": "red"}
FIXED_KEYS = ("time", "level", "message", "exception", "logger", "instance_id", "project_id")
"""Keys that are not repeated in the brackets after a line's message."""

UNKNOWN_TIME = "-" * 23


@click.command()
@mode_option
@click.option("--follow", "-f", "following", is_flag=True, help="Keep showing new lines until Ctrl-C.")
@click.option(
    "--lines",
    "-n",
    type=click.IntRange(min=0),
    default=DEFAULT_LINES,
    show_default=True,
    metavar="N",
    help="Show the last N lines.",
)
@click.option(
    "--level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="debug",
    help="Show only lines of this level or above.",
)
@click.option("--previous", is_flag=True, help="Show only the run before the last one.")
@target_options
def logs(target: Target, mode: str | None, following: bool, lines: int, level: str, previous: bool) -> None:
    """Show what the server has logged.

    Each line has its time, level and message, then the ids of the request and the job that it belongs to. For a
    project that uses the shared daemon, only the lines about that project are shown; --mode shared shows them all.
    """
    if following and (target.as_json or previous):
        raise click.UsageError("--follow cannot be used with --json or --previous, because it does not end.")
    shared = mode == "shared" or (mode is None and resolve_mode(target).is_shared)
    if not shared:
        note_ignored(target)
    log_dir = find_log_dir(target, shared=shared)
    line_filter = LineFilter(level, generate_project_id(target.project_root) if shared and mode is None else None)
    path = log_dir / SERVER_LOG_FILE
    try:
        file = open_log(log_dir)
    except FileNotFoundError as error:
        start = "agent-brain start --mode shared" if shared else "agent-brain start"
        hint = f"Start one with: {start}"
        raise NotRunningError(f"{path} does not exist: no server has been started yet.", hint=hint) from error
    except OSError as error:
        raise StateDirError(f"{path} cannot be read: {error.strerror}.") from error
    with file:
        found = read_last(log_dir, file, lines, line_filter, previous=previous)
        show({"log_file": str(path), "lines": found}, render_lines, as_json=target.as_json)
        if lines and not found and not following:
            note(f"{path} has no {'lines of an earlier run' if previous else 'such lines'}.")
        if following:
            with contextlib.suppress(KeyboardInterrupt):  # the normal end of --follow
                for entry in follow(log_dir, file, line_filter):
                    show(entry, render_line, as_json=False)


def find_log_dir(target: Target, *, shared: bool) -> Path:
    """Return the log directory of the project's server or of the shared daemon."""
    if shared:
        return brain_home() / LOG_DIR
    return locate_below(target.state_dir, load_settings(target.state_dir).config.log_dir)


@dataclass(frozen=True, slots=True)
class LineFilter:
    """A filter for lines of the log.

    Attributes:
        level: The lowest level; a line without a level, such as a torn line, always matches.
        project_id: The project whose lines match; `None` for those of all projects.
    """

    level: str = LEVELS[0]
    project_id: str | None = None

    def matches(self, entry: Json) -> bool:
        """Return whether to show a line."""
        if self.project_id and entry.get("project_id", self.project_id) != self.project_id:
            return False
        level = entry.get("level")
        return level not in LEVELS or LEVELS.index(level) >= LEVELS.index(self.level)


def parse_line(line: bytes) -> Json:
    """Return the keys of a line; a line that is not a log record has only its text, as `message`."""
    text = line.decode("utf-8", "replace").rstrip("\n")
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError):
        return {"message": text}
    return entry if isinstance(entry, dict) and isinstance(entry.get("message"), str) else {"message": text}


def open_log(log_dir: Path) -> BinaryIO:
    """Open the newest file of a log.

    Raises:
        FileNotFoundError: There is no log.
        UnsafePathError: It is a link, not a regular file, or belongs to another user.
    """
    return open(open_file(log_dir / SERVER_LOG_FILE), "rb")


def read_last(
    log_dir: Path, newest: BinaryIO, count: int, line_filter: LineFilter, *, previous: bool = False
) -> list[Json]:
    """Return the last lines of a log, the oldest first.

    Args:
        log_dir: The directory of the log.
        newest: The file that `open_log` returned.
        count: The maximum number of lines.
        line_filter: Which lines to return and count.
        previous: Only lines of the run before the newest.
    """
    entries = read_backwards(log_dir, newest)
    if previous:
        entries = select_previous_run(entries)
    found: list[Json] = []
    for entry in entries:
        if len(found) >= count:
            break
        if line_filter.matches(entry):
            found.append(entry)
    return found[::-1]


def read_backwards(log_dir: Path, newest: BinaryIO) -> Iterator[Json]:
    """Yield every line of a log, the newest first, through its rotated files.

    Args:
        log_dir: The directory of the log.
        newest: Read to its end, and left at the start of an incomplete last line.
    """
    data = newest.read()
    complete = data[: data.rfind(b"\n") + 1]
    newest.seek(len(complete))
    yield from map(parse_line, reversed(complete.splitlines()))
    for path in list_older_files(log_dir, newest):
        try:
            with open(open_file(path), "rb") as file:
                lines = file.read().splitlines()
        except (OSError, UnsafePathError):  # rotated away in the meantime, or not one of our files
            continue
        yield from map(parse_line, reversed(lines))


def list_older_files(log_dir: Path, newest: BinaryIO) -> list[Path]:
    """Return the rotated files of a log, the newest first, without the file that is open as `newest`."""
    found = log_dir.glob(f"{SERVER_LOG_FILE}.*")
    numbered = sorted((int(path.suffix[1:]), path) for path in found if path.suffix[1:].isdigit())
    seen, files = {os.fstat(newest.fileno()).st_ino}, []
    # the last file of the previous run has a second name, which rotation leaves alone
    for path in (*(path for _, path in numbered), log_dir / PREVIOUS_LOG_FILE):
        with contextlib.suppress(FileNotFoundError):
            inode = path.lstat().st_ino
            if inode not in seen:
                seen.add(inode)
                files.append(path)
    return files


def select_previous_run(entries: Iterator[Json]) -> Iterator[Json]:
    """Yield the lines of the run before the newest.

    Args:
        entries: Lines, the newest first; `instance_id` identifies the run.
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


def follow(log_dir: Path, file: BinaryIO, line_filter: LineFilter) -> Iterator[Json]:
    """Yield new lines as they are written, through every rotation, without end.

    Args:
        log_dir: The directory of the log.
        file: Its newest file, at the position to continue from.
        line_filter: Which lines to yield.
    """
    path = log_dir / SERVER_LOG_FILE
    try:
        while True:
            position = file.tell()
            line = file.readline()
            if line.endswith(b"\n"):
                entry = parse_line(line)
                if line_filter.matches(entry):
                    yield entry
                continue
            file.seek(position)  # an incomplete line is read again when it is complete
            if not line and is_replaced(path, file):
                file.close()
                file = open_log(log_dir)
            else:
                time.sleep(FOLLOW_INTERVAL_S)
    finally:
        file.close()


def is_replaced(path: Path, file: BinaryIO) -> bool:
    """Return whether a path names another file than the open one; `False` if the next file does not exist yet."""
    try:
        named = path.lstat()
    except FileNotFoundError:
        return False
    opened = os.fstat(file.fileno())
    return (named.st_dev, named.st_ino) != (opened.st_dev, opened.st_ino) or named.st_size < file.tell()


def render_lines(document: Json) -> str | None:
    """Return the lines as text; `None` if there are none."""
    return "\n".join(map(render_line, document["lines"])) or None


def render_line(entry: Json) -> str:
    """Return one line of the log as text; an exception follows, indented."""
    level = str(entry.get("level", ""))
    context = " ".join(f"{key}={value}" for key, value in entry.items() if key not in FIXED_KEYS)
    head = visible(f"{format_local_time(entry.get('time'))} {level:<7} {entry['message']}")
    if level in COLOURS and colours_wanted():
        head = click.style(head, fg=COLOURS[level])
    lines = [f"{head}  [{visible(context)}]" if context else head]
    lines += [f"    {visible(line)}" for line in str(entry.get("exception", "")).splitlines()]
    return "\n".join(lines)


def format_local_time(time: object) -> str:
    """Return the time of a line in local time."""
    try:
        moment = datetime.fromisoformat(str(time)).astimezone()
    except (ValueError, OverflowError):
        return UNKNOWN_TIME
    return moment.isoformat(sep=" ", timespec="milliseconds")[:23]
