"""Collect what belongs to the code at a line: its definition, what uses it, what it uses, its tests and documents."""

from collections.abc import Callable, Iterator, Sequence

from agent_brain_server.models.query import IndexFreshness
from agent_brain_server.models.symbols import DocumentMention, RelatedAnswer, RelatedRequest, Symbol
from agent_brain_server.search.symbol_names import SymbolName
from agent_brain_server.services.file_reader import FileReader, select_lines
from agent_brain_server.services.freshness import Barrier
from agent_brain_server.services.symbol_lookup import SymbolLookup
from agent_brain_server.services.symbol_models import make_items, make_sites, make_symbol, shorten_around
from agent_brain_server.storage.document_store import DocumentStore
from agent_brain_server.support.text import count_hidden
from agent_brain_server.types import (
    NAMELESS_KINDS,
    Definition,
    FileDefinitions,
    KeywordIndex,
    QueryFilter,
    StoredDefinition,
)

MAX_CALLERS = 8
MAX_TESTS = 5
MAX_CALLEES = 10
MAX_MEMBERS = 25
MAX_DOCUMENTS = 3
MAX_NAMES = 200
"""Names that a definition uses and that are looked up."""

DOCUMENT_HITS = 20
MIN_MENTION = 4  # characters of a name that is searched in documents


class RelatedCode:
    """Finds what belongs to a line of one project.

    Args:
        documents: Holds the syntax facts and the texts of documents.
        keywords: Finds the documents that mention a name.
        lookup: Finds definitions and uses.
        files: Reads the project's files.
        freshness: Returns how fresh the index is, given a barrier after the changes to count.
    """

    def __init__(
        self,
        documents: DocumentStore,
        keywords: KeywordIndex,
        lookup: SymbolLookup,
        files: FileReader,
        freshness: Callable[[Barrier], IndexFreshness],
    ) -> None:
        self._documents = documents
        self._keywords = keywords
        self._lookup = lookup
        self._files = files
        self._freshness = freshness

    def find_related(self, request: RelatedRequest, barrier: Barrier) -> RelatedAnswer:
        """Return what belongs to the code at a line.

        Args:
            request: The path and the line.
            barrier: After the changes made before the request.

        Raises:
            InvalidRequestError: The path is outside the project or a directory, or the line is past its end.
            NotFoundError: The file is not in the index.
        """
        freshness = self._freshness(barrier)
        path = self._files.locate(request.path)
        source = self._files.read(path)
        select_lines(source.text, path, request.line, None, 1)
        file = self._documents.symbols.definitions_of(path)
        chain = [] if file is None else list(_enclosing(file.definitions, request.line))
        answer = RelatedAnswer(
            source=path,
            line=request.line,
            definition=None,
            enclosing=None,
            members=[],
            callers=[],
            total_callers=0,
            callees=[],
            tests=[],
            total_tests=0,
            documents=[],
            index=freshness,
        )
        if file is None:
            return answer
        if not chain:
            outermost = [index for index, each in enumerate(file.definitions) if each.parent is None]
            return answer.model_copy(update={"members": make_items(file.definitions, outermost[:MAX_MEMBERS])})
        return answer.model_copy(update=self._describe(file, chain))

    def _describe(self, file: FileDefinitions, chain: Sequence[int]) -> dict[str, object]:
        """Return the fields of the answer about a definition, given the indexes of it and what encloses it."""
        inner = file.definitions[chain[0]]
        outer = chain[1] if len(chain) > 1 else chain[0]
        members = [index for index, each in enumerate(file.definitions) if each.parent == outer]
        name = SymbolName(inner.name, tuple(inner.qualified_name.split(".")[:-1]))
        code = self._lookup.find_uses(name, (), (), limit=MAX_CALLERS, only="code")
        tests = self._lookup.find_uses(name, (), (), limit=MAX_TESTS, only="test")
        return {
            "definition": _make(file, inner),
            "enclosing": _make(file, file.definitions[outer]) if len(chain) > 1 else None,
            "members": make_items(file.definitions, members[:MAX_MEMBERS]),
            "callers": make_sites(code.files, inner.name, self._files.read_rows),
            "total_callers": code.total,
            "callees": list(self._list_callees(file, chain[0])),
            "tests": make_sites(tests.files, inner.name, self._files.read_rows),
            "total_tests": tests.total,
            "documents": list(self._list_documents(inner.name)),
        }

    def _list_callees(self, file: FileDefinitions, index: int) -> Iterator[Symbol]:
        """Yield the definitions of the project that a definition uses, in the order of their first use."""
        scopes = {index}
        for inner, each in enumerate(file.definitions):
            if each.parent in scopes:
                scopes.add(inner)
        own = file.definitions[index]
        uses = self._documents.symbols.references_of(file.path)
        names = dict.fromkeys(use.name for use in uses if use.scope in scopes and use.name != own.name)
        count = 0
        for name in list(names)[:MAX_NAMES]:
            if count == MAX_CALLEES:
                return
            found = self._lookup.find_exact(name, near=file.path)
            if found is not None and not _contains(file.path, own, found):
                count += 1
                yield make_symbol(found)

    def _list_documents(self, name: str) -> Iterator[DocumentMention]:
        """Yield the sections of documents that mention a name."""
        if len(name) < MIN_MENTION:
            return
        allowed = self._documents.resolve_filter(QueryFilter(source_types=("doc",)))
        hits = self._keywords.search(name, DOCUMENT_HITS, allowed)
        chunks = self._documents.chunks_by_keys(hit.key for hit in hits)
        count = 0
        for hit in hits:
            chunk = chunks.get(hit.key)
            if chunk is None or not self._files.exists(chunk.path):
                continue
            rows = chunk.text.split("\n")
            row = next((number for number, row in enumerate(rows) if name in row), None)
            if row is None:
                continue
            text = shorten_around(rows[row].strip(), name)
            yield DocumentMention(
                source=chunk.path,
                line=chunk.start_line + row,
                heading=chunk.heading,
                text=text,
                hidden_characters=count_hidden(text) + count_hidden(chunk.heading or ""),
            )
            count += 1
            if count == MAX_DOCUMENTS:
                return


def _enclosing(definitions: Sequence[Definition], line: int) -> Iterator[int]:
    """Yield the indexes of the definitions around a line, innermost first."""
    around = [index for index, each in enumerate(definitions) if each.start_line <= line <= each.end_line]
    index = max(around, key=lambda index: (definitions[index].start_line, index), default=None)
    while index is not None:
        if definitions[index].kind not in NAMELESS_KINDS or definitions[index].parent is None:
            yield index
        index = definitions[index].parent


def _make(file: FileDefinitions, definition: Definition) -> Symbol:
    return make_symbol(StoredDefinition(file.path, file.language, file.source_type, definition))


def _contains(path: str, outer: Definition, found: StoredDefinition) -> bool:
    """Return whether a definition is inside another one."""
    inside = outer.start_line <= found.definition.start_line and found.definition.end_line <= outer.end_line
    return found.path == path and inside
