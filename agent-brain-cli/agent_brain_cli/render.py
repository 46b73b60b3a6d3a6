"""What reaches the terminal: one JSON document or text, and nothing in it that a terminal would obey."""

import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TextIO

import click

from agent_brain_server.support.text import replace_hidden, reveal

Json = dict[str, Any]

EXIT_BROKEN_PIPE = 128 + signal.SIGPIPE  # what a shell reports of a program whose reader went away

LINE_PICTURES = {ord("\n"): "\u240a", ord("\r"): "\u240d", ord("\t"): "\u2409", ord("\f"): "\u240c"}
MAX_BASIC_CODE = 0xFFFF  # JSON writes a character beyond it as two escapes


def visible_text(text: str) -> str:
    """Make hidden characters visible (control characters, tags, marks that reorder text); newlines and tabs stay."""
    return reveal(text.replace("\r\n", "\n")).replace("\f", LINE_PICTURES[ord("\f")])


def visible(line: str) -> str:
    """Like `visible_text`, for what must stay on one line: a path, a name, a message."""
    if line.isascii() and line.isprintable():  # nearly always
        return line
    return reveal(line).translate(LINE_PICTURES)


def use_safe_streams() -> None:
    """Let stdout and stderr escape what their encoding cannot write, where they would raise."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def colours_wanted() -> bool:
    """Whether stdout is a terminal that has colours, whose owner has not asked for none (no-color.org)."""
    return obeys_escapes(sys.stdout) and not os.environ.get("NO_COLOR")


def obeys_escapes(stream: TextIO) -> bool:
    """Whether a stream is a terminal that can do more than write one character after the other."""
    return stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


@dataclass
class Said:
    """What a command has written so far, kept in Click's context.

    Attributes:
        document: The JSON document that was asked for.
    """

    document: bool = False


def note(message: str) -> None:
    """Say something on stderr, where it doesn't disturb what a program reads from stdout."""
    click.echo(visible(message), err=True)


def show(document: Json, render: Callable[[Json], str | None], *, as_json: bool) -> None:
    """Write `document` to stdout: as the one JSON document, or as `render` puts it.

    Args:
        document: What the command answers.
        render: Returns the text, or None where it has written that itself.
        as_json: Which of the two.

    Raises:
        click.exceptions.Exit: Whoever read stdout has gone away; there is nobody to tell.
    """
    context = click.get_current_context(silent=True)
    if as_json and context is not None and isinstance(context.obj, Said):
        context.obj.document = True
    try:
        text = to_json(document) if as_json else render(document)
        if text is not None:
            click.echo(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # what the flush at exit would otherwise complain about
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise click.exceptions.Exit(EXIT_BROKEN_PIPE) from None


def to_json(document: Json) -> str:
    """Return `document` as JSON: readable in any encoding, harmless on a terminal, with hidden characters escaped."""
    unicode_output = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    text = json.dumps(document, ensure_ascii=not unicode_output, indent=2 if sys.stdout.isatty() else None)
    return replace_hidden(text, _escape_in_json)


def _escape_in_json(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code <= MAX_BASIC_CODE else json.dumps(character)[1:-1]


def format_fields(fields: Mapping[str, str]) -> str:
    """Return one `name  value` line per field, aligned."""
    width = max(map(len, fields), default=0)
    return "\n".join(f"{name:<{width}}  {visible(value)}" for name, value in fields.items())


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return left-aligned columns under a header."""
    lines = [list(header), *([visible(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    padded = ("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(line.rstrip() for line in padded)


def write_value(value: object) -> str:
    """Return a value as it is written in a settings file."""
    words = {True: "true", False: "false", None: "null"}
    return words[value] if value is None or isinstance(value, bool) else str(value)


def format_share(share: float) -> str:
    """Return a share of 1 as percent; short of all of it, never as 100 %."""
    percent = round(share * 100)
    return f"{min(percent, 99) if share < 1 else percent} %"


def format_bytes(count: int) -> str:
    """Return a size with its decimal unit: `812 B`, `52 kB`, `1.3 MB`."""
    if count < 1_000:
        return f"{count} B"
    if count < 1_000_000:
        return f"{count / 1_000:,.0f} kB"
    return f"{count / 1_000_000:,.1f} MB"


def format_moment(time: str, now: datetime | None = None) -> str:
    """Return an ISO 8601 time on this machine's clock, and how long ago it was; what is none stays as it is.

    Args:
        time: With its zone.
        now: The present where None.
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
