"""Answer from the files and their syntax facts: definitions, uses, outlines, lines of a file."""

from collections.abc import Callable

from agent_brain_server.errors import InvalidRequestError
from agent_brain_server.models.query import IndexFreshness
from agent_brain_server.models.symbols import (
    DEFAULT_READ_LINES,
    MAX_READ_LINE_LENGTH,
    MAX_READ_LINES,
    FileLines,
    FileRequest,
    NameMatch,
    OutlineAnswer,
    OutlineRequest,
    ReferencesAnswer,
    ReferencesRequest,
    SymbolsAnswer,
    SymbolsRequest,
)
from agent_brain_server.search.symbol_names import MAX_NAME_LENGTH, SymbolName, parse_symbol_name
from agent_brain_server.services.file_reader import FileReader, select_lines
from agent_brain_server.services.freshness import Barrier
from agent_brain_server.services.outlines import Outlines
from agent_brain_server.services.related_code import RelatedCode
from agent_brain_server.services.symbol_lookup import Lookup, SymbolFilter, SymbolLookup
from agent_brain_server.services.symbol_models import make_sites, make_symbol
from agent_brain_server.support.text import count_hidden

MAX_MEANINGS = 10
"""Definitions that are listed with the uses of an ambiguous name."""


class SymbolService:
    """Answers about the files and definitions of one project, from any thread.

    Args:
        lookup: Finds definitions and uses.
        files: Reads the project's files.
        outlines: Outlines files and directories.
        related: Finds what belongs to a line; a caller uses it directly.
        freshness: Returns how fresh the index is, given a barrier after the changes to count.
    """

    def __init__(
        self,
        lookup: SymbolLookup,
        files: FileReader,
        outlines: Outlines,
        related: RelatedCode,
        freshness: Callable[[Barrier], IndexFreshness],
    ) -> None:
        self._lookup = lookup
        self._files = files
        self._outlines = outlines
        self.related = related
        self._freshness = freshness

    def find_symbols(self, request: SymbolsRequest, barrier: Barrier) -> SymbolsAnswer:
        """Return the definitions of a name, or the nearest defined names.

        Args:
            request: The name and the restrictions.
            barrier: After the changes made before the request.

        Raises:
            InvalidRequestError: The name or a glob is invalid.
        """
        freshness = self._freshness(barrier)
        wanted = _parse(request.name)
        only = SymbolFilter(
            tuple(request.kind), tuple(request.path), tuple(request.language), tuple(request.source_type)
        )
        found = self._lookup.find(wanted, only, limit=request.limit, offset=request.offset)
        return SymbolsAnswer(
            name=wanted.qualified,
            match=found.match,
            symbols=list(map(make_symbol, found.definitions)),
            total=found.total,
            next_offset=_next_offset(request.offset, len(found.definitions), found.total),
            nearest=[] if found.total or not only.is_empty else self._lookup.suggest(wanted),
            index=freshness,
        )

    def find_references(self, request: ReferencesRequest, barrier: Barrier) -> ReferencesAnswer:
        """Return the uses of a name, and what it may mean.

        Args:
            request: The name and the restrictions.
            barrier: After the changes made before the request.

        Raises:
            InvalidRequestError: The name or a glob is invalid.
        """
        freshness = self._freshness(barrier)
        wanted = _parse(request.name)
        meanings = self._lookup.find(wanted, limit=MAX_MEANINGS)
        used = _choose_spelling(wanted, meanings)
        uses = self._lookup.find_uses(used, request.kind, request.path, limit=request.limit, offset=request.offset)
        is_known = meanings.match not in ("part", "none")
        match: NameMatch = meanings.match if is_known else "exact" if uses.total else "none"
        files = make_sites(uses.files, used.name, self._files.read_rows)
        taken = sum(len(file.sites) for file in uses.files)
        return ReferencesAnswer(
            name=used.qualified,
            match=match,
            definitions=list(map(make_symbol, meanings.definitions)) if is_known else [],
            total_definitions=meanings.total if is_known else 0,
            files=files,
            total=uses.total,
            total_files=uses.total_files,
            next_offset=_next_offset(request.offset, taken, uses.total),
            nearest=[] if is_known or uses.total else self._lookup.suggest(wanted),
            index=freshness,
        )

    def outline(self, request: OutlineRequest, barrier: Barrier) -> OutlineAnswer:
        """Return the outline of a file or directory.

        Args:
            request: The path.
            barrier: After the changes made before the request.

        Raises:
            InvalidRequestError: The path is outside the project.
            NotFoundError: The path is not in the index.
        """
        freshness = self._freshness(barrier)
        located = self._files.locate(request.path)
        limit, offset = request.limit, request.offset
        if self._outlines.is_directory(located):
            directories, files, total = self._outlines.outline_directory(located, limit, offset)
            return OutlineAnswer(
                path=located,
                kind="directory",
                directories=directories,
                files=files,
                total=total,
                next_offset=_next_offset(offset, len(files), total),
                index=freshness,
            )
        file = self._outlines.outline_file(located)
        total = len(file.items)
        page = file.model_copy(update={"items": file.items[offset : offset + limit]})
        return OutlineAnswer(
            path=located,
            kind="file",
            directories=[],
            files=[page],
            total=total,
            next_offset=_next_offset(offset, len(page.items), total),
            index=freshness,
        )

    def read_file(self, path: str, request: FileRequest, barrier: Barrier) -> FileLines:
        """Return lines of an indexed file as they are on disk now.

        Args:
            path: Relative to the project root, or absolute.
            request: The range of lines.
            barrier: After the changes made before the request.

        Raises:
            InvalidRequestError: The path is outside the project or a directory, or the range is invalid.
            NotFoundError: The file is not in the index.
        """
        freshness = self._freshness(barrier)
        source = self._files.read(self._files.locate(path))
        first, last = request.first, request.last
        limit = DEFAULT_READ_LINES if last is None else MAX_READ_LINES
        lines = select_lines(source.text, source.path, first, last, limit)
        text = "\n".join(row[:MAX_READ_LINE_LENGTH] for row in lines.rows)
        asked = lines.total if last is None else min(last, lines.total)
        return FileLines(
            source=source.path,
            language=source.language,
            source_type=source.source_type,
            start_line=lines.start,
            end_line=lines.end,
            total_lines=lines.total,
            text=text,
            next_line=lines.end + 1 if lines.end < asked else None,
            cut_lines=sum(len(row) > MAX_READ_LINE_LENGTH for row in lines.rows),
            hidden_characters=count_hidden(text) + count_hidden(source.path),
            index=freshness,
        )


def _parse(name: str) -> SymbolName:
    """Return the parsed name.

    Raises:
        InvalidRequestError: It is empty or too long.
    """
    parsed = parse_symbol_name(name)
    if parsed is None:
        raise InvalidRequestError(
            f"name is not the name of a definition, of at most {MAX_NAME_LENGTH} characters.",
            code="invalid_name",
            hint="Write it as in the code, for example Client.send or std::move.",
        )
    return parsed


def _choose_spelling(wanted: SymbolName, meanings: Lookup) -> SymbolName:
    """Return the name as its definitions spell it, if they match in another case."""
    if meanings.match in ("part", "none") or any(each.definition.name == wanted.name for each in meanings.definitions):
        return wanted
    return SymbolName(meanings.definitions[0].definition.name, wanted.qualifier)


def _next_offset(offset: int, taken: int, total: int) -> int | None:
    return offset + taken if taken and offset + taken < total else None
