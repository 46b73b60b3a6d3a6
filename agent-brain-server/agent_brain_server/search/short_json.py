"""JSON without spaces and nulls, and the parts of a JSON answer that are not about a single result."""

import json

from agent_brain_server.models.query import IndexFreshness
from agent_brain_server.search.budget import CountTokens, count_line
from agent_brain_server.support.text import escape_hidden

SCORE_DIGITS = 4
ENVELOPE_SHARE = 0.4  # of the budget, at most, for what is not about a single result


def to_short_json(value: object) -> str:
    """Return JSON without spaces, with hidden characters escaped."""
    return escape_hidden(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def shorten_score(score: float) -> float:
    """Return a score with four significant digits."""
    return float(f"{score:.{SCORE_DIGITS}g}")


def choose_extras(index: IndexFreshness, remark: str | None, budget: int, count: CountTokens) -> dict[str, object]:
    """Return the note and the freshness, as much of them as a small budget allows.

    Args:
        index: Freshness of the index; left out if the index is complete, and empty if the budget is too small for it.
        remark: A note about the answer.
        budget: Tokens of the whole document.
        count: Counts the tokens of a text.
    """
    missing = _describe_missing(index)
    note: dict[str, object] = {"note": remark} if remark else {}
    freshness: dict[str, object] = {"index": missing} if missing else {}
    for extras in (note | freshness, freshness):
        if count_envelope(extras, 0, count) <= budget * ENVELOPE_SHARE:
            return extras
    return {"index": {}} if missing else {}


def count_envelope(extras: dict[str, object], total: int, count: CountTokens) -> int:
    """Return the tokens of an answer without results."""
    envelope = {"results": [], "rest": [], "omitted": total, "total_results": total, **extras}
    return count_line(to_short_json(envelope), count)


def _describe_missing(index: IndexFreshness) -> dict[str, object]:
    """Return the values that say that the index is incomplete; none if it is complete."""
    if index.last_indexed_at is None:
        return {"files_pending": index.files_pending}
    values = index.model_dump(exclude_defaults=True)
    complete = {"files_pending": 0, "vector_coverage": 1.0, "watch": "on"}
    lacking = {name: value for name, value in values.items() if complete.get(name) != value}
    if "vector_coverage" in lacking:
        lacking["vector_coverage"] = shorten_score(index.vector_coverage)
    return lacking if len(lacking) > 1 else {}  # the time alone says nothing
