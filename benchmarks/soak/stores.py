"""Read the document store and the keyword index of a running server, and compare them with the tree."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import tantivy

from agent_brain_server.storage.chunk_rows import SELECT_CHUNKS, read_chunk
from agent_brain_server.storage.document_store import DATABASE_NAME
from agent_brain_server.storage_paths import DATA_DIR, DOCUMENTS_DIR, KEYWORDS_DIR
from benchmarks.soak.corpus import is_excerpt

COUNT_UNPAIRED = """
SELECT (SELECT count(*) FROM chunks WHERE key NOT IN (SELECT key FROM texts))
     + (SELECT count(*) FROM texts WHERE key NOT IN (SELECT key FROM chunks))
"""


def find_faults(state_dir: Path, tree: Mapping[str, str]) -> list[str]:
    """Return a description of each fault in an index whose jobs have ended.

    Args:
        state_dir: Directory that holds `data/`.
        tree: Text of every file, by path relative to the root.
    """
    data = state_dir / DATA_DIR
    with open_documents(data) as documents:
        chunks = [read_chunk(row) for row in documents.execute(SELECT_CHUNKS)]
        embedded = {key for (key,) in documents.execute("SELECT key FROM chunks WHERE embedded")}
        states = dict(documents.execute("SELECT path, state FROM files WHERE state != 'skipped'").fetchall())
        unpaired = documents.execute(COUNT_UNPAIRED).fetchone()[0]
    faults = [f"{path} is {state}" for path, state in states.items() if state != "indexed"]
    if unpaired:
        faults.append(f"{unpaired} chunks without text or texts without chunk")
    if states.keys() != tree.keys():
        faults.append(f"files differ from the tree: {sorted(states.keys() ^ tree.keys())[:5]}")
    for chunk in (stored.chunk for stored in chunks):
        if not is_excerpt(tree.get(chunk.path, ""), chunk.start_line, chunk.end_line, chunk.text):
            faults.append(f"chunk {chunk.id} differs from {chunk.path}:{chunk.start_line}-{chunk.end_line}")
    keys = {stored.key for stored in chunks}
    for name, found in (("keyword index", _read_keyword_keys(data)), ("marked as embedded", embedded)):
        if found != keys:
            faults.append(f"{name}: {len(keys - found)} chunks missing, {len(found - keys)} too many")
    return faults


def _read_keyword_keys(data: Path) -> set[int]:
    index = tantivy.Index.open(str(data / KEYWORDS_DIR))
    searcher = index.searcher()
    if not searcher.num_docs:
        return set()
    hits = searcher.search(tantivy.Query.all_query(), searcher.num_docs, count=False).hits
    found = [key for key in searcher.fast_field_values("key", [address for _, address in hits]) if key is not None]
    return {int(key) for key in found} if len(found) == len(set(found)) else {-1}  # -1: a key occurs twice


def open_documents(data: Path) -> closing[sqlite3.Connection]:
    """Open a document store read-only, also while its server runs."""
    path = data / DOCUMENTS_DIR / DATABASE_NAME
    return closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10))
