"""Convert definitions and uses of names to the models of answers."""

from collections.abc import Callable, Iterable, Sequence

from agent_brain_server.models.structure import StructureLine
from agent_brain_server.models.symbols import (
    MAX_LINE_LENGTH,
    FileSites,
    OutlineItem,
    ReferenceModel,
    Symbol,
)
from agent_brain_server.support.text import count_hidden
from agent_brain_server.types import Definition, FileReferences, StoredDefinition

ReadRows = Callable[[str], Sequence[str] | None]
"""Returns the lines of an indexed file as they are on disk; `None` if it cannot be read."""


def make_symbol(found: StoredDefinition) -> Symbol:
    """Return the model of a definition."""
    definition = found.definition
    signature = shorten(definition.signature)
    return Symbol(
        name=definition.name,
        qualified_name=definition.qualified_name,
        kind=definition.kind,
        signature=signature,
        documentation=shorten(definition.documentation),
        source=found.path,
        line=definition.name_line,
        start_line=definition.start_line,
        end_line=definition.end_line,
        language=found.language,
        source_type=found.source_type,
        hidden_characters=_count_all((found.path, definition.qualified_name, signature, definition.documentation)),
    )


def make_line(found: StoredDefinition, depth: int = 0) -> StructureLine:
    """Return the line of a definition."""
    definition = found.definition
    outer = definition.qualified_name.removesuffix(definition.name).removesuffix(".")
    text = shorten(definition.signature)
    return StructureLine(
        source=found.path,
        line=definition.start_line,
        end_line=definition.end_line,
        text=text,
        enclosing=outer or None,
        depth=depth,
        hidden_characters=count_hidden(text) + count_hidden(outer) + count_hidden(found.path),
    )


def make_items(definitions: Sequence[Definition], chosen: Iterable[int]) -> list[OutlineItem]:
    """Return the outline of definitions of one file.

    Args:
        definitions: All definitions of the file, outer ones before inner ones.
        chosen: Indexes of those to return.
    """
    depths: list[int] = []
    for each in definitions:
        depths.append(0 if each.parent is None else depths[each.parent] + 1)
    return [_make_item(definitions[index], depths[index]) for index in chosen]


def make_sites(files: Iterable[FileReferences], name: str, read_rows: ReadRows) -> list[FileSites]:
    """Return the uses of a name with their lines of text; files that cannot be read any more are left out.

    Args:
        files: The uses by file.
        name: The name, which a line must contain; otherwise the file has changed, and the text is left out.
        read_rows: Reads a file.
    """
    found = []
    for file in files:
        rows = read_rows(file.path)
        if rows is None:
            continue
        references = []
        for site in file.sites:
            row = rows[site.line - 1] if site.line <= len(rows) else ""
            text = shorten_around(row.strip(), name) if name in row else ""
            enclosing = None if site.enclosing is None else site.enclosing.qualified_name
            hidden = _count_all((text, enclosing or ""))
            references.append(
                ReferenceModel(line=site.line, kind=site.kind, text=text, enclosing=enclosing, hidden_characters=hidden)
            )
        found.append(FileSites(source=file.path, source_type=file.source_type, references=references))
    return found


def shorten_around(row: str, name: str) -> str:
    """Return a line, or the part of a long line around a name."""
    if len(row) <= MAX_LINE_LENGTH:
        return row
    position = max(row.find(name), 0)
    start = min(max(position - MAX_LINE_LENGTH // 3, 0), len(row) - MAX_LINE_LENGTH)
    return f"{'…' if start else ''}{row[start : start + MAX_LINE_LENGTH - 2]}…"


def _make_item(definition: Definition, depth: int) -> OutlineItem:
    signature, documentation = shorten(definition.signature), shorten(definition.documentation)
    return OutlineItem(
        depth=depth,
        kind=definition.kind,
        name=definition.name,
        signature=signature,
        documentation=documentation,
        line=definition.name_line,
        start_line=definition.start_line,
        end_line=definition.end_line,
        hidden_characters=_count_all((definition.name, signature, documentation)),
    )


def shorten(text: str) -> str:
    """Return a text, cut to `MAX_LINE_LENGTH` characters."""
    return text if len(text) <= MAX_LINE_LENGTH else f"{text[: MAX_LINE_LENGTH - 1]}…"


def _count_all(texts: Iterable[str]) -> int:
    return sum(map(count_hidden, texts))
