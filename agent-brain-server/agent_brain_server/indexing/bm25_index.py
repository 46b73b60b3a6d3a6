"""The keyword index: BM25 (Robertson & Zaragoza 2009) over tantivy, derived from the document store."""

import itertools
import json
import logging
import math
import shutil
import struct
import threading
import uuid
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import numpy as np
import tantivy

from agent_brain_server.errors import StateDirError, StoreError
from agent_brain_server.support.state_files import read_file, replace_file
from agent_brain_server.support.tokens import find_subject, index_text, query_terms
from agent_brain_server.types import AllowedChunks, Chunk, Hit, StoredChunk

ANALYZER = "words"

FIELD_BOOSTS = {"body": 1.0, "symbols": 0.7, "path": 1.0, "heading": 0.5}
"""Weight of a match by where it stands."""


def build_schema() -> tantivy.Schema:
    """Return the fields."""
    builder = tantivy.SchemaBuilder()
    builder.add_unsigned_field("key", fast=True)
    for field in FIELD_BOOSTS:
        builder.add_text_field(field, tokenizer_name=ANALYZER, index_option="freq")
    for field in ("path_raw", "language", "source_type"):
        builder.add_text_field(field, tokenizer_name="raw", index_option="basic")
    return builder.build()


def document_of(stored: StoredChunk) -> tantivy.Document:
    """Return a chunk as the index takes it in."""
    chunk = stored.chunk
    document = tantivy.Document()
    document.add_unsigned("key", stored.key)
    document.add_text("body", index_text(chunk.text))
    document.add_text("symbols", index_text(" ".join(chunk.symbols)))
    document.add_text("path", _path_words(chunk))
    document.add_text("heading", index_text(chunk.heading or ""))
    document.add_text("path_raw", chunk.path)
    document.add_text("language", chunk.language)
    document.add_text("source_type", chunk.source_type)
    return document


def _path_words(chunk: Chunk) -> str:
    """Return the words of the path without the file's suffix, which says no more than the language does."""
    return index_text(str(PurePosixPath(chunk.path).with_suffix("")))


META_NAME = "meta.json"

COMPONENTS = ("fast", "fieldnorm", "idx", "pos", "store", "term")
"""Suffixes of the files that every segment has."""

FOOTER = struct.Struct("<II")
"""What a file ends in: how long the JSON before it is, and a number that every file has."""

FOOTER_MAGIC = 1337

CHECK_LIMIT = 128 * 1024 * 1024
"""Bytes of all segments up to which they are checked: 4 GB in a second, so some 30 ms of a start."""


def find_damaged_segment(directory: Path) -> str | None:
    """Return the name of a file that is missing or was changed, None where every one is sound.

    What a killed commit left is passed over: no segment counts that `meta.json` does not name.
    """
    try:
        names = list(_list_files(json.loads((directory / META_NAME).read_bytes())))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return META_NAME
    try:
        if sum((directory / name).stat().st_size for name in names) > CHECK_LIMIT:
            return None
    except OSError as exc:
        return str(exc.filename)
    return next((name for name in names if not _is_sound(directory / name)), None)


def _list_files(meta: dict[str, list[dict[str, object]]]) -> Iterator[str]:
    for segment in meta["segments"]:
        stem = uuid.UUID(str(segment["segment_id"])).hex  # nothing that leads to another directory
        yield from (f"{stem}.{component}" for component in COMPONENTS)
        deletes = segment["deletes"]
        if isinstance(deletes, dict):
            yield f"{stem}.{int(str(deletes['opstamp']))}.del"


def _is_sound(path: Path) -> bool:
    try:
        data = memoryview(path.read_bytes())
        length, magic = FOOTER.unpack(data[-FOOTER.size :])
        end = len(data) - FOOTER.size - length
        footer = json.loads(bytes(data[end : -FOOTER.size]))
        return bool(magic == FOOTER_MAGIC and zlib.crc32(data[:end]) == footer["crc"])
    except (OSError, ValueError, KeyError, TypeError, struct.error):
        return False


logger = logging.getLogger(__name__)

INDEX_VERSION = 1
"""Of the fields and of what `tokens.py` makes of a text; an index of another version is built anew."""

MAX_QUERY_TERMS = 64
"""Distinct terms of a query that are looked up: more than any question has, and the bound of its cost."""

SUBJECT_BOOST = 1.5
"""Weight of the terms of a text's first line: what follows, as in an issue, has more words and says less."""

OVERFETCH = 1.5
"""Hits asked for beyond what a filter should leave, as chunks that match a filter do not lie evenly."""

MAX_OVERFETCHED = 1_000
"""Hits up to which it is quicker to drop what a filter forbids than to name all of its files to tantivy."""

WRITER_MEMORY = 15_000_000
"""Bytes that tantivy gathers before it writes a segment: its least, and as fast here as ten times that."""

BINDING_NAME = "index.json"
"""Remembers which document store, and which version of the fields, the index was made of."""

MAX_BINDING_BYTES = 1_000  # two short values

RUST_PANIC = "PanicException"
"""Name of what tantivy's bindings raise where tantivy gives up, as on damage: derived from `BaseException` alone."""


class BM25IndexManager:
    """The keyword index of one project. Any thread searches; changes wait for each other and show after `commit`.

    Args:
        persist_dir: The index's directory; nothing is opened before `bind_store`.
    """

    def __init__(self, persist_dir: Path) -> None:
        self._persist_dir = persist_dir
        self._lock = threading.RLock()
        self._schema = build_schema()
        self._index: tantivy.Index | None = None
        self._writer: tantivy.IndexWriter | None = None
        self._failure: str | None = None

    def bind_store(self, store_id: str) -> bool:
        """Open the index for a document store.

        An index of another store, of another version or one that can't be read is emptied: it is derived.

        Returns:
            Whether the index was made or emptied, so that every file has to be indexed again.

        Raises:
            StoreError: The directory cannot be written.
        """
        binding = {"store_id": store_id, "version": INDEX_VERSION}
        with self._lock, self._translate_errors():
            if self._read_binding() == binding and self._try_open():
                return False
            self._release()
            shutil.rmtree(self._persist_dir, ignore_errors=True)
            self._persist_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._open()
            self._write_binding(binding)
            return True

    def find_fault(self) -> str | None:
        """Say what keeps the index from answering, None where nothing is known of that; costs a `stat`."""
        if self._index is not None and not (self._persist_dir / META_NAME).is_file():
            return f"the keyword index in {self._persist_dir} was removed"
        return self._failure

    def index_files(self, batch: Sequence[tuple[str, Sequence[StoredChunk]]]) -> None:
        """Put files with all their chunks in place of what the index held of them; seen after `commit`."""
        with self._changing():
            writer = self._take_writer()
            for path, chunks in batch:
                writer.delete_documents_by_term("path_raw", path)
                for stored in chunks:
                    writer.add_document(document_of(stored))

    def delete_paths(self, paths: Iterable[str]) -> None:
        """Take files out of the index; seen after `commit`."""
        with self._changing():
            writer = self._take_writer()
            for path in paths:
                writer.delete_documents_by_term("path_raw", path)

    def commit(self) -> None:
        """Write every change to disk and show it to the searches that follow."""
        with self._changing():
            if self._writer is not None:
                self._writer.commit()
                self._opened().reload()

    def search(self, query: str, limit: int, allowed: AllowedChunks | None = None) -> list[Hit]:
        """Return the best chunks for a query, the best first.

        Args:
            query: Words and names; its punctuation means nothing, and its first line counts more where it has several.
            limit: Most hits to return.
            allowed: What the answer may hold; None for everything.
        """
        terms = _weigh_terms(query)
        if not terms or limit < 1:
            return []
        try:
            with self._translate_errors():
                searcher = self._opened().searcher()
                if not searcher.num_docs:
                    return []
                hits = None if allowed is None else self._search_beyond(searcher, terms, limit, allowed)
                return self._best(searcher, self._build_query(terms, allowed), limit) if hits is None else hits
        except StoreError as exc:
            self._failure = exc.message
            raise

    def count(self) -> int:
        """Return how many chunks the index holds."""
        with self._translate_errors():
            return int(self._opened().searcher().num_docs)

    def clear(self) -> None:
        """Forget every chunk, at once."""
        with self._changing():
            self._take_writer().delete_all_documents()
            self.commit()

    def release_writer(self) -> None:
        """Give back the threads and the memory that changes need; what was not committed is lost."""
        with self._lock:
            self._writer = None

    def close(self) -> None:
        """Give up what was not committed and let go of the files. Safe to call twice."""
        with self._lock:
            self._release()

    def _search_beyond(
        self, searcher: tantivy.Searcher, terms: Mapping[str, float], limit: int, allowed: AllowedChunks
    ) -> list[Hit] | None:
        """Return the best allowed chunks from among the best of all; None where these are too few to tell.

        The order is the same with and without a filter, so that the answer is too.
        """
        wanted = math.ceil(limit * OVERFETCH * searcher.num_docs / max(1, len(allowed.keys)))
        if wanted > MAX_OVERFETCHED:
            return None
        best = self._best(searcher, self._build_query(terms, None), wanted)
        is_allowed = np.isin([hit.key for hit in best], allowed.keys).tolist()
        hits = list(itertools.compress(best, is_allowed))
        return hits[:limit] if len(hits) >= limit or len(best) < wanted else None

    def _best(self, searcher: tantivy.Searcher, query: tantivy.Query, limit: int) -> list[Hit]:
        found = searcher.search(query, limit, count=False).hits
        keys = searcher.fast_field_values("key", [address for _, address in found])
        return [Hit(int(key), score) for key, (score, _) in zip(keys, found, strict=True) if key is not None]

    def _build_query(self, terms: Mapping[str, float], allowed: AllowedChunks | None) -> tantivy.Query:
        wanted = [
            tantivy.Query.boost_query(tantivy.Query.term_query(self._schema, field, term, "freq"), boost * weight)
            for field, boost in FIELD_BOOSTS.items()
            for term, weight in terms.items()
            if boost > 0
        ]
        query = tantivy.Query.boolean_query([(tantivy.Occur.Should, part) for part in wanted])
        limits = [] if allowed is None else self._limits_of(allowed)
        if not limits:
            return query
        silent = [tantivy.Query.const_score_query(part, 0.0) for part in limits]
        return tantivy.Query.boolean_query([(tantivy.Occur.Must, part) for part in (query, *silent)])

    def _limits_of(self, allowed: AllowedChunks) -> list[tantivy.Query]:
        limits: tuple[tuple[str, tuple[str, ...] | None], ...] = (
            ("language", allowed.filter.languages or None),
            ("source_type", allowed.filter.source_types or None),
            ("path_raw", allowed.paths),
        )
        return [
            tantivy.Query.term_set_query(self._schema, field, list(values))
            for field, values in limits
            if values is not None
        ]

    def _opened(self) -> tantivy.Index:
        if self._index is None:
            raise StoreError(f"The keyword index in {self._persist_dir} is not open.")
        return self._index

    def _take_writer(self) -> tantivy.IndexWriter:
        if self._writer is None:
            writer = self._opened().writer(heap_size=WRITER_MEMORY, num_threads=1)
            # what a killed commit left has the names that the next one wants, and tantivy never writes over a file
            writer.garbage_collect_files()
            self._writer = writer
        return self._writer

    def _try_open(self) -> bool:
        """Open what is there; False where it can't be read or is damaged."""
        if damaged := find_damaged_segment(self._persist_dir):
            logger.warning("%s of the keyword index is damaged", damaged)
            return False
        try:
            with self._translate_errors():
                self._open()
        except StoreError:
            logger.warning("the keyword index can't be opened", exc_info=True)
            return False
        return True

    def _open(self) -> None:
        index = tantivy.Index(self._schema, path=str(self._persist_dir), reuse=True)
        words = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace()).build()
        index.register_tokenizer(ANALYZER, words)
        index.config_reader("manual")
        index.reload()
        self._index = index

    def _release(self) -> None:
        self._writer = None
        self._index = None

    def _read_binding(self) -> object:
        try:
            return json.loads(read_file(self._persist_dir / BINDING_NAME, MAX_BINDING_BYTES))
        except (OSError, StateDirError, ValueError):
            return None

    def _write_binding(self, binding: dict[str, object]) -> None:
        replace_file(self._persist_dir / BINDING_NAME, json.dumps(binding).encode(), durable=False)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Let one change at a time through; after a failure what was not committed is lost and the next one can work.

        A writer that failed, as on a full disk, fails for ever: it is let go of.
        """
        with self._lock, self._translate_errors():
            try:
                yield
            except BaseException:
                self._writer = None
                raise

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """Raise what tantivy and the file system raise as `StoreError` that names the directory."""
        try:
            yield
        except (ValueError, OSError) as exc:
            raise StoreError(f"The keyword index in {self._persist_dir} cannot be used: {exc}.") from exc
        except BaseException as exc:
            if type(exc).__name__ != RUST_PANIC:
                raise
            message = f"The keyword index in {self._persist_dir} is damaged: {exc}."
            raise StoreError(message, code="store_damaged") from exc


def _weigh_terms(query: str) -> dict[str, float]:
    """Return the terms of a query that are looked up, with their weights."""
    subject = find_subject(query)
    stressed = frozenset(query_terms(subject, limit=MAX_QUERY_TERMS) if subject else ())
    terms = query_terms(query, limit=MAX_QUERY_TERMS)
    return {term: SUBJECT_BOOST if term in stressed else 1.0 for term in terms}
