"""Outline a file by its definitions or headings, and a directory by its files and their outermost definitions."""

from collections import Counter
from collections.abc import Sequence

from agent_brain_server.errors import NotFoundError
from agent_brain_server.indexing.chunking.text import find_sections
from agent_brain_server.models.symbols import OutlineDirectory, OutlineFile, OutlineItem
from agent_brain_server.services.file_reader import FileReader
from agent_brain_server.services.symbol_models import make_items
from agent_brain_server.storage.document_store import DocumentStore
from agent_brain_server.support.text import count_hidden
from agent_brain_server.types import Definition, SourceText

MAX_FILE_ITEMS = 30
"""Outermost definitions of a file in the outline of a directory."""


class Outlines:
    """Outlines of the files and directories of one project.

    Args:
        documents: Holds the files and their syntax facts.
        files: Reads documents, and refuses what is not indexed.
    """

    def __init__(self, documents: DocumentStore, files: FileReader) -> None:
        self._documents = documents
        self._files = files

    def outline_file(self, path: str) -> OutlineFile:
        """Return all definitions of a file, or the headings of a document.

        Args:
            path: From `FileReader.locate`.

        Raises:
            InvalidRequestError: It is a directory.
            NotFoundError: It is not in the index.
        """
        source = self._files.read(path)
        found = self._documents.symbols.definitions_of(path)
        if found is None:
            return OutlineFile(source=path, language=source.language, items=_find_headings(source), is_partial=False)
        items = make_items(found.definitions, range(len(found.definitions)))
        return OutlineFile(source=path, language=found.language, items=items, is_partial=found.is_partial)

    def is_directory(self, path: str) -> bool:
        """Return whether a path from `FileReader.locate` is the root, or a directory with indexed files."""
        return not path or (path not in (records := self._documents.file_records([path])) and bool(records))

    def outline_directory(
        self, path: str, limit: int, offset: int
    ) -> tuple[list[OutlineDirectory], list[OutlineFile], int]:
        """Return the subdirectories, one page of the files with their outermost definitions, and the number of files.

        Args:
            path: From `FileReader.locate`.
            limit: Maximum number of files.
            offset: Number of files to skip.

        Raises:
            NotFoundError: Nothing is indexed.
        """
        records = self._documents.file_records([path] if path else None)
        if not records:
            raise NotFoundError(
                "Nothing is indexed yet.", code="not_indexed", hint="Index the project with: agent-brain index"
            )
        prefix = f"{path}/" if path else ""
        below = [record.path[len(prefix) :] for record in records.values() if record.state != "skipped"]
        counts = Counter(name.partition("/")[0] for name in below if "/" in name)
        names = sorted(name for name in below if "/" not in name and self._files.exists(prefix + name))
        directories = [OutlineDirectory(source=prefix + name, files=count) for name, count in sorted(counts.items())]
        page = [self._summarize(prefix + name) for name in names[offset : offset + limit]]
        return directories, page, len(names)

    def _summarize(self, path: str) -> OutlineFile:
        """Return the outermost definitions of a file."""
        found = self._documents.symbols.definitions_of(path)
        if found is None:
            return OutlineFile(source=path, language="", items=[], is_partial=False)
        outermost = [index for index, each in enumerate(found.definitions) if _is_outermost(found.definitions, each)]
        items = make_items(found.definitions, outermost[:MAX_FILE_ITEMS])
        return OutlineFile(source=path, language=found.language, items=items, is_partial=found.is_partial)


def _is_outermost(definitions: Sequence[Definition], each: Definition) -> bool:
    """Return whether a definition is at top level, apart from namespaces and modules."""
    while each.parent is not None:
        each = definitions[each.parent]
        if each.kind not in ("namespace", "module", "mod"):
            return False
    return True


def _find_headings(source: SourceText) -> list[OutlineItem]:
    """Return the sections of a document."""
    rows = source.text.removesuffix("\n").split("\n")
    sections = [section for section in find_sections(rows, source.language) if section.path]
    items = []
    for index, section in enumerate(sections):
        depth = len(section.path) - 1
        after = (later.start for later in sections[index + 1 :] if len(later.path) <= depth + 1)
        title = section.path[-1]
        items.append(
            OutlineItem(
                depth=depth,
                kind="heading",
                name=title,
                signature=title,
                documentation="",
                line=section.start + 1,
                start_line=section.start + 1,
                end_line=next(after, len(rows)),
                hidden_characters=count_hidden(title),
            )
        )
    return items
