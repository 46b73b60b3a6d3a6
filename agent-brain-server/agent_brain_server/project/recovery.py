"""Repair stores that are damaged, lost, foreign or out of sync when they are opened."""

import contextlib
import itertools
import json
import logging
import shutil
import sqlite3
import time
from pathlib import Path

from agent_brain_server.errors import StateDirError, StoreError
from agent_brain_server.indexing.bm25_index import BM25IndexManager
from agent_brain_server.services.indexed_roots import back_up_roots, read_roots_backup
from agent_brain_server.storage.database import FOREIGN_CODE, REBUILDABLE_CODES, VERSION_CODE, open_inspected
from agent_brain_server.storage.document_store import (
    ADDED_COLUMNS,
    DATABASE_NAME,
    LAST_INDEXED_META,
    ROOT_META,
    ROOTS_META,
    SCHEMA,
    DocumentStore,
)
from agent_brain_server.storage.origin import ensure_key, has_content, make_origin, read_origin
from agent_brain_server.storage.vector_store import VectorStoreManager
from agent_brain_server.storage_paths import DATA_DIRS, ROOTS_FILE, origin_key_path
from agent_brain_server.support.state_files import make_private_dir, remove_leftovers
from agent_brain_server.support.text import pluralize

logger = logging.getLogger(__name__)

FOREIGN_TEXT = (
    "the index was not made by this installation (it came with the repository or from an earlier version, or {key} was"
    " replaced): it was set aside, and everything is indexed again"
)

WHOLE_PROJECT = json.dumps([{"folder_path": "."}])
"""Indexed roots of a project whose record of them is lost."""


class Repairs:
    """Record what was repaired when an index was opened, for the log and the status."""

    def __init__(self) -> None:
        self._made: list[str] = []

    def note(self, text: str, *, level: int = logging.WARNING) -> None:
        """Log and record a repair.

        Args:
            text: One sentence.
            level: `logging.INFO` if nothing was wrong.
        """
        logger.log(level, "%s", text)
        self._made.append(text)

    def made(self) -> list[str]:
        """Return the repairs, oldest first."""
        return list(self._made)


def open_documents(directory: Path, repairs: Repairs) -> DocumentStore:
    """Open the document store; a damaged or foreign one is set aside and replaced by an empty one.

    The indexed roots are restored from their backup or from the damaged store, so that the new store is filled from the
    tree. A foreign store is not read.

    Args:
        directory: Directory of the store, in the data directory.
        repairs: Records what was repaired.

    Raises:
        StoreError: The store cannot be used and a new one would not help, for example on a full disk.
    """
    if remove_leftovers(directory):
        logger.warning("Finished an interrupted removal of the index")
    origin = _claim_data(directory, repairs)
    roots = WHOLE_PROJECT if repairs.made() else None
    try:
        documents = DocumentStore(directory, origin=origin)
    except StoreError as error:
        if error.code not in REBUILDABLE_CODES:
            raise
        is_foreign = error.code == FOREIGN_CODE
        aside = _choose_aside(directory, error.code)
        if error.code == VERSION_CODE:
            repairs.note("the index was made by another version of Agent Brain: rebuilding it", level=logging.INFO)
        else:
            repairs.note(f"the document store was set aside as {aside.name} ({error.message}): rebuilding it")
        roots = WHOLE_PROJECT if is_foreign else _salvage_roots(directory / DATABASE_NAME)
        directory.rename(aside)
        documents = DocumentStore(directory, origin=origin)
    if documents.get_meta(ROOT_META) is None and (roots := read_roots_backup(directory.parent) or roots):
        if not repairs.made():
            repairs.note("the document store was lost: rebuilding it")
        documents.set_meta(ROOTS_META, roots)
    back_up_roots(documents)
    return documents


def reconcile_stores(
    project_root: Path,
    documents: DocumentStore,
    bm25: BM25IndexManager,
    vectors: VectorStoreManager,
    repairs: Repairs,
) -> bool:
    """Synchronize the derived indexes with the documents, after a crash, a loss or a move of the project.

    Returns:
        Whether work remains: files to read again, or chunks without a vector.
    """
    is_moved = documents.get_meta(ROOT_META) not in (None, str(project_root))
    if is_moved:
        repairs.note(f"the project was moved or copied to {project_root}: indexing it again")
        documents.clear()
        documents.set_meta(LAST_INDEXED_META, None)
    is_lost = documents.get_meta(ROOTS_META) is not None and documents.get_meta(LAST_INDEXED_META) is None
    documents.set_meta(ROOT_META, str(project_root))
    _reconcile_keywords(documents, bm25, repairs)
    _reconcile_vectors(documents, bm25, vectors, repairs)
    counts = documents.counts()
    if counts.files_pending and not repairs.made():
        pending = pluralize(counts.files_pending, "file")
        logger.info("Indexing %s again that a crash left partly indexed", pending)
    return is_moved or is_lost or counts.files_pending > 0 or counts.embedded < counts.chunks


def _reconcile_keywords(documents: DocumentStore, bm25: BM25IndexManager, repairs: Repairs) -> None:
    had_files = documents.counts().files > 0
    if bm25.bind_store(documents.store_id) and had_files:
        repairs.note("the keyword index was lost, damaged or of another version: rebuilding it")
        documents.mark_all_pending()
    counts = documents.counts()
    if not counts.files_pending and bm25.count() != counts.chunks:
        found = f"{bm25.count():,} of {pluralize(counts.chunks, 'chunk')}"
        repairs.note(f"the keyword index has {found}: rebuilding it")
        bm25.clear()
        documents.mark_all_pending()


def _reconcile_vectors(
    documents: DocumentStore, bm25: BM25IndexManager, vectors: VectorStoreManager, repairs: Repairs
) -> None:
    difference = vectors.sync(documents)
    lost, orphans = len(difference.missing), difference.orphans
    if lost and vectors.previous_model:
        text = f"the embedding model changed, it was {vectors.previous_model}: re-embedding {pluralize(lost, 'chunk')}"
        repairs.note(text, level=logging.INFO)
    elif lost:
        repairs.note(f"{pluralize(lost, 'vector')} damaged or lost: embedding again")
    if len(orphans):
        logger.info("Deleted %s without a chunk, left by a crash", pluralize(len(orphans), "vector"))
    if len(orphans) and orphans[-1] >= documents.next_key():
        # the write-ahead log is lost: the store will assign keys again that the keyword index already has
        repairs.note("the document store has lost its last changes: rebuilding the keyword index")
        bm25.clear()
        documents.mark_all_pending()


def _claim_data(directory: Path, repairs: Repairs) -> str | None:
    """Return the mark of the data directory; stores without the mark of this installation are set aside.

    Returns:
        `None` if this user's home cannot be used, so that no mark can be checked.
    """
    try:
        key = ensure_key()
    except (OSError, StateDirError) as exc:
        logger.warning("Cannot check whether this installation made the index: %s", exc)
        return None
    data = directory.parent
    try:
        origin = read_origin(data, key)
        if origin is not None:
            return origin
        if has_content(data):
            repairs.note(FOREIGN_TEXT.format(key=origin_key_path()))
            _set_aside_foreign(directory)
        return make_origin(data, key)
    except OSError as exc:
        raise StoreError(f"{data} cannot be used: {exc.strerror or exc}.") from exc


def _set_aside_foreign(directory: Path) -> None:
    """Rename the document store and remove the derived indexes, without opening their files."""
    data = directory.parent
    (data / ROOTS_FILE).unlink(missing_ok=True)
    for name in DATA_DIRS:
        store = data / name
        if store == directory:
            store.rename(_choose_aside(directory, FOREIGN_CODE))
        else:
            shutil.rmtree(store)
        make_private_dir(store)


def _choose_aside(directory: Path, code: str) -> Path:
    """Return an unused name for a store, and remove stores set aside earlier: the newest is enough."""
    for older in directory.parent.glob(f"{directory.name}.store_*"):
        shutil.rmtree(older, ignore_errors=True)
    first = directory.with_name(f"{directory.name}.{code}.{time.strftime('%Y%m%dT%H%M%S')}")
    numbered = (first.with_name(f"{first.name}.{number}") for number in itertools.count(1))
    return next(path for path in itertools.chain([first], numbered) if not path.exists())


def _salvage_roots(path: Path) -> str | None:
    """Return the indexed roots recorded in a damaged store, or `None` if they cannot be read."""
    with (
        contextlib.suppress(sqlite3.Error),
        open_inspected(path, schema=SCHEMA, added=ADDED_COLUMNS) as connection,
    ):
        if connection is None:
            return None
        row = connection.execute("SELECT value FROM meta WHERE key = ?", (ROOTS_META,)).fetchone()
        return None if row is None else str(row[0])
    return None
