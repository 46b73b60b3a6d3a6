"""Spend a budget of tokens on the lines of an answer. All functions are pure over a function that counts tokens.

Counts are taken line by line, each with its newline. Their sum is at least the count of the joined lines, so that a
text that fits by these counts never exceeds its budget.
"""

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

CountTokens = Callable[[str], int]
"""Returns the number of tokens of a text: `TokenCounter.count`."""

ELLIPSIS = "…"

MAX_CHARACTERS_PER_TOKEN = 8
"""More characters never fit: the counter counts at least one token for 8 bytes. Bounds the work for a long line."""


def count_line(line: str, count: CountTokens) -> int:
    """Return the tokens of a line with its newline."""
    return count(f"{line}\n")


def count_fitting(texts: Iterable[str], budget: int, count: CountTokens) -> int:
    """Return how many of the first texts fit into a budget, each counted as a line.

    Args:
        texts: Texts in the order of their importance; those after the first that does not fit are not read.
        budget: Tokens.
        count: Counts the tokens of a text.
    """
    fitting = 0
    for text in texts:
        budget -= count_line(text, count)
        if budget < 0:
            break
        fitting += 1
    return fitting


def cut_line(line: str, budget: int, count: CountTokens) -> str:
    """Return a line, or its longest beginning that fits into a budget with an ellipsis; "" if nothing fits."""
    longest = budget * MAX_CHARACTERS_PER_TOKEN
    if len(line) <= longest and count_line(line, count) <= budget:
        return line
    shortest, longest = 0, max(min(len(line), longest), 0)
    while shortest < longest:  # bisect: the length of the longest beginning that fits
        middle = (shortest + longest + 1) // 2
        if count_line(line[:middle] + ELLIPSIS, count) <= budget:
            shortest = middle
        else:
            longest = middle - 1
    return line[:shortest] + ELLIPSIS if shortest else ""


def fit_lines(lines: Sequence[str], budget: int, count: CountTokens, note: Callable[[int], str]) -> list[str]:
    """Return the first lines that fit into a budget, and a note about the rest.

    Args:
        lines: Lines in the order of their importance.
        budget: Tokens of the whole result; at least what the note alone takes.
        count: Counts the tokens of a text.
        note: Returns the last line for a number of omitted lines ("… 12 more").

    Returns:
        All lines if they fit, else the first ones and the note. If not even the first one fits, its beginning.
    """
    shown = count_fitting(lines, budget, count)
    if shown == len(lines):
        return list(lines)
    costs = [count_line(line, count) for line in lines[:shown]]
    while shown and sum(costs[:shown]) + count_line(note(len(lines) - shown), count) > budget:
        shown -= 1
    rest = note(len(lines) - max(shown, 1))
    if shown:
        return [*lines[:shown], rest]
    beginning = cut_line(lines[0], budget - count_line(rest, count), count)
    return [beginning, rest] if beginning else [rest]


NUMBER_SLACK = 2  # tokens: a smaller number of omitted results can have more tokens than the number of all
MAX_WIDTH = 300  # characters: one line of a minified file must not take the whole budget
NARROW_WIDTHS = (120, 40)  # tried for the best result alone, if the budget has no room for a whole line
MIN_EXCERPT = 3  # lines: a shorter excerpt of a longer text says less than its place in the list
MIN_ENTRY = 16  # tokens: less does not hold a path, a name and a line
REFERENCES_SHARE = 0.35  # of the budget, at most, is kept for the list of the results that are not shown
SHARE_BESIDE_BEST = 0.15  # the same if the best result then gets all its lines: they are worth more than the list


class Entry(Protocol):
    """A result that can be shown with more or fewer lines."""

    @property
    def wanted(self) -> int:
        """Number of lines to show if the budget has room; 0 shows the result in the list only."""

    @property
    def reference(self) -> str:
        """The line that stands for the result in the list of results that are not shown."""

    def render(self, limit: int, width: int) -> list[str]:
        """Return the lines of the answer for this result.

        Args:
            limit: Maximum number of lines of its text.
            width: Maximum number of characters of a line of its text.
        """


@dataclass(frozen=True, slots=True)
class Spent:
    """The part of an answer that fits into a budget.

    Attributes:
        shown: The lines of each result that is shown, best first.
        references: One line for each further result.
        omitted: Number of results for which the budget has no line.
    """

    shown: list[list[str]]
    references: list[str]
    omitted: int


def spend(entries: Sequence[Entry], budget: int, count: CountTokens) -> Spent:
    """Spend a budget on the best results first, and list the rest.

    Args:
        entries: Results, best first.
        budget: Tokens of all lines of the result together.
        count: Counts the tokens of a text.
    """
    count = functools.cache(count)  # windows of one text share most lines
    costs = [count_line(entry.reference, count) for entry in entries]
    shown: list[list[str]] = []
    listed: list[int] = []
    left, unshown = budget, sum(costs)
    for index, entry in enumerate(entries):
        reserved = min(unshown - costs[index], int(budget * REFERENCES_SHARE))
        lines = None if shown else _fit_wanted(entry, left - int(budget * SHARE_BESIDE_BEST), count)
        lines = lines or _fit_entry(entry, left - reserved, count, is_first=not shown)
        if lines is None:
            listed.append(index)
        else:
            shown.append(lines)
            left -= _count_lines(lines, count)
            unshown -= costs[index]
    references = [entries[index].reference for index in listed]
    fitting = count_fitting(references, left, count)
    return Spent(shown, references[:fitting], len(references) - fitting)


def _fit_entry(entry: Entry, available: int, count: CountTokens, *, is_first: bool) -> list[str] | None:
    """Return a result with as many lines as are wanted and fit; `None` if it should be listed instead."""
    if available < MIN_ENTRY or entry.wanted < 1:
        return None
    if whole := _fit_wanted(entry, available, count):
        return whole
    fewest, most = 0, entry.wanted - 1
    fitting: list[str] | None = None
    while fewest < most:  # bisect: the largest number of lines that fits
        middle = (fewest + most + 1) // 2
        lines = entry.render(middle, MAX_WIDTH)
        if _count_lines(lines, count) <= available:
            fewest, fitting = middle, lines
        else:
            most = middle - 1
    if fewest >= MIN_EXCERPT or (is_first and fitting):
        return fitting
    return _fit_narrow(entry, available, count) if is_first else None


def _fit_wanted(entry: Entry, available: int, count: CountTokens) -> list[str] | None:
    """Return a result with all the lines that are wanted, or `None` if they do not fit."""
    if entry.wanted < 1:
        return None
    lines = entry.render(entry.wanted, MAX_WIDTH)
    return lines if _count_lines(lines, count) <= available else None


def _fit_narrow(entry: Entry, available: int, count: CountTokens) -> list[str] | None:
    """Return a result with the beginning of a single line."""
    for width in NARROW_WIDTHS:
        lines = entry.render(1, width)
        if _count_lines(lines, count) <= available:
            return lines
    return None


def _count_lines(lines: Iterable[str], count: CountTokens) -> int:
    return sum(count_line(line, count) for line in lines)
