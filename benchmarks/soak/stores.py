"""Reads the three stores of an index beside a living server, and compares them with each other and with the tree."""

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import tantivy

from agent_brain_server.services.embedding_queue import embedding_key, embedding_text
from agent_brain_server.storage.chunk_rows import SELECT_CHUNKS, stored_chunk_of
from agent_brain_server.storage.document_store import DATABASE_NAME
from agent_brain_server.storage.map_checksums import keep_sound_texts
from agent_brain_server.storage.vector_map import MAP_NAME
from agent_brain_server.storage.vector_matrix import VectorMatrix
from agent_brain_server.storage_paths import DATA_DIR, DOCUMENTS_DIR, KEYWORDS_DIR, VECTORS_DIR
from agent_brain_server.types import StoredChunk
from benchmarks.soak.corpus import is_excerpt

DIMENSION = 384
UNIT_TOLERANCE = 1e-3

SELECT_VECTORS = "SELECT key, row, embed_key, texts.checksum FROM vectors LEFT JOIN texts USING (row)"

COUNT_LOOSE = """
SELECT (SELECT count(*) FROM chunks WHERE key NOT IN (SELECT key FROM texts))
     + (SELECT count(*) FROM texts WHERE key NOT IN (SELECT key FROM chunks))
"""


def find_faults(state_dir: Path, tree: Mapping[str, str]) -> list[str]:
    """Return what is wrong with an index whose jobs have ended.

    Args:
        state_dir: Where the index lies.
        tree: Text of every file, by path relative to the root.
    """
    data = state_dir / DATA_DIR
    with open_documents(data) as documents:
        chunks = [stored_chunk_of(row) for row in documents.execute(SELECT_CHUNKS)]
        embedded = {key for (key,) in documents.execute("SELECT key FROM chunks WHERE embedded")}
        states = dict(documents.execute("SELECT path, state FROM files WHERE state != 'skipped'").fetchall())
        loose = documents.execute(COUNT_LOOSE).fetchone()[0]
    faults = [f"{path} is {state}" for path, state in states.items() if state != "indexed"]
    if loose:
        faults.append(f"{loose} chunks without text or texts without chunk")
    if states.keys() != tree.keys():
        faults.append(f"files differ from the tree: {sorted(states.keys() ^ tree.keys())[:5]}")
    for chunk in (stored.chunk for stored in chunks):
        if not is_excerpt(tree.get(chunk.path, ""), chunk.start_line, chunk.end_line, chunk.text):
            faults.append(f"chunk {chunk.id} is not what {chunk.path}:{chunk.start_line}-{chunk.end_line} says")
    keys = {stored.key for stored in chunks}
    for name, found in (("keyword index", _read_keyword_keys(data)), ("marked as embedded", embedded)):
        if found != keys:
            faults.append(f"{name}: {len(keys - found)} chunks missing, {len(found - keys)} too many")
    return faults + _find_vector_faults(data / VECTORS_DIR, chunks)


def list_paths(state_dir: Path) -> set[str]:
    """Return the files that keyword questions are answered from, less those that hold nothing."""
    with open_documents(state_dir / DATA_DIR) as documents:
        return {path for (path,) in documents.execute("SELECT path FROM files WHERE state = 'indexed'")}


def count_all(state_dir: Path) -> tuple[int, int, int]:
    """Return how many chunks the document store, the keyword index and the vectors hold."""
    data = state_dir / DATA_DIR
    with open_documents(data) as documents:
        chunks = documents.execute("SELECT count(*) FROM chunks").fetchone()[0]
    with _open_database(data / VECTORS_DIR / MAP_NAME) as vectors:
        mapped = vectors.execute("SELECT count(*) FROM vectors").fetchone()[0]
    return chunks, len(_read_keyword_keys(data)), mapped


def _find_vector_faults(directory: Path, chunks: Sequence[StoredChunk]) -> list[str]:
    with _open_database(directory / MAP_NAME) as vectors:
        listed = vectors.execute(SELECT_VECTORS).fetchall()
        name = vectors.execute("SELECT value FROM meta WHERE key = 'matrix_name'").fetchone()[0]
    expected = {stored.key: embedding_key(embedding_text(stored.chunk)) for stored in chunks}
    found = {key: text for key, _, text, _ in listed}
    faults = []
    if found.keys() != expected.keys():
        missing, extra = len(expected.keys() - found.keys()), len(found.keys() - expected.keys())
        faults.append(f"vectors: {missing} missing, {extra} too many")
    if wrong := [
        key for key, row, text, checksum in listed if expected.get(key) != text and _is_name(row, text, checksum)
    ]:
        faults.append(f"{len(wrong)} chunks have the vector of another text")
    with closing(VectorMatrix(directory / name, DIMENSION)) as file:
        matrix = file.view(file.rows_on_disk())
    rows = [row for _, row, _, _ in listed]
    if rows and max(rows) >= len(matrix):
        faults.append(f"a vector lies in row {max(rows)} of {len(matrix)}")
    elif rows and np.abs(np.linalg.norm(matrix[rows], axis=1) - 1).max() > UNIT_TOLERANCE:
        faults.append("a vector is torn: its length is not 1")
    return faults


def _is_name(row: int, text: str | None, checksum: int) -> bool:
    """Whether the name of a row's text is as it was written; a damaged one names nothing, and is not used any more."""
    return text is None or bool(keep_sound_texts([(row, text, checksum)]))


def _read_keyword_keys(data: Path) -> set[int]:
    index = tantivy.Index.open(str(data / KEYWORDS_DIR))
    searcher = index.searcher()
    if not searcher.num_docs:
        return set()
    hits = searcher.search(tantivy.Query.all_query(), searcher.num_docs, count=False).hits
    found = [key for key in searcher.fast_field_values("key", [address for _, address in hits]) if key is not None]
    return {int(key) for key in found} if len(found) == len(set(found)) else {-1}  # -1: a key comes twice


def open_documents(data: Path) -> closing[sqlite3.Connection]:
    """Open a document store to read in it, beside its server."""
    return _open_database(data / DOCUMENTS_DIR / DATABASE_NAME)


def _open_database(path: Path) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10))
