"""Write to the terminal: one JSON document or text, with nothing in it that a terminal would obey."""

import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TextIO

import click

from agent_brain_server.support.text import escape_hidden
from agent_brain_server.support.text import visible as visible
from agent_brain_server.support.text import visible_text as visible_text  # the commands import both from here

Json = dict[str, Any]

EXIT_BROKEN_PIPE = 128 + signal.SIGPIPE  # what a shell reports for a program killed by SIGPIPE


def use_safe_streams() -> None:
    """Make stdout and stderr escape characters that their encoding cannot represent, instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def colours_wanted() -> bool:
    """Return whether stdout is a terminal with colours and `NO_COLOR` (no-color.org) is not set."""
    return obeys_escapes(sys.stdout) and not os.environ.get("NO_COLOR")


def obeys_escapes(stream: TextIO) -> bool:
    """Return whether a stream is a terminal that interprets escape sequences."""
    return stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


@dataclass
class OutputState:
    """The output that a command has written, stored in Click's context.

    Attributes:
        document: The JSON document was written.
    """

    document: bool = False


def note(message: str) -> None:
    """Write a line to stderr, which keeps it out of the data on stdout."""
    click.echo(visible(message), err=True)


def show(document: Json, render: Callable[[Json], str | None], *, as_json: bool) -> None:
    """Write a command's result to stdout, as JSON or as text.

    Args:
        document: The result.
        render: Returns the text, or `None` if it has written the text itself.
        as_json: Write JSON.

    Raises:
        click.exceptions.Exit: The reader of stdout has closed it.
    """
    context = click.get_current_context(silent=True)
    if as_json and context is not None and isinstance(context.obj, OutputState):
        context.obj.document = True
    try:
        text = to_json(document) if as_json else render(document)
        if text is not None:
            click.echo(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # the interpreter's flush at exit would print an error about it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise click.exceptions.Exit(EXIT_BROKEN_PIPE) from None


def to_json(document: Json) -> str:
    """Return JSON that any encoding can represent, with hidden characters escaped."""
    unicode_output = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    text = json.dumps(document, ensure_ascii=not unicode_output, indent=2 if sys.stdout.isatty() else None)
    return escape_hidden(text)


def format_fields(fields: Mapping[str, str]) -> str:
    """Return one aligned `name  value` line for each field."""
    width = max(map(len, fields), default=0)
    return "\n".join(f"{name:<{width}}  {visible(value)}" for name, value in fields.items())


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return left-aligned columns with a header."""
    lines = [list(header), *([visible(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    padded = ("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(line.rstrip() for line in padded)


def format_setting(value: object) -> str:
    """Return a value as a settings file writes it."""
    words = {True: "true", False: "false", None: "null"}
    return words[value] if value is None or isinstance(value, bool) else str(value)


def format_share(share: float) -> str:
    """Return a share of 1 as a percentage; anything below 1 is at most 99 %."""
    percent = round(share * 100)
    return f"{min(percent, 99) if share < 1 else percent} %"


def format_bytes(count: int) -> str:
    """Return a size with a decimal unit: `812 B`, `52 kB`, `1.3 MB`."""
    if count < 1_000:
        return f"{count} B"
    if count < 1_000_000:
        return f"{count / 1_000:,.0f} kB"
    return f"{count / 1_000_000:,.1f} MB"


def format_time(time: str, now: datetime | None = None) -> str:
    """Return an ISO 8601 time in local time, and its age; values that are not timestamps are returned unchanged.

    Args:
        time: A time with its zone.
        now: The current time; `None` reads the clock.
    """
    try:
        moment = datetime.fromisoformat(time)
        age_s = ((now or datetime.now(UTC)) - moment).total_seconds()
    except (ValueError, TypeError):
        return time
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}, {format_duration(age_s)} ago"


def format_duration(seconds: float) -> str:
    """Return a duration in its two largest units: `5 s`, `3 min 10 s`, `2 d 4 h`."""
    units = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
    rest = max(0, int(seconds))
    parts: list[str] = []
    for name, size in units:
        count, rest = divmod(rest, size)
        if count or (name == "s" and not parts):
            parts.append(f"{count} {name}")
    return " ".join(parts[:2])
