"""The values that cross modules inside the server: one vocabulary, frozen, without behaviour that needs a store.

A *chunk* is a run of lines of one file. It has two names: `id`, public and derived from path and content, and `key`,
the integer that the document store gave it and by which the derived indexes (BM25, vectors) refer to it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol, get_args

import numpy as np
import numpy.typing as npt

SourceType = Literal["doc", "code", "test"]
SearchMode = Literal["hybrid", "vector", "bm25"]
VectorEngineName = Literal["exact", "chroma"]
FileState = Literal["pending", "indexed", "skipped"]
SkipReason = Literal[
    "binary", "cpu_limit", "dangling_symlink", "empty", "generated", "memory_limit", "minified", "missing",
    "other_worktree", "parser_crashed", "pdf_extra_not_installed",
    "secret", "special_file", "symlink", "symlink_loop", "symlink_outside", "too_large",
    "translation", "undecodable_name", "unreadable", "unreadable_pdf",
]  # fmt: skip
LimitReason = Literal["cpu_limit", "memory_limit", "parser_crashed"]

LIMIT_REASONS: tuple[LimitReason, ...] = get_args(LimitReason)
"""Why a file is only cut by lines, or left out if it has no lines (a PDF)."""

Vectors = npt.NDArray[np.float32]
"""Shape (n, dimension), each row of unit length."""

Keys = npt.NDArray[np.int64]
"""Shape (n,), chunk keys, ascending."""


@dataclass(frozen=True, slots=True)
class FileStat:
    """A file that the walker found.

    Attributes:
        path: Relative to the project root, `/` separators.
        size: Bytes.
        mtime_ns: Modification time, nanoseconds since the epoch.
    """

    path: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Skip:
    """A file or directory that is not indexed, and why."""

    path: str
    reason: SkipReason


@dataclass(frozen=True, slots=True)
class FileRecord:
    """What the document store remembers of a file.

    Attributes:
        content_hash: SHA-256 of the bytes, hex.
        state: `pending` until every one of its chunks is in the keyword index; `skipped` where it was read and holds
            nothing to index (a binary), so that it is not read again until it changes.
    """

    path: str
    size: int
    mtime_ns: int
    content_hash: str
    state: FileState


@dataclass(frozen=True, slots=True)
class SourceText:
    """A file read and decoded: the chunker's input.

    Attributes:
        text: Decoded text with newlines as they are in the file.
        language: A lower-case name out of `indexing/file_types.py`; "text" where none is known.
        limit: The limit that the file is known to exceed, so that it is only cut by lines.
    """

    path: str
    text: str
    language: str
    source_type: SourceType
    content_hash: str
    size: int
    mtime_ns: int
    limit: LimitReason | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """A run of lines of one file, as stored and as answered.

    Attributes:
        id: 24 hex digits of SHA-256 over path, heading and text: writing twice is writing once.
        start_line: First line, 1-based.
        end_line: Last line, inclusive.
        symbols: Names that the chunk defines, outermost first, without qualification (`parse_header`, `Client`).
        heading: Section path of a document ("Install > From source") or the enclosing definition of a piece of code
            ("class Client"); None where there is none.
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


@dataclass(frozen=True, slots=True)
class FileChunks:
    """One file with all of its chunks, in order: what the indexing worker sends and the stores take.

    Attributes:
        limit: The limit that the file exceeds, so that it was only cut by lines.
    """

    record: FileRecord
    language: str
    source_type: SourceType
    chunks: tuple[Chunk, ...]
    limit: LimitReason | None = None


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """A chunk together with the key that the document store gave it."""

    key: int
    chunk: Chunk


@dataclass(frozen=True, slots=True)
class ReplacedFiles:
    """What a batch of files did to the store.

    Attributes:
        removed: Keys that no longer exist.
        files: Path and chunks of each file of the batch, as the keyword index takes them.
    """

    removed: Keys
    files: tuple[tuple[str, tuple[StoredChunk, ...]], ...]


@dataclass(frozen=True, slots=True)
class StoreCounts:
    """How much the store holds; `embedded` counts the chunks that have a vector."""

    files: int
    files_pending: int
    chunks: int
    embedded: int


@dataclass(frozen=True, slots=True)
class ChunkMetadata:
    """What ranking needs of a candidate; the text is fetched for the few that are answered.

    Attributes:
        names: What the chunk defines, as `tokens.whole_name` spells it.
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
    """Which chunks a query may answer with; an empty tuple sets no limit.

    Attributes:
        file_paths: Globs on the project-relative path (`src/**/*.py`).
    """

    source_types: tuple[SourceType, ...] = ()
    languages: tuple[str, ...] = ()
    file_paths: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """True where every chunk is allowed."""
        return not (self.source_types or self.languages or self.file_paths)


@dataclass(frozen=True, slots=True)
class AllowedChunks:
    """A `QueryFilter` resolved by the document store, for the two indexes.

    Attributes:
        keys: Every allowed chunk, for the vector index.
        paths: The allowed files, for the keyword index; None where only language and source type limit.
    """

    filter: QueryFilter
    keys: Keys
    paths: tuple[str, ...] | None


class Hit(NamedTuple):
    """A chunk that a retriever found. `score` is the retriever's own: BM25 (0 and up) or cosine (-1 to 1).

    A tuple, as each question makes hundreds.
    """

    key: int
    score: float


@dataclass(frozen=True, slots=True)
class Signal:
    """One term of a final score, for `explain`: its name, its value, and what it added."""

    name: str
    value: float
    contribution: float


@dataclass(frozen=True, slots=True)
class RankedChunk:
    """A chunk with its final score and where that came from; absent retrievers are None."""

    metadata: ChunkMetadata
    score: float
    vector_score: float | None
    bm25_score: float | None
    signals: tuple[Signal, ...] = field(default=())


class Embedder(Protocol):
    """Texts to unit vectors."""

    @property
    def name(self) -> str:
        """Identifies model and version; kept with the vectors, so that a change of model is noticed."""

    @property
    def dimension(self) -> int:
        """Length of a vector."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector per document text, in order: shape (len(texts), dimension)."""

    def embed_queries(self, queries: Sequence[str]) -> Vectors:
        """Return one unit vector per query; an asymmetric model embeds the same words differently as a document."""


@dataclass(frozen=True, slots=True)
class ChromaServer:
    """A Chroma server that keeps vectors for this one.

    Attributes:
        url: Its address, with tenant and database as its path if they are not the default ones.
        token: What is shown to it; None where it asks for nothing.
    """

    url: str
    token: str | None = field(default=None, repr=False)


def is_in(path: str, places: Collection[str]) -> bool:
    """Whether a path is one of these files or directories, or inside one of them."""
    return path in places or any(path[:end] in places for end, letter in enumerate(path) if letter == "/")
