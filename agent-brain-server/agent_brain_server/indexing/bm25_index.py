"""The keyword index: BM25 (Robertson & Zaragoza 2009) with tantivy, derived from the document store."""

import itertools
import json
import logging
import math
import shutil
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tantivy

from agent_brain_server.errors import StateDirError, StoreError
from agent_brain_server.indexing.keyword_documents import ANALYZER, build_schema, make_documents
from agent_brain_server.indexing.keyword_statistics import KeywordStatistics
from agent_brain_server.support.state_files import read_file, replace_file
from agent_brain_server.support.tokens import find_subject, query_terms
from agent_brain_server.types import AllowedChunks, Hit, StoredChunk

logger = logging.getLogger(__name__)

INDEX_VERSION = 3
"""Version of the documents and of the tokenizer in `support/tokens.py`; an index of another version is rebuilt."""

FIELD_BOOSTS = {"body": 1.0, "symbols": 0.7, "path": 1.0, "heading": 0.5}
"""Weight of a match by field."""

MAX_QUERY_TERMS = 64  # distinct terms of a query that are looked up, a bound on its cost
SUBJECT_BOOST = 1.5  # weight of the terms in a text's first line; the body of an issue has more words and says less
OVERFETCH = 1.5  # hits fetched per hit that a filter is expected to keep, as matches are unevenly distributed
MAX_OVERFETCHED = 1_000  # above it, passing the allowed files to tantivy is faster than filtering its hits
MAX_TIED = 5_000  # hits fetched to order those with equal scores at the limit
TIED_HITS = 50  # hits fetched beyond the limit at first
SCORE_DIGITS = 4  # significant digits of a score; the last ones of a sum depend on its order, so on the index's history
WRITER_MEMORY = 15_000_000  # bytes that tantivy buffers per segment: its minimum, and as fast here as ten times as much

BINDING_NAME = "index.json"
"""File with the id of the document store and the `INDEX_VERSION` from which the index was built."""

TINY = 1e-30  # a score; smaller ones do not occur

_FieldWeights = Mapping[tuple[str, str], float]
"""Weight by field and term."""

MAX_BINDING_BYTES = 1_000  # two short values

RUST_PANIC = "PanicException"
"""Exception of the bindings for a panic in tantivy, for example on corruption; derived from `BaseException`."""

META_NAME = "meta.json"


class BM25IndexManager:
    """The keyword index of one project. Thread-safe; changes are serialized, and visible after `commit`.

    Args:
        persist_dir: Directory of the index; `bind_store` opens it.
    """

    def __init__(self, persist_dir: Path) -> None:
        self._persist_dir = persist_dir
        self._lock = threading.RLock()
        self._schema = build_schema()
        self._index: tantivy.Index | None = None
        self._writer: tantivy.IndexWriter | None = None
        self._failure: str | None = None
        self._generation = 0  # increased when changes become visible
        self._kept: tuple[int, tantivy.Searcher, KeywordStatistics] | None = None

    def bind_store(self, store_id: str) -> bool:
        """Open the index of a document store.

        An index of another store or version, or one that is corrupt, is replaced by an empty one.

        Returns:
            Whether the index is new, so that all files have to be indexed again.

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
        """Return why the index cannot be searched, or `None` if no fault is known; takes one `stat`."""
        if self._index is not None and not (self._persist_dir / META_NAME).is_file():
            return f"the keyword index in {self._persist_dir} was removed"
        return self._failure

    def index_files(self, batch: Sequence[tuple[str, Sequence[StoredChunk]]]) -> None:
        """Replace all chunks of each file; visible after `commit`."""
        with self._change():
            writer = self._get_writer()
            for path, chunks in batch:
                writer.delete_documents_by_term("path_raw", path)
                for document in make_documents(path, chunks):
                    writer.add_document(document)

    def delete_paths(self, paths: Iterable[str]) -> None:
        """Delete files; visible after `commit`."""
        with self._change():
            writer = self._get_writer()
            for path in paths:
                writer.delete_documents_by_term("path_raw", path)

    def commit(self) -> None:
        """Write all changes to disk and make them visible to searches."""
        with self._change():
            if self._writer is not None:
                self._writer.commit()
                self._require_index().reload()
                self._generation += 1

    def search(self, query: str, limit: int, allowed: AllowedChunks | None = None) -> list[Hit]:
        """Return the chunks with the highest BM25 scores, best first.

        Args:
            query: Words and identifiers; punctuation is ignored, and the subject line of several lines weighs more.
            limit: Maximum number of hits.
            allowed: Restrict the hits to these chunks; `None` allows all.

        Raises:
            StoreError: The index is not open, or cannot be read.
        """
        terms = _weight_terms(query)
        if not terms or limit < 1:
            return []
        try:
            with self._translate_errors():
                searcher, statistics = self._snapshot()
                weights = self._weight_fields(terms, statistics)
                if not weights:
                    return []
                hits = None if allowed is None else self._search_and_filter(searcher, weights, limit, allowed)
                return self._search_best(searcher, self._build_query(weights, allowed), limit) if hits is None else hits
        except StoreError as exc:
            self._failure = exc.message
            raise

    def count(self) -> int:
        """Return the number of chunks in the index."""
        with self._translate_errors():
            return self._snapshot()[1].chunks

    def clear(self) -> None:
        """Delete all chunks and commit."""
        with self._change():
            self._get_writer().delete_all_documents()
            self.commit()

    def release_writer(self) -> None:
        """Free the threads and memory of the writer; uncommitted changes are lost."""
        with self._lock:
            self._writer = None

    def close(self) -> None:
        """Close the files; uncommitted changes are lost. Idempotent."""
        with self._lock:
            self._release()

    def _search_and_filter(
        self, searcher: tantivy.Searcher, weights: _FieldWeights, limit: int, allowed: AllowedChunks
    ) -> list[Hit] | None:
        """Search without a filter and drop the hits that are not allowed; `None` if too few hits remain.

        The order of hits is the same as that of a filtered search.
        """
        wanted = math.ceil(limit * OVERFETCH * self._snapshot()[1].chunks / max(1, len(allowed.keys)))
        if wanted > MAX_OVERFETCHED:
            return None
        best = self._search_best(searcher, self._build_query(weights, None), wanted)
        is_allowed = np.isin([hit.key for hit in best], allowed.keys).tolist()
        hits = list(itertools.compress(best, is_allowed))
        return hits[:limit] if len(hits) >= limit or len(best) < wanted else None

    def _search_best(self, searcher: tantivy.Searcher, query: tantivy.Query, limit: int) -> list[Hit]:
        """Return the best hits; equal scores are ordered by content, also those at the limit."""
        fetched = limit + TIED_HITS
        while True:
            found = searcher.search(query, fetched, count=False).hits
            scores = round_scores([score for score, _ in found])
            if len(found) < fetched or scores[-1] < scores[limit - 1] or fetched >= max(limit, MAX_TIED):
                break
            fetched *= 4
        addresses = [address for _, address in found]
        keys, ties = (searcher.fast_field_values(field, addresses) for field in ("key", "tie"))
        hits = [(-score, tie, key) for score, tie, key in zip(scores, ties, keys, strict=True) if key is not None]
        return [Hit(int(key), -negated) for negated, _, key in sorted(hits)[:limit]]

    def _snapshot(self) -> tuple[tantivy.Searcher, KeywordStatistics]:
        """Return a searcher and the statistics of the state that it sees."""
        generation, kept = self._generation, self._kept
        if kept is None or kept[0] != generation:
            searcher = self._require_index().searcher()
            kept = self._kept = (generation, searcher, KeywordStatistics(self._schema, searcher))
        return kept[1:]

    def _weight_fields(self, terms: Mapping[str, float], statistics: KeywordStatistics) -> _FieldWeights:
        """Return the terms to look up in each field, with their weights."""
        weights = {
            (field, term): boost * weight * statistics.correction(field, term)
            for field, boost in FIELD_BOOSTS.items()
            for term, weight in terms.items()
        }
        return {where: weight for where, weight in weights.items() if weight > 0}

    def _build_query(self, weights: _FieldWeights, allowed: AllowedChunks | None) -> tantivy.Query:
        parts = [
            tantivy.Query.boost_query(tantivy.Query.term_query(self._schema, field, term, "freq"), weight)
            for (field, term), weight in weights.items()
        ]
        query = tantivy.Query.boolean_query([(tantivy.Occur.Should, part) for part in parts])
        filters = [] if allowed is None else self._build_filters(allowed)
        if not filters:
            return query
        unscored = [tantivy.Query.const_score_query(part, 0.0) for part in filters]
        return tantivy.Query.boolean_query([(tantivy.Occur.Must, part) for part in (query, *unscored)])

    def _build_filters(self, allowed: AllowedChunks) -> list[tantivy.Query]:
        filters: tuple[tuple[str, tuple[str, ...] | None], ...] = (
            ("language", allowed.filter.languages or None),
            ("source_type", allowed.filter.source_types or None),
            ("path_raw", allowed.paths),
        )
        return [
            tantivy.Query.term_set_query(self._schema, field, list(values))
            for field, values in filters
            if values is not None
        ]

    def _require_index(self) -> tantivy.Index:
        if self._index is None:
            raise StoreError(f"The keyword index in {self._persist_dir} is not open.")
        return self._index

    def _get_writer(self) -> tantivy.IndexWriter:
        if self._writer is None:
            writer = self._require_index().writer(heap_size=WRITER_MEMORY, num_threads=1)
            # files of an interrupted commit have the names of the next one, and tantivy never overwrites a file
            writer.garbage_collect_files()
            self._writer = writer
        return self._writer

    def _try_open(self) -> bool:
        """Open the existing index; return `False` if tantivy cannot read it."""
        try:
            with self._translate_errors():
                self._open()
        except StoreError:
            logger.warning("The keyword index cannot be opened", exc_info=True)
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
        self._kept = None

    def _read_binding(self) -> object:
        try:
            return json.loads(read_file(self._persist_dir / BINDING_NAME, MAX_BINDING_BYTES))
        except (OSError, StateDirError, ValueError):
            return None

    def _write_binding(self, binding: dict[str, object]) -> None:
        replace_file(self._persist_dir / BINDING_NAME, json.dumps(binding).encode(), durable=False)

    @contextmanager
    def _change(self) -> Iterator[None]:
        """Serialize changes; after a failure, discard uncommitted changes and the writer.

        A writer that has failed once, for example on a full disk, never works again.
        """
        with self._lock, self._translate_errors():
            try:
                yield
            except BaseException:
                self._writer = None
                raise

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """Translate errors of tantivy and the file system to `StoreError`."""
        try:
            yield
        except (ValueError, OSError) as exc:
            raise StoreError(f"The keyword index in {self._persist_dir} cannot be used: {exc}.") from exc
        except BaseException as exc:
            if type(exc).__name__ != RUST_PANIC:
                raise
            message = f"The keyword index in {self._persist_dir} is damaged: {exc}."
            raise StoreError(message, code="store_damaged") from exc


def round_scores(scores: Sequence[float]) -> list[float]:
    """Return positive scores with `SCORE_DIGITS` significant digits."""
    values = np.array(scores, dtype=np.float64)
    steps = 10.0 ** (np.floor(np.log10(np.maximum(values, TINY))) + 1 - SCORE_DIGITS)
    rounded: list[float] = (np.round(values / steps) * steps).tolist()
    return rounded


def _weight_terms(query: str) -> dict[str, float]:
    """Return the terms to look up, with their weights."""
    subject = find_subject(query)
    boosted = frozenset(query_terms(subject, limit=MAX_QUERY_TERMS) if subject else ())
    terms = query_terms(query, limit=MAX_QUERY_TERMS)
    return {term: SUBJECT_BOOST if term in boosted else 1.0 for term in terms}
