"""A result prepared for an answer with a budget: its lines, their weights for the query, and its signature."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from agent_brain_server.models import DEFAULT_BUDGET
from agent_brain_server.models.query import QueryResult
from agent_brain_server.search.phrases import match_phrases
from agent_brain_server.support.excerpts import (
    EXTRA_LINES,
    choose_window,
    find_signature,
    split_terms,
    weigh_lines,
)

MAX_SYMBOLS = 3  # in a heading: a chunk of constants may define hundreds
MAX_NAME = 120  # characters of the names in a heading
MAX_SIGNATURE = 160  # characters
MAX_COPIES = 3

LINES_BY_RANK = (40, 16, 12, 12, 8)
"""Lines that a result gets within the default budget, by its rank: a whole definition for the best one. The others are
listed only. docs/QUALITY.md has other choices."""

LINES_OF_OTHERS = 12
"""Lines that each of the others gets for every further default budget."""


LINES_OF_PHRASE = (14, 6, 4)
"""Lines of the results that contain the query word for word, as those with an error message do; no other is shown."""

PHRASE_SHARE = 0.75
"""Of the query's words that such a text has one after another; placeholders may separate the rest."""

LISTED_BESIDE_PHRASE = 3
"""Results without the phrase that are listed beside those with it; the rest is counted."""


def wanted_lines(rank: int, budget: int) -> int:
    """Return how many lines a result gets if the budget has room; 0 if it is only listed.

    Args:
        rank: Its rank in the answer, 0 for the best.
        budget: Tokens of the answer; a larger one than the default gives more lines to each result.
    """
    scale = max(budget / DEFAULT_BUDGET, 1.0)
    return int(LINES_BY_RANK[rank] * scale) if rank < len(LINES_BY_RANK) else int(LINES_OF_OTHERS * (scale - 1))


@dataclass(frozen=True)
class Passage:
    """The text of a result, from which an excerpt is chosen.

    Args:
        result: The result.
        query: The query, or the queries that found it.
        wanted: Number of lines to show if the budget has room.
    """

    result: QueryResult
    query: str
    wanted: int

    @cached_property
    def lines(self) -> list[str]:
        """Lines of the text as they are in the file, without line ends."""
        return self.result.text.replace("\r\n", "\n").rstrip("\n").split("\n")

    @cached_property
    def weights(self) -> list[float]:
        """Weight of each line for the query."""
        return weigh_lines(self.lines, split_terms(self.query))

    @cached_property
    def signature(self) -> int | None:
        """Index of the line with the signature of what the result defines."""
        return find_signature(self.lines, self.result.symbols)

    @property
    def signature_text(self) -> str:
        """The signature on one line: of the text, or of the definition whose later part it is; "" if there is none."""
        if self.signature is not None:
            return self.lines[self.signature].strip()
        above = [line.text for line in self.result.context if line.line < self.result.start_line]
        return above[-1].strip() if above else ""

    @property
    def has_line_numbers(self) -> bool:
        """Whether the lines are those of the range: not parts of one long line."""
        return len(self.lines) == self.result.end_line - self.result.start_line + 1

    def choose(self, limit: int) -> tuple[int, int]:
        """Return the half-open range of lines that matches best; all lines if they exceed the wanted ones by few."""
        extra = EXTRA_LINES if limit == self.wanted else 0
        if len(self.lines) <= limit + extra:
            return 0, len(self.lines)
        return choose_window(self.weights, limit)

    def locate(self, start: int, end: int) -> tuple[int, int]:
        """Return the first and last line number, 1-based and inclusive, of a range of lines of the text."""
        if not self.has_line_numbers:
            return self.result.start_line, self.result.end_line
        return self.result.start_line + start, self.result.start_line + end - 1


def make_passages(results: Sequence[QueryResult], queries: Sequence[str], budget: int) -> list[Passage]:
    """Return the results of an answer as passages.

    Within the default budget, results that contain the only query word for word leave out most of the others.

    Args:
        results: Best first; those of several queries take turns.
        queries: The queries of the request.
        budget: Tokens of the answer.
    """
    if len(queries) == 1 and budget <= DEFAULT_BUDGET and (exact := _find_phrase(results, queries[0])):
        others = [rank for rank in range(len(results)) if rank not in exact][:LISTED_BESIDE_PHRASE]
        lines = dict(zip(exact, LINES_OF_PHRASE, strict=False))
        return [Passage(results[rank], queries[0], lines.get(rank, 0)) for rank in (*exact, *others)]
    return [
        Passage(
            result,
            "\n".join(queries[number] for number in result.answers) or queries[0],
            wanted_lines(rank // len(queries), budget),
        )
        for rank, result in enumerate(results)
    ]


def _find_phrase(results: Sequence[QueryResult], query: str) -> list[int]:
    """Return the ranks of the results with the query's phrase; nothing unless the best result is among them."""
    shares = match_phrases(query, {rank: result.text for rank, result in enumerate(results)})
    exact = [rank for rank in sorted(shares) if shares[rank] >= PHRASE_SHARE]
    return exact if exact[:1] == [0] else []
