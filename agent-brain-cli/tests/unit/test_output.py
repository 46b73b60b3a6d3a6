"""Text for the terminal is harmless, and numbers are readable."""

import io
import json
from datetime import UTC, datetime

import pytest

from agent_brain_cli.output import (
    format_bytes,
    format_duration,
    format_share,
    format_table,
    format_time,
    obeys_escapes,
    to_json,
    visible,
)
from agent_brain_server.support.text import count_hidden

HOSTILE = [
    "\x1b[2J",  # clears the screen
    "\x9b31m",  # the same kind of sequence, with a one-byte introducer
    "\x07\x08\x7f",
    "\r\nover",  # in a line: returns to its start
    "\u202eevil",  # reverses what follows
    "\u2066",
    "\U000e0069\U000e0067\U000e006e",  # tags: a model reads them, a person does not see them
    "\u200b\ufe0f",  # zero width
    "\udcff",  # half of a surrogate pair, which no encoding represents
]


@pytest.mark.parametrize("text", HOSTILE)
def test_visible_leaves_nothing_that_a_terminal_obeys(text: str):
    shown = visible(f"a{text}b")
    assert shown.startswith("a")
    assert shown.endswith("b")
    assert shown.isprintable()
    assert count_hidden(shown) == 0


def test_ordinary_text_is_unchanged():
    for text in ("naïve 日本語 🧠", "👩\u200d💻 ❤\ufe0f"):
        assert visible(text) == text
        assert json.loads(to_json({"text": text})) == {"text": text}


@pytest.mark.parametrize("text", HOSTILE)
def test_to_json_escapes_hidden_characters(text: str):
    encoded = to_json({"text": text})
    assert json.loads(encoded) == {"text": text}
    assert encoded.replace("\n", "").isprintable()
    assert count_hidden(encoded) == 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.9, "59 s"), (60, "1 min"), (3_725, "1 h 2 min"), (180_000, "2 d 2 h"), (-5, "0 s")],
)
def test_format_duration_uses_two_units(seconds: float, text: str):
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (52_400, "52 kB"), (1_340_000, "1.3 MB"), (2**31, "2,147.5 MB")]
)
def test_format_bytes_chooses_the_unit(count: int, text: str):
    assert format_bytes(count) == text


def test_format_time_includes_the_age():
    now = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
    shown = format_time("2026-01-02T11:57:00.000+00:00", now)
    assert shown.endswith(":57:00, 3 min ago")
    assert format_time("some day") == "some day"
    assert format_time("2026-01-02T11:57:00", now) == "2026-01-02T11:57:00"  # without a zone


@pytest.mark.parametrize(
    ("terminal", "is_tty", "expected"), [("xterm", True, True), ("dumb", True, False), ("xterm", False, False)]
)
def test_dumb_terminal_gets_no_escapes(monkeypatch, terminal, is_tty, expected):
    stream = io.StringIO()
    stream.isatty = lambda: is_tty  # type: ignore[method-assign]
    monkeypatch.setenv("TERM", terminal)
    assert obeys_escapes(stream) is expected


def test_format_share_below_one_is_at_most_99():
    assert format_share(0.999) == "99 %"
    assert format_share(1) == "100 %"


def test_format_table_aligns_visible_cells():
    table = format_table(("NAME", "PID"), [("alpha", "1"), ("b\n", "20")])
    assert table.splitlines() == ["NAME   PID", "alpha  1", "b\u240a     20"]
