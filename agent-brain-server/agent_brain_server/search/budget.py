"""Spend a budget of tokens on the lines of an answer. All functions are pure over a function that counts tokens.

Counts are taken line by line, each with its newline. Their sum is at least the count of the joined lines, so that a
text that fits by these counts never exceeds its budget.
"""

from collections.abc import Callable, Iterable, Sequence

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
