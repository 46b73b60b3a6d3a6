"""Render definitions, uses, outlines and lines of files as text: one line for each, with its location first."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from agent_brain_server.models.symbols import (
    MAX_LINE_LENGTH,
    FileLines,
    FileSites,
    OutlineAnswer,
    OutlineFile,
    OutlineItem,
    ReferencesAnswer,
    RelatedAnswer,
    Symbol,
    SymbolAnswer,
    SymbolsAnswer,
)
from agent_brain_server.search.budget import ELLIPSIS, CountTokens, count_line, fit_lines
from agent_brain_server.support.text import pluralize, visible, visible_text

ShowPath = Callable[[str], str]
"""Returns a path of the project as it is shown."""

MAX_MEMBER_LENGTH = 100
"""Characters of a member's signature; an outline of its file shows more."""

MIN_LENGTH = 50
"""Characters of the signatures of a long outline: name and first parameters."""

MAX_NAMES = 8
"""Definitions of a file that an outline of its directory names."""

VALUE_KINDS = frozenset({"const", "constant", "let", "static", "val", "var", "variable", "property", "field"})
"""Kinds of definitions that an outline of a directory names last."""

INDENT = "  "
TRAILING_COMMENT = re.compile(r"\s+(?:#|//) .*$")


def render_answer(
    answer: SymbolAnswer, budget: int, count: CountTokens, show_path: ShowPath, *, by_file: bool = False
) -> str:
    """Return an answer as text that does not exceed a budget.

    Args:
        answer: The answer.
        budget: Tokens of the text.
        count: Counts the tokens of a text.
        show_path: Returns a path as it is shown.
        by_file: Whether to group uses by file.
    """
    if isinstance(answer, OutlineAnswer):
        lines = _choose_outline(answer, budget, count, show_path)
    else:
        lines = list(_list_lines(answer, show_path, by_file=by_file))
    return "\n".join(fit_lines(lines, budget, count, _describe_omitted)) if lines else ""


def _list_lines(answer: SymbolAnswer, show_path: ShowPath, *, by_file: bool) -> Iterator[str]:
    if isinstance(answer, SymbolsAnswer):
        yield from _describe_name(answer, answer.total)
        yield from (write_symbol(each, show_path) for each in answer.symbols)
        yield from _describe_rest(answer.total, len(answer.symbols), answer.next_offset, "definition")
    elif isinstance(answer, ReferencesAnswer):
        yield from _describe_name(answer, answer.total + answer.total_definitions)
        yield from _describe_meanings(answer, show_path)
        yield from _list_sites(answer.files, show_path, by_file=by_file)
        shown = sum(len(file.references) for file in answer.files)
        yield from _describe_rest(answer.total, shown, answer.next_offset, "use")
    elif isinstance(answer, FileLines):
        yield from _list_rows(answer, show_path)
    elif isinstance(answer, RelatedAnswer):
        yield from _list_related(answer, show_path)


def _describe_name(answer: SymbolsAnswer | ReferencesAnswer, found: int) -> Iterator[str]:
    """Yield how the definitions differ from the name; or that it is unknown, with similar names."""
    name = visible(answer.name)
    if not found and answer.nearest:
        near = ", ".join(map(visible, answer.nearest))
        yield f"No definition or use of {name}. Similar names: {near}"
    elif not found:
        yield f"No definition or use of {name} matches. Search for it with: agent-brain query"
    elif isinstance(answer, ReferencesAnswer) and not answer.total:
        yield f"No use of {name} matches."
    remarks = {
        "ignore_case": f"No {name} in this case; found in another case:",
        "part": f"No definition is named {name}; these contain it:",
        "unqualified": f"Nothing of this qualifier defines {name}; found by its last part:",
    }
    if found and answer.match in remarks:
        yield remarks[answer.match]


def write_symbol(symbol: Symbol, show_path: ShowPath) -> str:
    """Return a definition on one line: `path:from-to in Enclosing: signature — documentation`."""
    outer = symbol.qualified_name.removesuffix(symbol.name).removesuffix(".")
    return f"{_place(symbol, show_path)}{_within(outer)}: {_signature(symbol)}{_documentation(symbol)}"


def _describe_meanings(answer: ReferencesAnswer, show_path: ShowPath) -> Iterator[str]:
    """Yield what an ambiguous name may mean."""
    count = answer.total_definitions
    if count > 1:
        places = [f"{visible(each.qualified_name)} {_place(each, show_path)}" for each in answer.definitions]
        more = f", {ELLIPSIS} {count - len(places)} more" if count > len(places) else ""
        yield f"{visible(answer.name)} has {count} definitions: {', '.join(places)}{more}"


def _list_sites(files: Iterable[FileSites], show_path: ShowPath, *, by_file: bool = False) -> Iterator[str]:
    for file in files:
        path = visible(show_path(file.source))
        if by_file:
            yield path
        for site in file.references:
            place = f"{INDENT}{site.line}" if by_file else f"{path}:{site.line}"
            yield f"{place}{_within(site.enclosing)}: {visible(site.text)}"


def _list_rows(answer: FileLines, show_path: ShowPath) -> Iterator[str]:
    """Yield the location of lines of a file, and the lines."""
    path = visible(show_path(answer.source))
    total, last = answer.total_lines, answer.end_line
    yield f"{path}:{answer.start_line}-{last} of {pluralize(total, 'line')}"
    yield from visible_text(answer.text).split("\n")
    if answer.cut_lines:
        yield f"{ELLIPSIS} {pluralize(answer.cut_lines, 'line')} cut after 2,000 characters"
    if last < total:
        yield f"{ELLIPSIS} {pluralize(total - last, 'more line')}: agent-brain read {path}:{last + 1}-"


def _list_related(answer: RelatedAnswer, show_path: ShowPath) -> Iterator[str]:
    definition, enclosing = answer.definition, answer.enclosing
    yield from (write_symbol(each, show_path) for each in (definition, enclosing) if each)
    members = f"members of {visible(enclosing.name)}" if enclosing else "beside it" if definition else "in this file"
    sections: tuple[tuple[str, Iterable[str]], ...] = (
        (f"used {pluralize(answer.total_callers, 'time')} in code", _list_sites(answer.callers, show_path)),
        ("uses", (write_symbol(each, show_path) for each in answer.callees)),
        (f"used {pluralize(answer.total_tests, 'time')} in tests", _list_sites(answer.tests, show_path)),
        ("documents", (f"{visible(show_path(d.source))}:{d.line}: {visible(d.text)}" for d in answer.documents)),
        (members, (f"{INDENT}{_write_member(item)}" for item in answer.members)),
    )
    for title, content in sections:
        listed = list(content)
        if listed:
            yield from (f"{title}:", *listed)


def _choose_outline(answer: OutlineAnswer, budget: int, count: CountTokens, show_path: ShowPath) -> list[str]:
    """Return the most detailed outline that fits: with documentation, without it, shortened, or of fewer levels."""
    deepest = max((item.depth for file in answer.files for item in file.items), default=0)
    whole = MAX_LINE_LENGTH
    fewer = ((False, width, depth) for depth in range(deepest, -1, -1) for width in (MAX_MEMBER_LENGTH, MIN_LENGTH))
    lines: list[str] = []
    for documented, width, depth in ((True, whole, deepest), (False, whole, deepest), *fewer):
        lines = list(_list_outline(answer, show_path, documented=documented, width=width, depth=depth))
        if sum(count_line(line, count) for line in lines) <= budget:
            return lines
    return lines


def _list_outline(
    answer: OutlineAnswer, show_path: ShowPath, *, documented: bool, width: int, depth: int
) -> Iterator[str]:
    for each in answer.directories:
        yield f"{visible(show_path(each.source))}/  {pluralize(each.files, 'file')}"
    if answer.kind == "directory":
        yield from (_summarize_file(file, show_path) for file in answer.files)
        yield from _describe_rest(answer.total, len(answer.files), answer.next_offset, "file")
        return
    for file in answer.files:
        partial = ", parts of which cannot be parsed" if file.is_partial else ""
        yield f"{visible(show_path(file.source))}  {file.language}{partial}"
        shown = [item for item in file.items if item.depth <= depth]
        for item in shown:
            documentation = _documentation(item) if documented else ""
            yield f"{INDENT * item.depth}{_lines(item)} {_signature(item, width)}{documentation}"
        if len(shown) < len(file.items):
            yield f"{ELLIPSIS} {pluralize(len(file.items) - len(shown), 'inner definition')}: ask with a larger budget"
        yield from _describe_rest(answer.total, len(file.items), answer.next_offset, "definition")


def _summarize_file(file: OutlineFile, show_path: ShowPath) -> str:
    ordered = sorted(file.items, key=lambda item: item.kind in VALUE_KINDS)
    names = list(dict.fromkeys(visible(item.name) for item in ordered))
    more = f", {ELLIPSIS} {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return f"{visible(show_path(file.source))}{': ' if names else ''}{', '.join(names[:MAX_NAMES])}{more}"


def _write_member(item: OutlineItem) -> str:
    return f"{_lines(item)} {_signature(item, MAX_MEMBER_LENGTH)}"


def _describe_rest(total: int, shown: int, next_offset: int | None, noun: str) -> Iterator[str]:
    """Yield how many more there are on the next pages."""
    if next_offset is not None:
        yield f"{ELLIPSIS} {pluralize(total - shown, f'more {noun}')} of {total:,}: continue at offset {next_offset}"


def _describe_omitted(omitted: int) -> str:
    return f"{ELLIPSIS} {pluralize(omitted, 'more line')}: ask with a larger budget, or for less"


def _signature(item: Symbol | OutlineItem, width: int = MAX_LINE_LENGTH) -> str:
    """Return a signature without the spaces of its lines and without a comment behind it, cut to a width."""
    joined = TRAILING_COMMENT.sub("", visible(item.signature)).replace("( ", "(").replace(", )", ")")
    return joined if len(joined) <= width else f"{joined[:width]}{ELLIPSIS}"


def _documentation(item: Symbol | OutlineItem) -> str:
    return f" — {visible(item.documentation)}" if item.documentation else ""


def _place(symbol: Symbol, show_path: ShowPath) -> str:
    return f"{visible(show_path(symbol.source))}:{_lines(symbol)}"


def _lines(item: Symbol | OutlineItem) -> str:
    return f"{item.start_line}-{item.end_line}" if item.end_line > item.start_line else str(item.start_line)


def _within(enclosing: str | None) -> str:
    return f" in {visible(enclosing)}" if enclosing else ""


def number_rows(rows: Sequence[str], first: int) -> list[str]:
    """Return rows with their numbers in front, aligned."""
    width = len(str(first + len(rows)))
    return [f"{number:>{width}}  {row}".rstrip() for number, row in enumerate(rows, first)]
