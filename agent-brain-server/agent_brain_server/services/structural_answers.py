"""Answer questions about the structure of the code from the syntax facts, instead of by search."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from agent_brain_server.errors import InvalidRequestError
from agent_brain_server.models.structure import StructuralKind, StructureAnswer, StructureLine
from agent_brain_server.models.symbols import FileSites
from agent_brain_server.search.structural import (
    FORMS,
    StructuralQuestion,
    find_place_words,
    find_value_names,
    parse_structural,
)
from agent_brain_server.search.symbol_names import SymbolName
from agent_brain_server.services.symbol_lookup import Lookup, SymbolFilter, SymbolLookup
from agent_brain_server.services.symbol_models import ReadRows, make_line, make_sites, shorten
from agent_brain_server.services.value_answers import CONTAINERS, IDENTIFIER, FindPaths, ValueAnswers
from agent_brain_server.storage.document_store import DocumentStore
from agent_brain_server.support.text import count_hidden, pluralize
from agent_brain_server.support.tokens import split_identifier
from agent_brain_server.types import Definition, ReferenceKind, StoredDefinition

MAX_LINES = 100
"""Lines of an answer; more are counted."""

MAX_CLASSES = 300
MAX_DEPTH = 12
"""Levels of subclasses; deeper hierarchies are generated, or circular."""

MAX_METHODS = 20  # of an interface that are compared
GO_INTERFACE = re.compile(r"^type \w+(\[.*\])? interface\b")

MAX_TESTS = 300
MAX_NAMED = 2_000  # definitions whose name contains another one, among which tests are looked for
TEST_NAME = re.compile(r"[Tt]est(?:[_A-Z\d]|$)")
MIN_TEST_NAME = 4
"""Characters of a name that tests are found by; shorter ones are parts of too many words."""

KINDS: dict[StructuralKind, tuple[ReferenceKind, ...]] = {
    "callers": ("call",),
    "imports": ("import",),
    "uses": (),
}

INHERIT: tuple[ReferenceKind, ...] = ("inherit",)

NOUNS: dict[StructuralKind, str] = {
    "callers": "call",
    "imports": "import",
    "uses": "use",
    "tests": "test",
    "definition": "definition",
    "outline": "definition",
}

MAX_TEXT_USES = 12
"""Uses of the name of a text; a name with more is too common to point at anything."""

CONSTRUCTORS = ("__init__", "constructor", "initialize")
EXCEPTION_NAME = re.compile(r"(?:Error|Exception|Warning|Failure|Fault)$")
IMPORT = re.compile(r"(?:import|from|use|using|require|export|#\s*include)\b")

CLASS_WORDS = re.compile(r"class|struct|interface|trait|impl|enum|object|protocol|type|record|instance|module")
"""Kinds of definitions that can inherit."""


@dataclass(frozen=True, slots=True)
class _Found:
    """The places that answer a question.

    Attributes:
        lines: In order.
        total: Number of lines, if not all are listed.
        summary: What was found.
    """

    lines: Sequence[StructureLine]
    total: int
    summary: str


class StructuralAnswers:
    """Answers questions about the structure of one project.

    Args:
        documents: Holds the files and the syntax facts.
        lookup: Finds definitions and uses.
        read_rows: Reads an indexed file.
        find_paths: Finds the files that contain a word.
    """

    def __init__(
        self, documents: DocumentStore, lookup: SymbolLookup, read_rows: ReadRows, find_paths: FindPaths
    ) -> None:
        self._documents = documents
        self._lookup = lookup
        self._read_rows = read_rows
        self._values = ValueAnswers(documents, lookup, read_rows, find_paths)
        self._answers: dict[StructuralKind, Callable[[SymbolName, StructuralKind, tuple[str, ...]], _Found | None]] = {
            "callers": self._find_uses,
            "imports": self._find_uses,
            "uses": self._find_uses,
            "subclasses": self._find_subclasses,
            "tests": self._find_tests,
            "definition": self._find_definitions,
        }

    def answer(self, query: str, paths: Sequence[str], *, required: bool) -> StructureAnswer | None:
        """Return the answer to a query, or `None` if it does not ask about the structure of something that exists.

        Args:
            query: The query.
            paths: Globs on the path.
            required: Raise an error instead of returning `None`; answer also about names that are used only.

        Raises:
            InvalidRequestError: A glob is invalid; or, if `required`, there is no answer.
        """
        question = parse_structural(query)
        found = question and self._answer(question, tuple(paths))
        if question and found and (found.lines or self._is_defined(question)):
            return StructureAnswer(
                question=question.kind,
                name=question.target,
                summary=found.summary,
                lines=list(found.lines[:MAX_LINES]),
                total=found.total,
            )
        if required:
            raise self._refuse(question)
        return self._find_named_values(query, tuple(paths))

    def _find_named_values(self, query: str, paths: tuple[str, ...]) -> StructureAnswer | None:
        """Return the values of the names in a sentence that asks for a default, those near its other words first."""
        names = find_value_names(query)
        found = {name: self._values.find(name, paths) for name in names}
        named = {name: lines for name, lines in found.items() if lines}
        if not named:
            return None
        if len(named) > 1:  # a class beside an option says where to look
            options = {name: lines for name, lines in named.items() if not self._is_container(name)}
            named = options or named
        words = find_place_words(query, tuple(named))
        lines = [line for lines in named.values() for line in lines]
        lines.sort(key=lambda line: not any(word in f"{line.source} {line.enclosing}".lower() for word in words))
        title = ", ".join(name.qualified for name in named)
        return StructureAnswer(
            question="values",
            name=title,
            summary=f"{_count(len(lines), 'place')} where {title} may get its value",
            lines=lines[:MAX_LINES],
            total=len(lines),
            is_partial=True,
        )

    def follow_phrase(self, path: str, line: int) -> StructureAnswer | None:
        """Return the uses of the constant, enum value or exception class that stands for a text in the code.

        Args:
            path: File that contains the text, such as an error message.
            line: Its line, 1-based.
        """
        file = self._documents.symbols.definitions_of(path)
        around = [] if file is None else [d for d in file.definitions if d.start_line <= line <= d.end_line]
        named = max(around, key=lambda each: each.start_line, default=None)
        if file is None or named is None:
            return None
        if named.parent is not None and named.name in CONSTRUCTORS:
            named = file.definitions[named.parent]
        if not _stands_for_text(named, file.definitions):
            return None
        uses = self._lookup.find_uses(SymbolName(named.name), (), limit=MAX_TEXT_USES, only="code")
        lines = list(_list_sites(make_sites(uses.files, named.name, self._read_rows)))
        lines = [each for each in lines if each.text and not IMPORT.match(each.text)]
        if not lines or uses.total > MAX_TEXT_USES:
            return None
        return StructureAnswer(
            question="uses",
            name=named.qualified_name,
            summary=f"{_count(len(lines), 'use')} of {named.qualified_name}, which has this text",
            lines=lines,
            total=len(lines),
            is_partial=True,
        )

    def _is_container(self, name: SymbolName) -> bool:
        found = self._lookup.find(name, limit=1)
        return found.match == "exact" and CONTAINERS.fullmatch(found.definitions[0].definition.kind) is not None

    def _answer(self, question: StructuralQuestion, paths: tuple[str, ...]) -> _Found | None:
        if question.kind == "outline":
            return self._outline(question)
        if question.kind == "values":
            return self._find_values(question, paths)
        name = question.name
        is_known = self._is_defined(question) or (question.kind == "tests" and bool(IDENTIFIER.search(question.target)))
        if name is None or not is_known:
            return None
        return self._answers[question.kind](name, question.kind, paths)

    def _is_defined(self, question: StructuralQuestion) -> bool:
        name = question.name
        return name is not None and self._documents.symbols.has_name(name.name)

    def _refuse(self, question: StructuralQuestion | None) -> InvalidRequestError:
        if question is None:
            return InvalidRequestError(
                "The query is no question about the structure.",
                code="not_structural",
                hint=f"Ask in one of these forms: {', '.join(FORMS)}.",
            )
        name = question.name
        near = self._lookup.suggest(name)[:3] if name else []
        similar = f" Similar names: {', '.join(near)}." if near else ""
        return InvalidRequestError(
            f"Nothing in the index is named {question.target[:100]!r}.",
            code="not_structural",
            hint=f"Check the spelling.{similar}",
        )

    def _find_uses(self, name: SymbolName, kind: StructuralKind, paths: tuple[str, ...]) -> _Found:
        meanings = self._lookup.find(name, limit=MAX_LINES)
        uses = self._lookup.find_uses(name, KINDS[kind], paths, limit=MAX_LINES)
        lines = list(_list_sites(make_sites(uses.files, name.name, self._read_rows)))
        places = f"{_count(uses.total, NOUNS[kind])} of {name.qualified}"
        where = f" in {pluralize(uses.total_files, 'file')}" if uses.total else ""
        return _Found(lines, uses.total, f"{places}{where}{_describe_meanings(meanings)}")

    def _find_definitions(self, name: SymbolName, kind: StructuralKind, paths: tuple[str, ...]) -> _Found:
        found = self._lookup.find(name, SymbolFilter(paths=paths), limit=MAX_LINES)
        lines = [make_line(each) for each in found.definitions]
        return _Found(lines, found.total, f"{_count(found.total, 'definition')} of {name.qualified}")

    def _find_values(self, question: StructuralQuestion, paths: tuple[str, ...]) -> _Found | None:
        name = question.name
        lines = [] if name is None else self._values.find(name, paths)
        if name is None or not lines:
            return None
        return _Found(lines, len(lines), f"{_count(len(lines), 'place')} where {name.qualified} may get its value")

    def _find_subclasses(self, name: SymbolName, kind: StructuralKind, paths: tuple[str, ...]) -> _Found:
        found = [*self._walk_subclasses(name, paths), *self._list_implementers(name, paths)]
        direct = sum(not line.depth for line in found)
        count = f"{len(found) or 'No'} subtype{'' if len(found) == 1 else 's'} of {name.qualified}"
        return _Found(found, len(found), f"{count}{f', {direct} of them direct' if direct < len(found) else ''}")

    def _walk_subclasses(self, name: SymbolName, paths: tuple[str, ...]) -> Iterator[StructureLine]:
        """Yield the classes that inherit from a class, each followed by its own subclasses."""
        known = {name.name}
        pending = [(name, 0, iter(self._list_subclasses(name, paths)))]
        count = 0
        while pending and count < MAX_CLASSES:
            _, depth, subclasses = pending[-1]
            found = next(subclasses, None)
            if found is None:
                pending.pop()
                continue
            count += 1
            yield make_line(found, depth)
            own = found.definition.name
            if own not in known and depth < MAX_DEPTH:
                known.add(own)
                below = SymbolName(own)
                pending.append((below, depth + 1, iter(self._list_subclasses(below, paths))))

    def _list_subclasses(self, name: SymbolName, paths: tuple[str, ...]) -> list[StoredDefinition]:
        """Return the classes that name a class as their base."""
        uses = self._lookup.find_uses(SymbolName(name.name), INHERIT, paths, limit=MAX_CLASSES)
        found: dict[tuple[str, int], StoredDefinition] = {}
        for file in uses.files:
            for site in file.sites:
                each = site.enclosing
                if each is not None and CLASS_WORDS.search(each.kind) and each.name != name.name:
                    stored = StoredDefinition(file.path, file.language, file.source_type, each)
                    found.setdefault((file.path, each.name_line), stored)
        return list(found.values())

    def _list_implementers(self, name: SymbolName, paths: tuple[str, ...]) -> list[StructureLine]:
        """Return the types of Go that have all methods of an interface, which they do not name."""
        named = self._lookup.find(name, SymbolFilter(languages=("go",)), limit=MAX_LINES).definitions
        meanings = [each for each in named if GO_INTERFACE.search(each.definition.signature)]
        file = self._documents.symbols.definitions_of(meanings[0].path) if meanings else None
        if file is None or meanings[0].definition not in file.definitions:
            return []
        own = file.definitions.index(meanings[0].definition)
        methods = [each.name for each in file.definitions if each.parent == own][:MAX_METHODS]
        owners: set[tuple[str, str]] | None = None
        for method in methods:
            found = self._lookup.list_named(method, paths, limit=MAX_CLASSES)
            having = {_find_owner(each) for each in found if each.definition.parent is None}
            owners = having if owners is None else owners & having
        lines = []
        for directory, owner in sorted(owners or ()):
            types = self._lookup.list_named(owner, paths, limit=MAX_CLASSES)
            outermost = (each for each in types if each.definition.parent is None)
            lines += [make_line(each) for each in outermost if _find_directory(each.path) == directory]
        return lines

    def _find_tests(self, name: SymbolName, kind: StructuralKind, paths: tuple[str, ...]) -> _Found:
        """Find the tests whose own name contains a name, then those that use it, then files that use it elsewhere."""
        tests = {(each.path, each.definition.name_line): each for each in self._list_tests_by_name(name, paths)}
        lines = [
            _make_test_line(tests[place])
            for place in sorted(tests, key=lambda place: (not _is_named_test(tests[place]), place))
        ]
        users: dict[tuple[str, int], StoredDefinition] = {}
        others: list[StructureLine] = []
        uses = self._lookup.find_uses(name, (), paths, limit=MAX_TESTS, only="test").files
        for file in uses:
            for site in file.sites:
                if site.enclosing is not None and site.kind != "import":
                    each = StoredDefinition(file.path, file.language, file.source_type, site.enclosing)
                    users.setdefault((file.path, site.enclosing.name_line), each)
            outside = [site for site in file.sites if site.enclosing is None and site.kind != "import"]
            rest = make_sites([replace(file, sites=tuple(outside[:1]))], name.name, self._read_rows) if outside else []
            others += _list_sites(rest)
        lines += [_make_test_line(each) for _, each in sorted(users.items()) if not _is_within(each, tests.values())]
        lines += others
        files = len({line.source for line in lines})
        where = f" in {pluralize(files, 'file')}" if files else ""
        return _Found(lines, len(lines), f"{_count(len(lines), 'test')} of {name.qualified}{where}")

    def _list_tests_by_name(self, name: SymbolName, paths: tuple[str, ...]) -> Iterable[StoredDefinition]:
        """Return the tests whose name contains the words of a name; tests beside the code by their own name alone."""
        words = split_identifier(name.name)
        if sum(map(len, words)) < MIN_TEST_NAME:
            return []
        spellings = dict.fromkeys(("_".join(words), "".join(words)))
        found = (self._lookup.find_part(spelling, SymbolFilter(paths=paths), limit=MAX_NAMED) for spelling in spellings)
        named = (each for page in found for each in page)
        return [each for each in named if each.source_type == "test" or _is_named_test(each)][:MAX_TESTS]

    def _outline(self, question: StructuralQuestion) -> _Found | None:
        """Return the outline of the file with a path, or of the class with a name."""
        path = self._find_file(question.target)
        if path is not None:
            found = self._documents.symbols.definitions_of(path)
            definitions = () if found is None else found.definitions
            lines = [_make_outline_line(path, definitions, each) for each in definitions]
            return _Found(lines, len(lines), f"{pluralize(len(lines), 'definition')} in {path}") if lines else None
        name = question.name
        meanings = Lookup() if name is None else self._lookup.find(name, limit=1)
        if name is None or meanings.match not in ("exact", "ignore_case"):
            return None
        return self._outline_definition(meanings.definitions[0])

    def _outline_definition(self, outer: StoredDefinition) -> _Found | None:
        found = self._documents.symbols.definitions_of(outer.path)
        first, last = outer.definition.start_line, outer.definition.end_line
        inner = [] if found is None else [d for d in found.definitions if first <= d.start_line and d.end_line <= last]
        if found is None or len(inner) <= 1:
            return None
        lines = [_make_outline_line(outer.path, found.definitions, each) for each in inner]
        members = pluralize(len(lines) - 1, "definition")
        return _Found(lines, len(lines), f"{members} in {outer.definition.qualified_name}, {outer.path}")

    def _find_file(self, target: str) -> str | None:
        """Return the indexed file with a path, or the only one whose path ends with it."""
        wanted = target.removeprefix("./").strip("/")
        records = self._documents.file_records([wanted])
        if wanted in records:
            return wanted
        if "." not in wanted:
            return None
        ending = [path for path in self._documents.file_records() if path.endswith(f"/{wanted}")]
        return ending[0] if len(ending) == 1 else None


def _stands_for_text(named: Definition, definitions: Sequence[Definition]) -> bool:
    """Return whether a definition around a text is its name: a value outside of functions, or an exception class."""
    if CONTAINERS.fullmatch(named.kind):
        return EXCEPTION_NAME.search(named.name) is not None and CLASS_WORDS.match(named.kind) is not None
    outer = None if named.parent is None else definitions[named.parent]
    return outer is None or CLASS_WORDS.match(outer.kind) is not None


def _find_owner(method: StoredDefinition) -> tuple[str, str]:
    """Return the directory, which is the package, and the type of a method of Go."""
    qualified = method.definition.qualified_name.split(".")
    return _find_directory(method.path), qualified[-2] if len(qualified) > 1 else ""


def _find_directory(path: str) -> str:
    return path.rpartition("/")[0]


def _make_outline_line(path: str, definitions: Sequence[Definition], each: Definition) -> StructureLine:
    depth, outer = 0, each
    while outer.parent is not None:
        depth, outer = depth + 1, definitions[outer.parent]
    text = shorten(each.signature)
    return StructureLine(
        source=path,
        line=each.start_line,
        end_line=each.end_line,
        text=text,
        enclosing=None,
        depth=depth,
        hidden_characters=count_hidden(text) + count_hidden(path),
    )


def _list_sites(files: Iterable[FileSites]) -> Iterator[StructureLine]:
    for file in files:
        for site in file.references:
            yield StructureLine(
                source=file.source,
                line=site.line,
                end_line=site.line,
                text=site.text,
                enclosing=site.enclosing,
                hidden_characters=site.hidden_characters,
            )


def _is_named_test(found: StoredDefinition) -> bool:
    return TEST_NAME.match(found.definition.name) is not None


def _make_test_line(found: StoredDefinition) -> StructureLine:
    """Return the line of a test from its name on, without the comment above it."""
    return make_line(found).model_copy(update={"line": found.definition.name_line})


def _is_within(found: StoredDefinition, tests: Iterable[StoredDefinition]) -> bool:
    """Return whether a definition is one of the tests, or a variable in one."""
    own = found.definition
    inside = [each.definition for each in tests if each.path == found.path and each.definition.end_line >= own.end_line]
    if CONTAINERS.fullmatch(own.kind):
        return any(each.name_line == own.name_line for each in inside)
    return any(each.start_line <= own.name_line for each in inside)


def _count(number: int, noun: str) -> str:
    """Return a number with its noun, and "No" for 0."""
    return pluralize(number, noun) if number else f"No {noun}s"


def _describe_meanings(meanings: Lookup) -> str:
    """Return a remark if a name has several definitions, so that some of its uses may be those of another one."""
    if meanings.match == "unqualified":
        return "; none is defined with this qualifier"
    return f"; {meanings.total} definitions have this name" if meanings.total > 1 else ""
