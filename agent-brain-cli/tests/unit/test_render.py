import io
import json
from datetime import UTC, datetime

import pytest

from agent_brain_cli.render import (
    format_bytes,
    format_duration,
    format_moment,
    format_share,
    format_table,
    obeys_escapes,
    to_json,
    visible,
    visible_text,
)
from agent_brain_server.support.text import count_hidden

HOSTILE = [
    "\x1b[2J",  # clears the screen
    "\x9b31m",  # the same kind of sequence in one byte
    "\x07\x08\x7f",
    "\r\nover",  # in a line: begins the line again
    "\u202eevil",  # reverses what follows
    "\u2066",
    "\U000e0069\U000e0067\U000e006e",  # tags: read by a model, seen by no one
    "\u200b\ufe0f",  # of no width
    "\udcff",  # half of a pair: no encoding writes it
]


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_that_a_terminal_obeys_is_left_in_a_line(text: str):
    shown = visible(f"a{text}b")
    assert shown.startswith("a")
    assert shown.endswith("b")
    assert shown.isprintable()
    assert count_hidden(shown) == 0


def test_text_keeps_its_newlines_and_tabs():
    assert visible_text("a\r\n\tb\n") == "a\n\tb\n"
    assert visible_text("a\rb") == "a\u240db"


def test_ordinary_text_stays_as_it_is():
    for text in ("naïve 日本語 🧠", "👩\u200d💻 ❤\ufe0f"):
        assert visible(text) == text
        assert json.loads(to_json({"text": text})) == {"text": text}


@pytest.mark.parametrize("text", HOSTILE)
def test_json_is_harmless_and_says_the_same(text: str):
    encoded = to_json({"text": text})
    assert json.loads(encoded) == {"text": text}
    assert encoded.replace("\n", "").isprintable()
    assert count_hidden(encoded) == 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.9, "59 s"), (60, "1 min"), (3_725, "1 h 2 min"), (180_000, "2 d 2 h"), (-5, "0 s")],
)
def test_a_duration_has_at_most_two_units(seconds: float, text: str):
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (52_400, "52 kB"), (1_340_000, "1.3 MB"), (2**31, "2,147.5 MB")]
)
def test_a_size_has_the_unit_that_fits(count: int, text: str):
    assert format_bytes(count) == text


def test_a_moment_is_told_with_its_age():
    now = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
    shown = format_moment("2026-01-02T11:57:00.000+00:00", now)
    assert shown.endswith(":57:00, 3 min ago")
    assert format_moment("some day") == "some day"
    assert format_moment("2026-01-02T11:57:00", now) == "2026-01-02T11:57:00"  # of no zone


@pytest.mark.parametrize(
    ("terminal", "is_tty", "expected"), [("xterm", True, True), ("dumb", True, False), ("xterm", False, False)]
)
def test_a_dumb_terminal_is_sent_no_escapes(monkeypatch, terminal, is_tty, expected):
    stream = io.StringIO()
    stream.isatty = lambda: is_tty  # type: ignore[method-assign]
    monkeypatch.setenv("TERM", terminal)
    assert obeys_escapes(stream) is expected


def test_almost_all_is_not_all():
    assert format_share(0.999) == "99 %"
    assert format_share(1) == "100 %"


def test_a_table_is_aligned_and_its_cells_neutralised():
    table = format_table(("NAME", "PID"), [("alpha", "1"), ("b\n", "20")])
    assert table.splitlines() == ["NAME   PID", "alpha  1", "b\u240a     20"]
