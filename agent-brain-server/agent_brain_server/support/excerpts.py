"""Choose the lines of a text that answer a query: for answers with a budget in the server, and for the terminal."""

import re
from collections.abc import Sequence

EXCERPT_LINES = 12  # a signature and its first statements; ten results fit on two screens
EXTRA_LINES = 3  # a text that exceeds the excerpt by no more is shown whole: a note about the rest would save nothing
MIN_TERM_LENGTH = 3  # shorter words (`is`, `of`) are in almost every line
LEAD_LINES = 2  # shown above the first matching line, for its decorator or comment
WEIGHT_TOLERANCE = 1e-9  # sums of the same weights in another order differ by rounding
FIRST_LINE_BONUS = 0.5  # a chunk's first line names the chunk: it wins if no line matches, and against half a term

COMMENT = re.compile(r"\s*(?:#(?!define)|//|/\*|\*|--|;|%|@|\"\"\"|'''|<!--)")
"""Begins a line that is a comment, a decorator or a docstring, and no signature."""


def choose_excerpt(text: str, query: str, limit: int = EXCERPT_LINES) -> tuple[int, int]:
    """Return the half-open range of line indexes that matches the query best.

    Args:
        text: The chunk.
        query: The query; its words match without regard to case, and rare words count more.
        limit: The maximum number of lines; a chunk with up to `EXTRA_LINES` more is returned whole.
    """
    lines = text.split("\n")
    if len(lines) <= limit + EXTRA_LINES:
        return 0, len(lines)
    return choose_window(weigh_lines(lines, split_terms(query)), limit)


def choose_window(weights: Sequence[float], limit: int) -> tuple[int, int]:
    """Return the half-open range of `limit` lines with the largest sum of weights.

    Args:
        weights: The weight of each line.
        limit: Number of lines, at least 1; a shorter text is returned whole.
    """
    if len(weights) <= limit:
        return 0, len(weights)
    sums = [sum(weights[start : start + limit]) for start in range(len(weights) - limit + 1)]
    best = max(sums)
    starts = [start for start, weight in enumerate(sums) if best - weight < WEIGHT_TOLERANCE]
    first_match = next((index for index, weight in enumerate(weights[starts[0] :], starts[0]) if weight), 0)
    start = min(starts, key=lambda start: abs(start - (first_match - LEAD_LINES)))
    return start, start + limit


def split_terms(query: str) -> frozenset[str]:
    """Return the query's words in lower case, without words shorter than `MIN_TERM_LENGTH`."""
    return frozenset(word for word in re.findall(r"\w+", query.lower()) if len(word) >= MIN_TERM_LENGTH)


def weigh_lines(lines: Sequence[str], terms: frozenset[str]) -> list[float]:
    """Return one weight for each line: the sum over its terms of 1 / (number of lines with that term)."""
    lowered = [line.lower() for line in lines]
    weights = [0.0] * len(lines)
    weights[0] += FIRST_LINE_BONUS
    for term in sorted(terms):  # a fixed order, because floating-point addition is not associative
        found = [index for index, line in enumerate(lowered) if term in line]
        for index in found:
            weights[index] += 1 / len(found)
    return weights


def find_signature(lines: Sequence[str], symbols: Sequence[str]) -> int | None:
    """Return the index of the first line that names a symbol and is no comment, or `None`.

    Args:
        lines: Lines of a chunk.
        symbols: The names that the chunk defines, in the order of preference.
    """
    for symbol in symbols:
        for index, line in enumerate(lines):
            if symbol in line and _has_word(line, symbol) and not COMMENT.match(line):
                return index
    return None


def _has_word(line: str, word: str) -> bool:
    """Return whether a line has a word that is no part of a longer one."""
    start = line.find(word)
    while start >= 0:
        end = start + len(word)
        if not (_is_word_at(line, start - 1) or _is_word_at(line, end)):
            return True
        start = line.find(word, start + 1)
    return False


def _is_word_at(line: str, index: int) -> bool:
    return 0 <= index < len(line) and (line[index].isalnum() or line[index] == "_")


def dedent(lines: Sequence[str]) -> list[str]:
    """Return lines without the indentation that all of them share; blank lines become empty."""
    filled = [line for line in lines if line.strip()]
    if not filled:
        return [""] * len(lines)
    first, last = min(filled), max(filled)  # what the smallest and the largest line share, all lines share
    shared = 0
    while shared < min(len(first), len(last)) and first[shared] == last[shared] and first[shared] in " \t":
        shared += 1
    return [line[shared:].rstrip() for line in lines]
