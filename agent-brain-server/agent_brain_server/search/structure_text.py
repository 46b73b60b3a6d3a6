"""Render the answer to a question about the structure within a budget of tokens: one line for each place."""

from collections.abc import Callable, Iterator

from agent_brain_server.models.query import IndexFreshness
from agent_brain_server.models.structure import StructureAnswer, StructureLine
from agent_brain_server.search.budget import ELLIPSIS, CountTokens, count_line, fit_lines
from agent_brain_server.search.short_json import choose_extras, to_short_json
from agent_brain_server.support.text import visible

INDENT = "  "
ENVELOPE: dict[str, object] = {"structure": [], "results": [], "total_results": 0}


def render_structure(answer: StructureAnswer, budget: int, count: CountTokens, show_path: Callable[[str], str]) -> str:
    """Return the answer as text: a summary, then one line for each place, as many as fit.

    Args:
        answer: The answer.
        budget: Tokens of the text.
        count: Counts the tokens of a text.
        show_path: Returns a path as it is shown.
    """
    lines = [visible(answer.summary), *_write_lines(answer, show_path, visible)]
    unlisted = answer.total - len(answer.lines)
    if unlisted > 0:
        lines.append(_describe_rest(unlisted))
    return "\n".join(fit_lines(lines, budget, count, lambda omitted: _describe_rest(omitted + max(unlisted - 1, 0))))


def render_structure_json(answer: StructureAnswer, budget: int, count: CountTokens, index: IndexFreshness) -> str:
    """Return the answer as a JSON document like that of other queries, as many lines as fit.

    Args:
        answer: The answer.
        budget: Tokens of the whole document.
        count: Counts the tokens of a text.
        index: Freshness of the index; left out if the index is complete.
    """
    lines = [answer.summary, *_write_lines(answer, str, str)]
    encoded: list[str] = []
    freshness = choose_extras(index, None, budget, count)
    left = budget - count_line(to_short_json({**ENVELOPE, "omitted": answer.total, **freshness}), count)
    for line in lines:
        item = to_short_json(line)
        left -= count_line(f"{item},", count)
        if left < 0:
            break
        encoded.append(item)
    omitted = answer.total - max(len(encoded) - 1, 0)
    counted: dict[str, object] = {"omitted": omitted} if omitted > 0 else {}
    fields = {"results": [], "total_results": 0, **counted, **freshness}
    return f'{{"structure":[{",".join(encoded)}],{to_short_json(fields)[1:-1]}}}'


def _write_lines(answer: StructureAnswer, show_path: Callable[[str], str], show: Callable[[str], str]) -> Iterator[str]:
    """Yield the lines of an answer; those of an outline are of the file that the summary names."""
    for line in answer.lines:
        if answer.question == "outline":
            yield f"{INDENT * line.depth}{line.line}-{line.end_line} {show(line.text)}"
        else:
            yield write_line(line, show_path, show)


def write_line(line: StructureLine, show_path: Callable[[str], str], show: Callable[[str], str]) -> str:
    """Return a place on one line: `path:from-to in Enclosing: text`, indented by its depth.

    Args:
        line: The place.
        show_path: Returns a path as it is shown.
        show: Makes a text safe to print.
    """
    lines = f"{line.line}-{line.end_line}" if line.end_line > line.line else str(line.line)
    within = f" in {show(line.enclosing)}" if line.enclosing else ""
    return f"{INDENT * line.depth}{show(show_path(line.source))}:{lines}{within}: {show(line.text)}"


def _describe_rest(omitted: int) -> str:
    return f"{ELLIPSIS} {omitted:,} more: ask with a larger budget, or use agent-brain refs"
