"""Answer from the files and their syntax facts: lines of a file."""

from collections.abc import Callable

from agent_brain_server.models.query import IndexFreshness
from agent_brain_server.models.symbols import (
    DEFAULT_READ_LINES,
    MAX_READ_LINE_LENGTH,
    MAX_READ_LINES,
    FileLines,
)
from agent_brain_server.services.file_reader import FileReader, select_lines
from agent_brain_server.services.freshness import Barrier
from agent_brain_server.storage.document_store import DocumentStore
from agent_brain_server.support.text import count_hidden


class SymbolService:
    """Answers about the files and definitions of one project, from any thread.

    Args:
        documents: Holds the syntax facts.
        files: Reads the project's files.
        freshness: Returns how fresh the index is, given a barrier after the changes to count.
    """

    def __init__(
        self, documents: DocumentStore, files: FileReader, freshness: Callable[[Barrier], IndexFreshness]
    ) -> None:
        self._documents = documents
        self._files = files
        self._freshness = freshness

    def read_file(self, path: str, first: int, last: int | None, barrier: Barrier) -> FileLines:
        """Return lines of an indexed file as they are on disk now.

        Args:
            path: Relative to the project root, or absolute.
            first: First line, 1-based.
            last: Last line, inclusive; `None`: as many as fit.
            barrier: After the changes made before the request.

        Raises:
            InvalidRequestError: The path is outside the project or a directory, or the range is invalid.
            NotFoundError: The file is not in the index.
        """
        freshness = self._freshness(barrier)
        source = self._files.read(self._files.locate(path))
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
