"""Which lines of a chunk to show: pure functions on text."""

import re
from collections.abc import Sequence

EXCERPT_LINES = 12
"""Enough for a signature and its first statements; ten results then fit on two screens."""

FEW_LINES = 3
"""A chunk that is longer by no more is shown whole: a line that tells of the rest would save next to nothing."""

MIN_TERM_LENGTH = 3
"""Shorter words (`is`, `of`, `a`) are in almost every line and point at none."""

LEAD_LINES = 2
"""Shown above the first telling line: a decorator or a comment belongs to it."""

EQUAL_WEIGHTS = 1e-9
"""Sums of the same weights in another order differ by rounding alone."""

FIRST_LINE_BONUS = 0.5
"""A chunk's first line mostly names what the chunk is: it wins where nothing else speaks, and against half a term."""


def choose_excerpt(text: str, query: str, limit: int = EXCERPT_LINES) -> tuple[int, int]:
    """Return the half-open range of line indexes that tells most about `query`.

    Args:
        text: The chunk.
        query: The question; its words are looked for without regard to case, rare ones counting more.
        limit: How many lines at most, or a few more where that is all.
    """
    lines = text.split("\n")
    if len(lines) <= limit + FEW_LINES:
        return 0, len(lines)
    weights = weigh_lines(lines, split_terms(query))
    sums = [sum(weights[start : start + limit]) for start in range(len(lines) - limit + 1)]
    best = max(sums)
    starts = [start for start, weight in enumerate(sums) if best - weight < EQUAL_WEIGHTS]
    telling = next(index for index, weight in enumerate(weights[starts[0] :], starts[0]) if weight)
    start = min(starts, key=lambda start: abs(start - (telling - LEAD_LINES)))
    return start, start + limit


def split_terms(query: str) -> frozenset[str]:
    """Return the query's words, lower-case, without those too short to point anywhere."""
    return frozenset(word for word in re.findall(r"\w+", query.lower()) if len(word) >= MIN_TERM_LENGTH)


def weigh_lines(lines: Sequence[str], terms: frozenset[str]) -> list[float]:
    """Return one weight per line: each term that it contains counts one over the number of lines that have it."""
    lowered = [line.lower() for line in lines]
    weights = [0.0] * len(lines)
    weights[0] += FIRST_LINE_BONUS
    for term in terms:
        found = [index for index, line in enumerate(lowered) if term in line]
        for index in found:
            weights[index] += 1 / len(found)
    return weights
