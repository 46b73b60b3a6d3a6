"""Print definitions, uses and outlines: one line for each, with its location first, so that agents read few tokens."""

import re
from collections.abc import Iterator
from pathlib import Path

from agent_brain_cli.output import Json, visible
from agent_brain_cli.results import locate
from agent_brain_server.support.text import pluralize

MAX_MEMBER_LENGTH = 100
"""Characters of a member's signature; `outline` shows more."""

TRAILING_COMMENT = re.compile(r"\s+(?:#|//) .*$")

MAX_NAMES = 12
"""Definitions of a file that an outline of its directory names."""


def format_symbols(answer: Json, root: Path) -> str:
    """Return the definitions of a name, one on each line."""
    lines = [format_symbol(each, root) for each in answer["symbols"]]
    return "\n".join((*lines, *_describe_rest(answer, len(lines), "definition")))


def format_symbol(symbol: Json, root: Path) -> str:
    """Return a definition on one line: `path:from-to in Enclosing: signature — documentation`."""
    documentation = f" — {visible(symbol['documentation'])}" if symbol["documentation"] else ""
    return f"{_place(symbol, root)}{_within(_outer(symbol))}: {_signature(symbol)}{documentation}"


def format_references(answer: Json, root: Path, *, by_file: bool) -> str:
    """Return the uses of a name, each on a line, below the definitions if these are ambiguous."""
    shown = sum(len(file["references"]) for file in answer["files"])
    lines = [*_describe_meanings(answer, root), *_list_sites(answer["files"], root, by_file=by_file)]
    return "\n".join((*lines, *_describe_rest(answer, shown, "use")))


def format_outline(answer: Json, root: Path) -> str:
    """Return the outline of a file, or of a directory."""
    lines = [f"{_path(each['source'], root)}/  {pluralize(each['files'], 'file')}" for each in answer["directories"]]
    if answer["kind"] == "directory":
        lines += [_summarize_file(file, root) for file in answer["files"]]
        return "\n".join((*lines, *_describe_rest(answer, len(answer["files"]), "file")))
    for file in answer["files"]:
        lines += [_path(file["source"], root), *map(format_item, file["items"])]
    shown = sum(len(file["items"]) for file in answer["files"])
    return "\n".join((*lines, *_describe_rest(answer, shown, "definition")))


def format_item(item: Json) -> str:
    """Return one definition of an outline, indented by its depth."""
    documentation = f" — {visible(item['documentation'])}" if item["documentation"] else ""
    return f"{'  ' * item['depth']}{_lines(item)} {_signature(item)}{documentation}"


def format_related(answer: Json, root: Path) -> str:
    """Return what belongs to a line, in sections."""
    definition, enclosing = answer["definition"], answer["enclosing"]
    lines = [format_symbol(each, root) for each in (definition, enclosing) if each]
    members = [f"  {format_member(item)}" for item in answer["members"]]
    sections = (
        (f"members of {enclosing['name']}" if enclosing else "members" if definition else "in this file", members),
        (f"used {pluralize(answer['total_callers'], 'time')} in code", _list_sites(answer["callers"], root)),
        ("uses", (format_symbol(each, root) for each in answer["callees"])),
        (f"used {pluralize(answer['total_tests'], 'time')} in tests", _list_sites(answer["tests"], root)),
        ("documents", (f"{_path(d['source'], root)}:{d['line']}: {visible(d['text'])}" for d in answer["documents"])),
    )
    for title, content in sections:
        listed = list(content)
        if listed:
            lines += [f"{title}:", *listed]
    return "\n".join(lines)


def format_member(item: Json) -> str:
    """Return a definition inside another one, shortened and without its documentation."""
    text = _signature(item)
    return f"{_lines(item)} {text if len(text) <= MAX_MEMBER_LENGTH else f'{text[:MAX_MEMBER_LENGTH]}…'}"


def format_structure(structure: Json, root: Path) -> str:
    """Return the answer to a question about the structure: a summary, then a line for each place."""
    lines = [visible(structure["summary"])]
    for line in structure["lines"]:
        indent, text = "  " * line["depth"], visible(line["text"])
        place = f"{line['line']}-{line['end_line']}" if line["end_line"] > line["line"] else str(line["line"])
        if structure["question"] == "outline":
            lines.append(f"{indent}{place} {text}")
        else:
            lines.append(f"{indent}{_path(line['source'], root)}:{place}{_within(line['enclosing'])}: {text}")
    rest = structure["total"] - len(structure["lines"])
    return "\n".join((*lines, *([f"… {rest:,} more: agent-brain refs"] if rest > 0 else [])))


def describe_nearest(answer: Json, asked: str, *, filtered: bool) -> str | None:
    """Return that a name is unknown, and which known names are similar; `None` if something was found."""
    if answer["total"] or answer.get("total_definitions"):
        return None
    if filtered:
        return f"Nothing matches {visible(asked)} with these filters; try again without them."
    near = ", ".join(map(visible, answer["nearest"]))
    found = f" Similar names: {near}." if near else ""
    return f"No definition or use of {visible(asked)}.{found} To search for it: agent-brain query"


def describe_match(answer: Json, asked: str) -> str | None:
    """Return how an answer deviates from the name that was typed; `None` if it does not."""
    remarks = {
        "ignore_case": f"No {asked} in this case; these differ in case.",
        "part": f"No definition is named {asked}; these contain it.",
        "unqualified": f"No {asked} in a definition or file of that name; these have the last part of the name.",
    }
    remark = remarks.get(answer["match"])
    return remark and visible(remark)


def _describe_meanings(answer: Json, root: Path) -> Iterator[str]:
    """Yield what an ambiguous name may mean."""
    count = answer["total_definitions"]
    if count <= 1:
        return
    places = [f"{visible(each['qualified_name'])} {_place(each, root)}" for each in answer["definitions"]]
    more = f", … {count - len(places)} more" if count > len(places) else ""
    yield f"{visible(answer['name'])} has {count} definitions: {', '.join(places)}{more}"


def _list_sites(files: list[Json], root: Path, *, by_file: bool = False) -> Iterator[str]:
    for file in files:
        path = _path(file["source"], root)
        if by_file:
            yield path
        for site in file["references"]:
            place = f"  {site['line']}" if by_file else f"{path}:{site['line']}"
            yield f"{place}{_within(site['enclosing'])}: {visible(site['text'])}"


def _describe_rest(answer: Json, shown: int, noun: str) -> Iterator[str]:
    """Yield how many more there are, and how to see them."""
    if answer["next_offset"] is not None:
        total = answer["total"]
        yield f"… {pluralize(total - shown, f'more {noun}')} of {total:,}: --offset {answer['next_offset']}"


def _summarize_file(file: Json, root: Path) -> str:
    names = [visible(item["name"]) for item in file["items"]]
    more = f", … {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return f"{_path(file['source'], root)}{': ' if names else ''}{', '.join(names[:MAX_NAMES])}{more}"


def _signature(item: Json) -> str:
    """Return a signature without the spaces of its lines and without a comment behind it."""
    joined = TRAILING_COMMENT.sub("", visible(item["signature"]))
    return joined.replace("( ", "(").replace(", )", ")")


def _place(symbol: Json, root: Path) -> str:
    return f"{_path(symbol['source'], root)}:{_lines(symbol)}"


def _lines(item: Json) -> str:
    first, last = item["start_line"], item["end_line"]
    return f"{first}-{last}" if last > first else str(first)


def _within(enclosing: str | None) -> str:
    return f" in {visible(enclosing)}" if enclosing else ""


def _outer(symbol: Json) -> str | None:
    """Return the qualified name of what encloses a definition."""
    outer: str = symbol["qualified_name"].removesuffix(symbol["name"]).removesuffix(".")
    return outer or None


def _path(source: str, root: Path) -> str:
    return visible(locate(source, root))
