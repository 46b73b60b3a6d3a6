"""Write an answer about files and definitions in the format and within the budget that the request asks for."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agent_brain_server.models import DEFAULT_BUDGET, MAX_BUDGET
from agent_brain_server.models.symbols import (
    CompactSymbols,
    FileLines,
    FileRequest,
    FileSites,
    OutlineAnswer,
    ReferencesAnswer,
    ReferencesRequest,
    RelatedAnswer,
    SymbolAnswer,
    SymbolRequest,
    SymbolsAnswer,
)
from agent_brain_server.search.budget import CountTokens, count_line
from agent_brain_server.search.short_json import choose_extras, to_short_json
from agent_brain_server.search.shown_paths import make_path_writer
from agent_brain_server.search.symbol_text import number_rows, render_answer

RELATED_LISTS = ("callers", "callees", "tests", "documents", "members")
"""Lists of `RelatedAnswer`, the most useful first."""


def write_symbol_answer(request: SymbolRequest, answer: SymbolAnswer, root: Path, count: CountTokens) -> str:
    """Return the body of the response: JSON, or JSON with the answer as text.

    Args:
        request: Its format and budget.
        answer: The answer.
        root: Canonical root of the project.
        count: Counts the tokens of a text; not called for JSON without a budget.
    """
    if request.format == "compact":
        return write_compact_symbols(request, answer, root, count).model_dump_json()
    if request.max_tokens is None:
        return answer.model_dump_json()
    return fit_json(answer, request.max_tokens, getattr(request, "offset", 0), count)


def write_compact_symbols(
    request: SymbolRequest, answer: SymbolAnswer, root: Path, count: CountTokens
) -> CompactSymbols:
    """Return an answer as text, within the budget of the request or a default.

    Args:
        request: Its budget, and how it wants the text.
        answer: The answer.
        root: Canonical root of the project.
        count: Counts the tokens of a text.
    """
    # lines of a file were asked for: their number is limited anyway
    budget = request.max_tokens or (MAX_BUDGET if isinstance(answer, FileLines) else DEFAULT_BUDGET)
    by_file = isinstance(request, ReferencesRequest) and request.by_file
    if isinstance(answer, FileLines) and isinstance(request, FileRequest) and request.numbers:
        rows = number_rows(answer.text.split("\n"), answer.start_line)
        answer = answer.model_copy(update={"text": "\n".join(rows)})
    text = render_answer(answer, budget, count, make_path_writer(root, request.paths_from), by_file=by_file)
    return CompactSymbols(text=text, tokens=count(text), index=answer.index)


def fit_json(answer: SymbolAnswer, budget: int, offset: int, count: CountTokens) -> str:
    """Return an answer as JSON without nulls and empty lists, with as many entries as fit into a budget.

    Args:
        answer: The answer.
        budget: Tokens of the document.
        offset: Number of entries on the pages before it.
        count: Counts the tokens of a text.
    """
    extras = choose_extras(answer.index, None, budget, count)
    fewest, most = 0, _count_entries(answer)
    best = _write(answer, most, offset, extras)
    if count_line(best, count) <= budget:
        return best
    best = _write(answer, 0, offset, extras)
    if count_line(best, count) > budget:
        return to_short_json({"omitted": most, **extras})
    while fewest < most:  # bisect: the largest number of entries that fits
        middle = (fewest + most + 1) // 2
        text = _write(answer, middle, offset, extras)
        if count_line(text, count) <= budget:
            fewest, best = middle, text
        else:
            most = middle - 1
    return best


def _count_entries(answer: SymbolAnswer) -> int:
    if isinstance(answer, SymbolsAnswer):
        return len(answer.symbols)
    if isinstance(answer, ReferencesAnswer):
        return sum(len(file.references) for file in answer.files)
    if isinstance(answer, OutlineAnswer):
        return len(answer.files if answer.kind == "directory" else answer.files[0].items)
    if isinstance(answer, FileLines):
        return answer.end_line - answer.start_line + 1
    return sum(len(getattr(answer, name)) for name in RELATED_LISTS)


def _write(answer: SymbolAnswer, kept: int, offset: int, extras: Mapping[str, object]) -> str:
    """Return the JSON of an answer with its first entries, and with what the index lacks."""
    changes: dict[str, Any] = {}
    is_cut = kept < _count_entries(answer)
    if isinstance(answer, SymbolsAnswer):
        changes = {"symbols": answer.symbols[:kept]}
    elif isinstance(answer, ReferencesAnswer):
        changes = {"files": _keep_sites(answer.files, kept), "definitions": [] if is_cut else answer.definitions}
    elif isinstance(answer, OutlineAnswer):
        is_directory = answer.kind == "directory"
        files = answer.files[:kept] if is_directory else [_keep_items(answer, kept)]
        changes = {"files": files, "directories": answer.directories if kept else []}
    elif isinstance(answer, FileLines):
        changes = {"text": "\n".join(answer.text.split("\n")[:kept])}
        if is_cut:
            changes |= {"end_line": answer.start_line + kept - 1, "next_line": answer.start_line + kept}
    elif isinstance(answer, RelatedAnswer):
        changes = _keep_related(answer, kept)
    if is_cut and "next_offset" in type(answer).model_fields:
        changes["next_offset"] = offset + kept
    document = _prune(answer.model_copy(update=changes).model_dump(mode="json", exclude={"index"}))
    return to_short_json({**document, **extras})


def _keep_sites(files: Sequence[FileSites], kept: int) -> list[FileSites]:
    shortened = []
    for file in files:
        if kept <= 0:
            break
        shortened.append(file.model_copy(update={"references": file.references[:kept]}))
        kept -= len(file.references)
    return shortened


def _keep_items(answer: OutlineAnswer, kept: int) -> object:
    file = answer.files[0]
    return file.model_copy(update={"items": file.items[:kept]})


def _keep_related(answer: RelatedAnswer, kept: int) -> dict[str, Any]:
    changes = {}
    for name in RELATED_LISTS:
        entries = getattr(answer, name)
        changes[name] = entries[: max(kept, 0)]
        kept -= len(entries)
    return changes


def _prune(value: Any) -> Any:  # noqa: ANN401 - any part of a JSON document
    """Return a JSON document without nulls, empty values, and zeros that say nothing."""
    if isinstance(value, list):
        return [_prune(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: _prune(item)
        for name, item in value.items()
        if item not in (None, [], {}, "")
        and not (name in ("hidden_characters", "cut_lines", "is_partial") and not item)
    }
