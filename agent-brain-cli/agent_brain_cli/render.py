"""What reaches the terminal: one JSON document or text, and nothing in it that a terminal would obey."""

import functools
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TextIO

import click

Json = dict[str, Any]

EXIT_BROKEN_PIPE = 128 + signal.SIGPIPE  # what a shell reports of a program whose reader went away

LAYOUT_CODES = (0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))
"""Characters that reorder or break lines."""


def visible_text(text: str) -> str:
    """Replace control characters, marks that reorder text and lone surrogates; newlines and tabs stay."""
    return text.replace("\r\n", "\n").translate(_neutral_characters())


def visible(line: str) -> str:
    """Like `visible_text`, for what must stay on one line: a path, a name, a message."""
    if line.isprintable():  # nearly always; the table takes longer to make than all else here
        return line
    return line.translate({**_neutral_characters(), ord("\n"): "\u240a", ord("\t"): "\u2409"})


@functools.cache
def _neutral_characters() -> dict[int, str]:
    """Return what is written in place of each character that a terminal could obey, but for newline and tab."""
    control_pictures = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"}  # of Unicode
    return {**control_pictures, 0x7F: "\u2421", **{code: f"\\x{code:02x}" for code in range(0x80, 0xA0)}, **_escapes()}


@functools.cache
def _escapes() -> dict[int, str]:
    """Return JSON's escapes of what is neither ASCII nor a letter: marks of layout, lone surrogates."""
    return {code: f"\\u{code:04x}" for code in (*LAYOUT_CODES, *range(0xD800, 0xE000))}


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
    """Return `document` as JSON: readable in any encoding, harmless on a terminal."""
    unicode_output = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    text = json.dumps(document, ensure_ascii=not unicode_output, indent=2 if sys.stdout.isatty() else None)
    if text.isprintable():
        return text
    return text.translate({**_escapes(), **{code: f"\\u{code:04x}" for code in range(0x7F, 0xA0)}})


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
