"""Value types shared by the server's modules: frozen dataclasses, type aliases and protocols.

A *chunk* is a range of lines of one file. It has two identifiers: `id` is public and derived from path and content;
`key` is the integer that the document store assigns and by which the keyword and vector indexes refer to it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from agent_brain_server.errors import StoreError

SourceType = Literal["doc", "code", "test"]
SearchMode = Literal["hybrid", "vector", "bm25"]
FileState = Literal["pending", "indexed", "skipped"]
SkipReason = Literal[
    "binary", "cpu_limit", "dangling_symlink", "empty", "generated", "memory_limit", "minified", "missing",
    "other_worktree", "parser_crashed", "pdf_extra_not_installed",
    "secret", "special_file", "symlink", "symlink_loop", "symlink_outside", "too_large",
    "translation", "undecodable_name", "unreadable", "unreadable_pdf",
]  # fmt: skip
LimitReason = Literal["cpu_limit", "memory_limit", "parser_crashed"]
"""Why a file is split by lines only, or skipped if it is a PDF."""

Vectors = npt.NDArray[np.float32]
"""Unit vectors as rows: shape (n, dimension)."""

Keys = npt.NDArray[np.int64]
"""Chunk keys in ascending order: shape (n,)."""


@dataclass(frozen=True, slots=True)
class FileStat:
    """A file found by a directory walk.

    Attributes:
        path: Relative to the project root, with `/` separators.
        size: Bytes.
        mtime_ns: Modification time, nanoseconds since the epoch.
    """

    path: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Skip:
    """A file or directory that is not indexed, with the reason."""

    path: str
    reason: SkipReason


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A file as recorded in the document store.

    Attributes:
        path: Relative to the project root, with `/` separators.
        size: Bytes.
        mtime_ns: Modification time, nanoseconds since the epoch.
        content_hash: SHA-256 of the content, hexadecimal.
        state: `pending` until all chunks are in the keyword index; `skipped` if the file was read and has no text to
            index, so that it is not read again until it changes.
    """

    path: str
    size: int
    mtime_ns: int
    content_hash: str
    state: FileState


@dataclass(frozen=True, slots=True)
class SourceText:
    """A decoded file: the input of the chunker.

    Attributes:
        text: Decoded text with the file's own newlines.
        language: Name of the language from `support/languages.py`; "text" if unknown.
        limit: A limit that the file is known to exceed; it is then split by lines only.
    """

    path: str
    text: str
    language: str
    source_type: SourceType
    content_hash: str
    size: int
    mtime_ns: int
    limit: LimitReason | None = None


class ContextLine(NamedTuple):
    """A line of a chunk's file outside of its range, shortened: 1-based number and text."""

    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """A range of lines of one file, as stored and returned.

    Attributes:
        id: First 24 hex digits of SHA-256 over path, heading, text and context; writing a chunk twice is idempotent.
        text: The lines of the range, as they are in the file.
        start_line: First line, 1-based.
        end_line: Last line, inclusive.
        symbols: Unqualified names that the chunk defines, outermost first (`Client`, `parse_header`).
        heading: Path of headings in a document ("Install > From source"), or the enclosing definition of code
            ("class Client"); `None` at top level.
        context: Lines outside of the range that explain it: the signature above a later part of a definition, and the
            signatures of the members below the head of a class.
        part: Which part of a long definition the chunk is, from 1.
        parts: Number of the definition's parts; 1 if it was not split.
    """

    id: str
    path: str
    text: str
    start_line: int
    end_line: int
    language: str
    source_type: SourceType
    symbols: tuple[str, ...] = ()
    heading: str | None = None
    context: tuple[ContextLine, ...] = ()
    part: int = 1
    parts: int = 1

    def text_in_context(self, *, has_members: bool) -> str:
        """Return the text below its context, and above the signatures of the members if `has_members`."""
        above = [line.text for line in self.context if line.line < self.start_line]
        below = [line.text for line in self.context if line.line >= self.start_line and has_members]
        return "\n".join((*above, self.text, *below))


NAMELESS_KINDS = frozenset({"extension", "impl", "instance", "namespace", "test"})
"""Kinds of definitions that extend a name defined elsewhere, or have a sentence as name.

They are shown in headings and outlines, but are neither symbols of a chunk nor an answer to where a name is defined.
"""

ReferenceKind = Literal["call", "import", "inherit", "use"]
"""Kind of a use of a name; `use` is any use that is not one of the others."""


@dataclass(frozen=True, slots=True)
class Definition:
    """A named definition in a file.

    Attributes:
        name: Unqualified name (`send`).
        qualified_name: Name with those of the enclosing definitions, joined by dots in every language (`Client.send`).
        kind: `class`, `def`, ...: the capture's name in `structure/definition_queries.py`.
        signature: The head on one line, without its body, shortened.
        name_line: Line of the name, 1-based.
        start_line: First line, with decorators, attributes and the documentation comment above.
        end_line: Last line, inclusive.
        parent: Index of the enclosing definition in the file's list, or `None` at top level.
        documentation: First sentence or line of its documentation, shortened; "" if there is none.
    """

    name: str
    qualified_name: str
    kind: str
    signature: str
    name_line: int
    start_line: int
    end_line: int
    parent: int | None = None
    documentation: str = ""


class Reference(NamedTuple):
    """A use of a name in a file. A tuple, because each file has thousands.

    Attributes:
        line: 1-based.
        scope: Index of the innermost enclosing definition in the file's list, or `None` at top level.
    """

    name: str
    line: int
    kind: ReferenceKind
    scope: int | None = None


@dataclass(frozen=True, slots=True)
class SyntaxFacts:
    """Definitions and references of one file, in the order of the file.

    Attributes:
        is_partial: Whether a part of the file could not be parsed.
    """

    definitions: tuple[Definition, ...] = ()
    references: Sequence[Reference] = ()
    is_partial: bool = False


@dataclass(frozen=True, slots=True)
class FileChunks:
    """A file with all its chunks in order: the result of the indexing worker.

    Attributes:
        limit: The limit that the file exceeded, if it was split by lines only.
        facts: Its definitions and references; empty for documents, and for files split by lines only.
    """

    record: FileRecord
    language: str
    source_type: SourceType
    chunks: tuple[Chunk, ...]
    limit: LimitReason | None = None
    facts: SyntaxFacts = SyntaxFacts()


@dataclass(frozen=True, slots=True)
class StoredDefinition:
    """A definition with the file that it is in."""

    path: str
    language: str
    source_type: SourceType
    definition: Definition


@dataclass(frozen=True, slots=True)
class FileDefinitions:
    """The definitions of one file in the order of the file, so that outer ones precede inner ones.

    Attributes:
        is_partial: Whether a part of the file could not be parsed.
    """

    path: str
    language: str
    source_type: SourceType
    definitions: tuple[Definition, ...]
    is_partial: bool


@dataclass(frozen=True, slots=True)
class ReferenceSite:
    """A place where a name is used.

    Attributes:
        line: 1-based.
        enclosing: The innermost definition around it, or `None` at top level.
    """

    line: int
    kind: ReferenceKind
    enclosing: Definition | None


@dataclass(frozen=True, slots=True)
class FileReferences:
    """The places of one file where a name is used, in the order of the file."""

    path: str
    language: str
    source_type: SourceType
    sites: tuple[ReferenceSite, ...]


@dataclass(frozen=True, slots=True)
class FoundDefinitions:
    """A page of definitions.

    Attributes:
        total: Number of definitions on all pages.
    """

    definitions: tuple[StoredDefinition, ...]
    total: int


@dataclass(frozen=True, slots=True)
class FoundReferences:
    """A page of references, by file.

    Attributes:
        total_files: Number of files on all pages.
        total_sites: Number of sites on all pages.
    """

    files: tuple[FileReferences, ...]
    total_files: int
    total_sites: int


@dataclass(frozen=True, slots=True)
class FactCounts:
    """Number of stored definitions and references, and of files a part of which could not be parsed."""

    definitions: int = 0
    references: int = 0
    files_partial: int = 0


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """A chunk with the key that the document store assigned."""

    key: int
    chunk: Chunk


@dataclass(frozen=True, slots=True)
class ReplacedFiles:
    """Result of replacing a batch of files in the document store.

    Attributes:
        removed: Keys of the deleted chunks.
        files: Path and chunks of each file, the input of the keyword index.
    """

    removed: Keys
    files: tuple[tuple[str, tuple[StoredChunk, ...]], ...]


@dataclass(frozen=True, slots=True)
class StoreCounts:
    """Number of rows in the document store; `embedded` counts the chunks that have a vector."""

    files: int
    files_pending: int
    chunks: int
    embedded: int


@dataclass(frozen=True, slots=True)
class ChunkMetadata:
    """The values that ranking needs of a candidate; texts are loaded only for the results.

    Attributes:
        names: Names that the chunk defines, normalized by `tokens.normalize_name`.
    """

    key: int
    path: str
    start_line: int
    end_line: int
    language: str
    source_type: SourceType
    names: tuple[str, ...]
    heading: str | None


@dataclass(frozen=True, slots=True)
class QueryFilter:
    """Restrictions on the results of a query; an empty tuple does not restrict.

    Attributes:
        file_paths: Globs on the path relative to the project root (`src/**/*.py`).
    """

    source_types: tuple[SourceType, ...] = ()
    languages: tuple[str, ...] = ()
    file_paths: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether every chunk is allowed."""
        return not (self.source_types or self.languages or self.file_paths)


@dataclass(frozen=True, slots=True)
class AllowedChunks:
    """A `QueryFilter` resolved by the document store.

    Attributes:
        keys: Keys of the allowed chunks, for the vector index.
        paths: Paths of the allowed files, for the keyword index; `None` if paths are not restricted.
    """

    filter: QueryFilter
    keys: Keys
    paths: tuple[str, ...] | None


class Hit(NamedTuple):
    """A chunk found by a retriever, with its BM25 score (0 and above) or cosine (-1 to 1).

    A tuple, because each query creates hundreds.
    """

    key: int
    score: float


@dataclass(frozen=True, slots=True)
class Signal:
    """One term of a score breakdown: name, value, and contribution to the score."""

    name: str
    value: float
    contribution: float


@dataclass(frozen=True, slots=True)
class RankedChunk:
    """A result with its final score and the scores of both retrievers, `None` if a retriever did not find it."""

    metadata: ChunkMetadata
    score: float
    vector_score: float | None
    bm25_score: float | None
    signals: tuple[Signal, ...] = field(default=())


class KeywordIndex(Protocol):
    """Finds chunks by the words of a query."""

    def search(self, query: str, limit: int, allowed: AllowedChunks | None = None) -> list[Hit]:
        """Return the chunks with the highest BM25 scores, best first."""


class VectorIndex(Protocol):
    """Finds chunks by the vector of a query."""

    def search(self, vector: Vectors, limit: int, allowed: AllowedChunks | None = None) -> list[Hit]:
        """Return the chunks with the highest cosine similarity, best first."""

    @property
    def fault(self) -> StoreError | None:
        """Why the index cannot answer now, or `None`."""


@dataclass(frozen=True, slots=True)
class SyncResult:
    """Difference between a vector engine and the document store.

    Attributes:
        missing: Keys of chunks whose vector is missing, ascending.
        orphans: Keys of vectors without a chunk, which have been deleted, ascending.
    """

    missing: Keys
    orphans: Keys


class Embedder(Protocol):
    """Converts texts to unit vectors."""

    @property
    def name(self) -> str:
        """Model and version, stored with the vectors to detect a change of model."""

    @property
    def dimension(self) -> int:
        """Length of a vector."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector per document text, in order: shape (len(texts), dimension)."""

    def embed_queries(self, queries: Sequence[str]) -> Vectors:
        """Return one unit vector per query; asymmetric models embed queries and documents differently."""


@dataclass(frozen=True, slots=True)
class ChromaServer:
    """Address of a Chroma server.

    Attributes:
        url: Base URL, with tenant and database as its path unless they are the default ones.
        token: Access token; `None` if the server needs none.
    """

    url: str
    token: str | None = field(default=None, repr=False)


def is_in(path: str, parents: Collection[str]) -> bool:
    """Return whether a path equals one of `parents` or is inside one of them."""
    return path in parents or any(path[:end] in parents for end, letter in enumerate(path) if letter == "/")
