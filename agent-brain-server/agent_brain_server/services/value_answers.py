"""Find where a name gets its value: constants, fields, assignments, defaults of parameters, values in a definition."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from agent_brain_server.models.structure import StructureLine
from agent_brain_server.search.symbol_names import SymbolName
from agent_brain_server.services.symbol_lookup import SymbolFilter, SymbolLookup
from agent_brain_server.services.symbol_models import ReadRows, make_line, shorten, shorten_around
from agent_brain_server.services.value_rows import (
    COMMENT,
    EQUALS,
    LITERAL,
    MAX_ROW,
    TYPE,
    find_documented,
    find_named_value,
    list_code_rows,
    make_patterns,
    rank_row,
)
from agent_brain_server.storage.document_store import DocumentStore
from agent_brain_server.support.globs import compile_selection
from agent_brain_server.support.text import count_hidden
from agent_brain_server.support.tokens import split_identifier
from agent_brain_server.types import Definition, StoredDefinition

MAX_DEFINITIONS = 50  # of a name that are compared
MAX_USES = 400  # among which assignments are looked for
MAX_FILES = 100  # that are read for assignments
MAX_SIGNATURES = 20_000  # that are searched for a parameter
MAX_ROWS = 100_000  # that are searched for a default
MAX_DEFAULTS = 20
MAX_PARAMETERS = 10
MAX_SIGNATURE = 120  # characters; of longer ones, only the parameter is shown
MAX_PARAMETER = 60
MAX_BODY_VALUES = 12
MAX_FOLLOWED = 5  # places whose value is a constant that is looked up
VALUE_RANKS = (0, 1, 3)  # of lines that show a whole value
MAX_VALUE_ROWS = 6
"""Lines of a value that spans several."""
CONTAINERS = re.compile(
    r"class|struct|interface|trait|impl|object|protocol|record|module|def|fn|fun|func|function|method|constructor|init|"
    r"test|enum|type|union|namespace|mod|extension|actor|instance|data|newtype|concept|delegate|local"
)
"""Kinds of definitions that are no value themselves, but may contain some."""

BODY_VALUE = re.compile(rf"\w[\w.]*\s*(?:{EQUALS}|\?\?|:)\s*{LITERAL}")
CONTINUED = re.compile(r"(?:[=(\[{,?:+*|&]|\?\?|\bor|\band)\s*$")
IDENTIFIER = re.compile(r"_|[a-z][A-Z]|\d")
"""Distinguishes a name from a word if nothing has this name."""

FindPaths = Callable[[str], Sequence[str]]
"""Returns files that contain a word, the most relevant first."""


class ValueAnswers:
    """Finds the values of names in one project.

    Args:
        documents: Holds the syntax facts.
        lookup: Finds definitions and uses.
        read_rows: Reads an indexed file.
        find_paths: Finds the files of code and settings that contain a word.
    """

    def __init__(
        self, documents: DocumentStore, lookup: SymbolLookup, read_rows: ReadRows, find_paths: FindPaths
    ) -> None:
        self._documents = documents
        self._lookup = lookup
        self._read_rows = read_rows
        self._find_paths = find_paths

    def find(self, name: SymbolName, paths: Sequence[str]) -> list[StructureLine]:
        """Return the places where a name gets a value, the most direct first.

        Args:
            name: Of a constant, field, variable, parameter, function or class.
            paths: Globs; empty for all files.
        """
        is_defined = self._documents.symbols.has_name(name.name)
        found: list[tuple[int, StructureLine]] = []
        if is_defined:
            found += self._list_definitions(name, tuple(paths))
        if is_defined or IDENTIFIER.search(name.name):
            found += self._list_assignments(name, paths)
        parameters = [_make_parameter(each, name.name) for each in self._list_parameters(name, paths)]
        heads = {(line.source, line.line) for line in parameters}
        defaults = self._list_defaults(name.name, paths)
        found += ((rank, line) for rank, line in defaults if (line.source, line.line) not in heads)
        found += ((2, line) for line in parameters)
        for spelling in _spell_constants(name.name):
            if self._documents.symbols.has_name(spelling):
                found += ((rank, line) for rank, line in self._list_definitions(SymbolName(spelling), tuple(paths)))
        known: set[tuple[str, int]] = set()
        lines = []
        for rank, line in sorted(found, key=lambda each: each[0]):
            if (line.source, line.line) not in known:
                # the other lines of a value are in its text; a function or class is shown by its head alone
                last = line.end_line if rank in VALUE_RANKS else line.line
                known.update((line.source, number) for number in range(line.line, last + 1))
                lines.append(line)
        return self._insert_constants(lines, tuple(paths))

    def _insert_constants(self, lines: Sequence[StructureLine], paths: tuple[str, ...]) -> list[StructureLine]:
        """Return lines with the definition of each constant that one of the first has as its value below it."""
        known = {(line.source, line.line) for line in lines}
        followed = []
        for number, line in enumerate(lines):
            followed.append(line)
            name = find_named_value(line.text) if number < MAX_FOLLOWED else None
            if name is None or not self._documents.symbols.has_name(name):
                continue
            found = self._lookup.find(SymbolName(name), SymbolFilter(paths=paths), limit=2).definitions
            values = [self._complete(each) for each in found if not _is_container(each.definition)]
            for value in values:
                if (value.source, value.line) not in known:
                    known.add((value.source, value.line))
                    followed.append(value)
        return followed

    def _list_definitions(self, name: SymbolName, paths: tuple[str, ...]) -> Iterator[tuple[int, StructureLine]]:
        found = self._lookup.find(name, SymbolFilter(paths=paths), limit=MAX_DEFINITIONS)
        if found.match == "part":
            return
        for each in found.definitions:
            after_code = 5 if each.source_type == "test" else 0
            line = self._complete(each)
            if _is_container(each.definition):
                yield 4 + after_code, line
                for row in self._list_body_values(each):
                    yield 4 + after_code, row
            else:
                yield (0 if _has_value(line.text, each.definition.name) else 5) + after_code, line

    def _complete(self, found: StoredDefinition) -> StructureLine:
        """Return the line of a definition, with its value if the signature does not have it."""
        line, definition = make_line(found), found.definition
        if _is_container(definition):
            return line
        line = line.model_copy(update={"line": definition.name_line})
        if definition.end_line == definition.name_line or _has_value(definition.signature, definition.name):
            return line
        rows = self._read_rows(found.path) or ()
        text = shorten(
            _join(rows, definition.name_line, min(definition.end_line, definition.name_line + MAX_VALUE_ROWS))
        )
        if definition.name not in text:
            return line
        documented = (
            None
            if _has_value(text, definition.name)
            else find_documented(rows, definition.start_line, definition.name_line)
        )
        text = shorten(f"{text} {documented}") if documented else text
        return line.model_copy(update={"text": text, "hidden_characters": line.hidden_characters + count_hidden(text)})

    def _list_body_values(self, found: StoredDefinition) -> Iterator[StructureLine]:
        """Yield the lines of a function or class that give something a literal value."""
        definition = found.definition
        rows = self._read_rows(found.path) or ()
        count = 0
        for number, row in list_code_rows(rows, definition.name_line + 1, definition.end_line):
            if BODY_VALUE.search(row):
                yield _make_row(found.path, number, number, row, definition)
                count += 1
                if count == MAX_BODY_VALUES:
                    return

    def _list_assignments(self, name: SymbolName, paths: Sequence[str]) -> Iterator[tuple[int, StructureLine]]:
        """Yield the uses in code that assign a value, those with a literal first."""
        spelled = re.escape(name.name)
        patterns = make_patterns(name.name)
        starts = re.compile(rf"\s*(?:if\b.*?\)\s*)?(?:[\w.$:>*&\[\]'\"-]*[.>:$@*&\s])?{spelled}\b")
        for file in self._lookup.find_uses(name, (), paths, limit=MAX_USES, only="code").files[:MAX_FILES]:
            rows = self._read_rows(file.path) or ()
            for site in file.sites:
                row = rows[site.line - 1][:MAX_ROW] if site.line <= len(rows) else ""
                match = patterns.assigns.search(row) or patterns.sets_key.search(row)
                if match is None or COMMENT.match(row):
                    continue
                last = _find_end(rows, site.line)
                text = shorten_around(_join(rows, site.line, last), name.name)
                is_literal = re.search(LITERAL, match["value"]) or last > site.line
                rank = (1 if is_literal else 3) if starts.match(row) else 6
                yield rank, _make_row(file.path, site.line, last, text, site.enclosing)

    def _list_defaults(self, name: str, paths: Sequence[str]) -> Iterator[tuple[int, StructureLine]]:
        """Yield the lines that replace a missing value, or give one to a key or parameter, in files with the word."""
        patterns = make_patterns(name)
        globs = compile_selection(paths, "path")
        left = MAX_ROWS
        count = 0
        for path in self._find_paths(name):
            if globs is not None and not globs.match_file(path):
                continue
            rows = self._read_rows(path) or ()
            left -= len(rows)
            if left < 0:
                return
            file = self._documents.symbols.definitions_of(path)
            definitions = () if file is None else file.definitions
            for number, row in enumerate(rows, start=1):
                rank = rank_row(row[:MAX_ROW], patterns) if name in row and not COMMENT.match(row) else None
                if rank is not None:
                    outer = _find_enclosing(definitions, number)
                    yield rank, _make_row(path, number, number, shorten_around(row.strip(), name), outer)
                    count += 1
                    if count == MAX_DEFAULTS:
                        return

    def _list_parameters(self, name: SymbolName, paths: Sequence[str]) -> Iterable[StoredDefinition]:
        """Return the functions that have a parameter of this name with a default."""
        has_default = re.compile(rf"[(,{{\s*]{re.escape(name.name)}{TYPE}\s*=(?![=>])")
        globs = compile_selection(paths, "path")
        found: list[StoredDefinition] = []
        compared = 0
        for path in self._find_paths(name.name):
            file = self._documents.symbols.definitions_of(path)
            if file is None or file.source_type == "test" or (globs is not None and not globs.match_file(path)):
                continue
            compared += len(file.definitions)
            found += (
                StoredDefinition(file.path, file.language, file.source_type, each)
                for each in file.definitions
                if _is_container(each) and name.name in each.signature and has_default.search(each.signature)
            )
            if len(found) >= MAX_PARAMETERS or compared > MAX_SIGNATURES:
                break
        return found[:MAX_PARAMETERS]


def _make_parameter(found: StoredDefinition, name: str) -> StructureLine:
    """Return the line of a function, with the part of a long signature around a parameter."""
    line = make_line(found)
    head, mark, rest = line.text.partition("(")
    match = re.search(rf"(?<![\w.]){re.escape(name)}\b", rest)
    if len(line.text) <= MAX_SIGNATURE or match is None:
        return line
    part = rest[match.start() :][:MAX_PARAMETER]
    start, end = "…" if match.start() else "", "…" if len(rest) > match.start() + MAX_PARAMETER else ""
    return line.model_copy(update={"text": f"{head}{mark}{start}{part}{end}"})


def _spell_constants(name: str) -> list[str]:
    """Return the names that a constant with the default of a name usually has."""
    words = split_identifier(name)
    if not words or any("default" in word for word in words):
        return []
    snake, upper = "_".join(words), "_".join(words).upper()
    title = "".join(word.capitalize() for word in words)
    return [f"DEFAULT_{upper}", f"{upper}_DEFAULT", f"default_{snake}", f"default{title}", f"Default{title}"]


def _find_enclosing(definitions: Sequence[Definition], line: int) -> Definition | None:
    """Return the innermost definition around a line."""
    around = (each for each in definitions if each.start_line <= line <= each.end_line and _is_container(each))
    return max(around, key=lambda each: each.start_line, default=None)


def _is_container(definition: Definition) -> bool:
    return CONTAINERS.fullmatch(definition.kind) is not None


def _has_value(text: str, name: str) -> bool:
    """Return whether a line gives a name a value, not only a type."""
    spelled = re.escape(name)
    if re.search(rf"(?<![\w$]){spelled}(?:\[[^\]]*\])*{TYPE}\s*{EQUALS}", text) or re.match(r"#\s*define\b", text):
        return True
    key = re.search(rf"(?<![\w$])['\"]?{spelled}['\"]?\s*(?::|=>|\{{)\s*(.*)", text)
    return bool(key and re.match(LITERAL, key[1]))


def _find_end(rows: Sequence[str], line: int) -> int:
    """Return the last line of a value that begins in a line."""
    depth = 0
    for number in range(line, min(len(rows), line + MAX_VALUE_ROWS - 1) + 1):
        row = rows[number - 1][:MAX_ROW]
        depth += sum(map(row.count, "([{")) - sum(map(row.count, ")]}"))
        if depth <= 0 and not CONTINUED.search(row.rstrip(",")):
            return number
    return line


def _join(rows: Sequence[str], first: int, last: int) -> str:
    return " ".join(" ".join(row[:MAX_ROW].split()) for row in rows[first - 1 : last])


def _make_row(path: str, first: int, last: int, text: str, enclosing: Definition | None) -> StructureLine:
    outer = None if enclosing is None else enclosing.qualified_name
    shown = shorten(text.strip())
    return StructureLine(
        source=path,
        line=first,
        end_line=last,
        text=shown,
        enclosing=outer,
        hidden_characters=count_hidden(shown) + count_hidden(outer or "") + count_hidden(path),
    )
