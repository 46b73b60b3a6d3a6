"""Render an answer as compact text that stays within a budget of tokens."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from agent_brain_server.search.budget import ELLIPSIS, NUMBER_SLACK, CountTokens, Spent, count_line, cut_line, spend
from agent_brain_server.search.excerpting import MAX_COPIES, MAX_NAME, MAX_SIGNATURE, MAX_SYMBOLS, Passage
from agent_brain_server.support.excerpts import dedent
from agent_brain_server.support.text import pluralize, visible, visible_text

INDENT = "  "

LIST_HEADING = "Also found:"


def describe_omitted(omitted: int) -> str:
    """Return the line about results for which the budget has no line."""
    return f"{ELLIPSIS} {pluralize(omitted, 'more result')}: ask with a larger budget"


@dataclass(frozen=True, slots=True)
class CompactEntry:
    """A result in a compact answer.

    Attributes:
        passage: The result.
        path: Its path as shown.
        numbers: The queries that found it, as shown ("[1,2]"); "" if there is one query.
    """

    passage: Passage
    path: str
    numbers: str

    @property
    def wanted(self) -> int:
        """Number of lines to show if the budget has room."""
        return self.passage.wanted

    @property
    def reference(self) -> str:
        """The result in the list of those that are not shown: `path:line symbol`."""
        return _join_words(f"{self.path}:{self.passage.result.start_line}", self._name(), self.numbers)

    def render(self, limit: int, width: int) -> list[str]:
        """Return the heading, the lines that match, and how to get the rest.

        Args:
            limit: Maximum number of lines of the text.
            width: Maximum number of characters of a line.
        """
        passage = self.passage
        start, end = passage.choose(limit)
        body, signature = passage.lines[start:end], passage.signature
        heading = self._heading(start, end)
        if signature is None or not start < signature < end:  # the body has it otherwise
            heading = self._add_signature(heading, width)
            body = body[1:] if signature == start else body
        shown = [visible_text(line[: width + 1]) for line in dedent(body)]
        is_whole = end - start == len(passage.lines) and all(len(line) <= width for line in shown)
        return [
            heading,
            *(f"{INDENT}{_shorten(line, width)}".rstrip() for line in shown),
            *self._list_members(limit - (end - start), width),
            *([] if is_whole else [f"{INDENT}{ELLIPSIS} {self._command(*self._find_rest(start, end))}"]),
            *self._list_copies(),
        ]

    def _find_rest(self, start: int, end: int) -> tuple[int, int]:
        """Return the lines of the result that are not shown, or all of them if they are on both sides."""
        result, last = self.passage.result, self.passage.locate(start, end)[1]
        if start == 0 and last < result.end_line and self.passage.has_line_numbers:
            return last + 1, result.end_line
        return result.start_line, result.end_line

    def _heading(self, start: int, end: int) -> str:
        first, last = self.passage.locate(start, end)
        return _join_words(f"{self.path}:{first}-{last}", self._name(), self.numbers)

    def _add_signature(self, heading: str, width: int) -> str:
        signature = self.passage.signature_text
        return f"{heading} · {_show(signature, min(MAX_SIGNATURE, width))}" if signature else heading

    def _list_members(self, limit: int, width: int) -> list[str]:
        """Return the lines below the text that explain it, such as the members of a class."""
        result = self.passage.result
        below = [line for line in result.context if line.line > result.end_line][: max(limit, 0)]
        return [f"{INDENT}{line.line}: {_show(line.text.strip(), width)}" for line in below]

    def _name(self) -> str:
        result = self.passage.result
        names = ", ".join(result.symbols[:MAX_SYMBOLS]) or result.heading or ""
        return _show(names, MAX_NAME)

    def _command(self, first: int, last: int) -> str:
        return f"agent-brain read {shlex.quote(f'{self.path}:{first}-{last}')}"

    def _list_copies(self) -> list[str]:
        copies = self.passage.result.copies
        if not copies:
            return []
        named = ", ".join(f"{visible(copy.source)}:{copy.start_line}-{copy.end_line}" for copy in copies[:MAX_COPIES])
        more = f" and {len(copies) - MAX_COPIES} more" if len(copies) > MAX_COPIES else ""
        return [f"{INDENT}also at {named}{more}"]


def render_compact(
    entries: Sequence[CompactEntry], budget: int, count: CountTokens, remark: str | None = None, unlisted: int = 0
) -> str:
    """Return the text of an answer; it never exceeds the budget.

    Args:
        entries: The results, best first.
        budget: Tokens of the whole text.
        count: Counts the tokens of a text.
        remark: A first line about the answer.
        unlisted: Further results, which are only counted.
    """
    opening = [remark] if remark and count_line(remark, count) * 2 <= budget else []
    fixed = sum(count_line(line, count) for line in (*opening, LIST_HEADING, describe_omitted(len(entries) + unlisted)))
    left = budget - fixed - NUMBER_SLACK
    spent = spend(entries, left, count)
    if entries and not spent.shown and not spent.references:
        cut = cut_line(entries[0].reference, left, count)
        spent = Spent([], [cut], len(entries) - 1) if cut else spent
    lines = [*opening, *(line for block in spent.shown for line in block)]
    if spent.references:
        lines += [*([LIST_HEADING] if spent.shown else []), *spent.references]
    if spent.omitted + unlisted:
        lines.append(describe_omitted(spent.omitted + unlisted))
    return "\n".join(lines)


def _join_words(*words: str) -> str:
    return " ".join(word for word in words if word)


def _show(text: str, width: int) -> str:
    """Return a text on one line, with hidden characters visible; the rest is not looked at."""
    return _shorten(visible(text[: width + 1]), width)


def _shorten(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[:width]}{ELLIPSIS}"
