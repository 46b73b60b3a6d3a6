"""Render an answer as a JSON document that stays within a budget of tokens.

The document has no nulls, no empty lists and short scores, and its texts are excerpts. Hidden characters are escaped,
so that the tokens are the same wherever the document is printed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agent_brain_server.models.query import IndexFreshness
from agent_brain_server.search.budget import ELLIPSIS, NUMBER_SLACK, CountTokens, spend
from agent_brain_server.search.excerpting import MAX_COPIES, MAX_NAME, MAX_SIGNATURE, MAX_SYMBOLS, Passage
from agent_brain_server.search.short_json import choose_extras, count_envelope, shorten_score, to_short_json


@dataclass(frozen=True, slots=True)
class JsonEntry:
    """A result in a JSON answer: one line, the JSON of the result with the comma that follows it."""

    passage: Passage
    explain: bool

    @property
    def wanted(self) -> int:
        """Number of lines to show if the budget has room."""
        return self.passage.wanted

    @property
    def reference(self) -> str:
        """The JSON string `path:line symbol` with a comma."""
        result = self.passage.result
        name = (", ".join(result.symbols[:1]) or result.heading or "")[:MAX_NAME]
        return f"{to_short_json(f'{result.source}:{result.start_line} {name}'.rstrip())},"

    def render(self, limit: int, width: int) -> list[str]:
        """Return the result as one line of JSON with a comma.

        Args:
            limit: Maximum number of lines of the text.
            width: Maximum number of characters of a line.
        """
        start, end = self.passage.choose(limit)
        lines = [line if len(line) <= width else f"{line[:width]}{ELLIPSIS}" for line in self.passage.lines[start:end]]
        shown = self._describe() | {"text": "\n".join(lines)}
        if end - start < len(self.passage.lines):
            shown["excerpt"] = list(self.passage.locate(start, end))
        return [f"{to_short_json(shown)},"]

    def _describe(self) -> dict[str, Any]:
        result = self.passage.result
        fields: dict[str, Any] = {
            "source": result.source,
            "start_line": result.start_line,
            "end_line": result.end_line,
            "symbols": [symbol[:MAX_NAME] for symbol in result.symbols[:MAX_SYMBOLS]],
            "heading": (result.heading or "")[:MAX_NAME],
            "signature": self._signature(),
            "score": shorten_score(result.score),
            "chunk_id": result.chunk_id,
            "merged": [chunk.chunk_id for chunk in result.merged],
            "copies": [f"{copy.source}:{copy.start_line}-{copy.end_line}" for copy in result.copies[:MAX_COPIES]],
            "answers": result.answers,
            "hidden_characters": result.hidden_characters,
        }
        if self.explain:
            fields["explanation"] = [
                {"name": s.name, "value": shorten_score(s.value), "contribution": shorten_score(s.contribution)}
                for s in result.explanation or ()
            ]
        return {name: value for name, value in fields.items() if value or name == "score"}

    def _signature(self) -> str:
        """Return the signature of the definition whose later part the text is."""
        return "" if self.passage.signature is not None else self.passage.signature_text[:MAX_SIGNATURE]


def render_small_json(
    entries: Sequence[JsonEntry],
    budget: int,
    count: CountTokens,
    *,
    index: IndexFreshness,
    remark: str | None,
    unlisted: int = 0,
) -> str:
    """Return the JSON of an answer; the document never exceeds the budget.

    Args:
        entries: The results, best first.
        budget: Tokens of the whole document.
        count: Counts the tokens of a text.
        index: Freshness of the index; left out if the index is complete.
        remark: A note about the answer.
        unlisted: Further results, which are only counted.
    """
    total = len(entries) + unlisted
    extras = choose_extras(index, remark, budget, count)
    left = budget - count_envelope(extras, total, count) - NUMBER_SLACK
    spent = spend(entries, left, count)
    results = "".join(line for block in spent.shown for line in block).removesuffix(",")
    rest = "".join(spent.references).removesuffix(",")
    fields = [
        f'"results":[{results}]',
        *([f'"rest":[{rest}]'] if rest else []),
        *([f'"omitted":{spent.omitted + unlisted}'] if spent.omitted + unlisted else []),
        f'"total_results":{total}',
        *([to_short_json(extras)[1:-1]] if extras else []),
    ]
    return f"{{{','.join(fields)}}}"
