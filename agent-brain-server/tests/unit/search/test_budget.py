"""Spend a budget of tokens."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_brain_server.embedding.token_counter import TokenCounter
from agent_brain_server.search.budget import ELLIPSIS, count_fitting, cut_line, fit_lines

COUNTER = TokenCounter()
LINES = [f"line {number}" for number in range(100)]


def count_words(text: str) -> int:
    return len(text.split())


def note(omitted: int) -> str:
    return f"and {omitted} more"


def test_count_fitting_stops_at_first_text_over_budget() -> None:
    assert count_fitting(["a b", "c d e", "f"], 4, count_words) == 1
    assert count_fitting(["a b", "c d"], 4, count_words) == 2
    assert count_fitting([], 0, count_words) == 0


def test_cut_line_keeps_what_fits() -> None:
    assert cut_line("a b c", 3, count_words) == "a b c"
    assert cut_line("a b c d", 2, count_words) == f"a b{ELLIPSIS}"
    assert cut_line("a b", 0, count_words) == ""


def test_fit_lines_notes_what_is_left_out() -> None:
    assert fit_lines(LINES, 200, count_words, note) == LINES
    assert fit_lines(LINES, 9, count_words, note) == ["line 0", "line 1", "line 2", "and 97 more"]
    assert fit_lines([], 0, count_words, note) == []


def test_fit_lines_cuts_single_long_line() -> None:
    shown = fit_lines(["word " * 50, "next"], 10, count_words, note)
    assert shown[0].startswith("word word")
    assert shown[1] == "and 1 more"
    assert count_words(" ".join(shown)) <= 10


@pytest.mark.parametrize("line", ["x" * 20_000, "😀" * 5_000, '"' * 20_000, "\u202e" * 9_000, "\t" * 9_000])
def test_cut_line_never_exceeds_budget(line: str) -> None:
    for budget in (1, 7, 50):
        cut = cut_line(line, budget, COUNTER.count)
        assert COUNTER.count(f"{cut}\n") <= budget


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(max_size=60), max_size=20), st.integers(12, 200))
def test_fit_lines_never_exceeds_budget(lines: list[str], budget: int) -> None:
    shown = fit_lines(lines, budget, COUNTER.count, note)
    assert COUNTER.count("".join(f"{line}\n" for line in shown)) <= budget
