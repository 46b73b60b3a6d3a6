"""Which chunk has which row of the vector matrix, which text a row was made of, and what Chroma has of it all."""

import logging
import re
import sqlite3
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from agent_brain_server.errors import StoreError
from agent_brain_server.storage.chroma_place import (
    LOCAL_PLACE,
    ChromaPlace,
    LeftBehind,
    decode_left,
    encode_left,
)
from agent_brain_server.storage.chunk_rows import as_json
from agent_brain_server.storage.database import DAMAGED_CODE, FOREIGN_CODE, Database
from agent_brain_server.storage.exact_search import Rows
from agent_brain_server.storage.map_checksums import (
    ADDED_COLUMNS,
    IS_DAMAGED,
    SET_CHECKSUMS,
    add_checksums,
    keep_sound_texts,
    sum_texts,
    sum_vectors,
)
from agent_brain_server.storage.schema_check import JOURNAL_SUFFIX
from agent_brain_server.storage.seal import SEAL_SUFFIX
from agent_brain_server.types import Keys

logger = logging.getLogger(__name__)

MATRIX_NAME = re.compile(r"matrix-[0-9a-f]{12}\.f32")
"""A file name in the map's directory: another name would have the matrix read from and written to another place."""

MAP_NAME = "vectors.sqlite3"
MAP_VERSION = 2

SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE texts (row INTEGER PRIMARY KEY, embed_key TEXT NOT NULL UNIQUE);
CREATE TABLE vectors (key INTEGER PRIMARY KEY, row INTEGER NOT NULL, in_chroma INTEGER NOT NULL DEFAULT 0);
CREATE INDEX vectors_lagging ON vectors (key) WHERE in_chroma = 0;
CREATE TABLE dropped (key INTEGER PRIMARY KEY);
"""

DAMAGED_CODES = (DAMAGED_CODE, FOREIGN_CODE, "store_version")

UPSERT_VECTOR = """
INSERT INTO vectors (key, row, checksum) VALUES (?, ?, ?)
ON CONFLICT (key) DO UPDATE SET row = excluded.row, checksum = excluded.checksum,
    in_chroma = (in_chroma AND row = excluded.row)
"""

PUT_TEXT = "REPLACE INTO texts (row, embed_key, checksum) VALUES (?, ?, ?)"
"""Replaces, as a text that is known by a damaged row is written again like a new one."""


def open_database(directory: Path) -> Database:
    """Open the map's database; one that is damaged or of another version is made anew, as it is derived."""
    path = directory / MAP_NAME
    try:
        return add_checksums(Database(path, schema=SCHEMA, version=MAP_VERSION, added=ADDED_COLUMNS))
    except StoreError as exc:
        if exc.code not in DAMAGED_CODES:
            raise
        logger.warning("the vector map is damaged, foreign or of another version: rebuilding it", exc_info=True)
        remove_map(directory)
        return add_checksums(Database(path, schema=SCHEMA, version=MAP_VERSION, added=ADDED_COLUMNS))


def remove_map(directory: Path) -> None:
    """Remove the map's database, which nobody has open; without it no vector exists."""
    path = directory / MAP_NAME
    for suffix in ("", "-wal", "-shm", JOURNAL_SUFFIX, SEAL_SUFFIX):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


class VectorMap:
    """The committed state of the vectors: what is not written here does not exist.

    Args:
        directory: Holds the database.
        model: Model and dimension that the vectors are made with; of another model nothing is kept.
        store_id: The document store that the keys are from; of another one the texts' rows are kept, which are as
            true as ever, and no chunk's.
        place: Of the Chroma that follows; another one has nothing yet. Files beside the map where None.
    """

    def __init__(self, directory: Path, model: str, store_id: str, place: ChromaPlace | None = None) -> None:
        self._database = open_database(directory)
        self._place = place or ChromaPlace(directory, store_id)
        named = {"chroma_place": self._place.name, "chroma_home": self._place.home}
        self._identity = {"model": model, "store_id": store_id, **named}
        self._left = decode_left(self._database.get_meta("left_behind"))
        known_model = self._database.get_meta("model")
        self.previous_model = known_model if known_model != model else None
        if self.previous_model or not self.matrix_name:
            self.clear()
        elif self._database.get_meta("store_id") != store_id:
            self.forget_chunks()
        elif (self._database.get_meta("chroma_place") or LOCAL_PLACE) != self._place.name:
            self._go_over_to_chroma()
        elif self._database.get_meta("chroma_home") is None:
            self._database.set_meta("chroma_home", self._place.home)

    def find_fault(self) -> str | None:
        """Say that the map was removed since it was opened, None where it is there."""
        return self._database.find_fault()

    @property
    def epoch(self) -> str:
        """Changes with every `clear`: Chroma's collection carries it."""
        return self._database.get_meta("epoch") or ""

    @property
    def matrix_name(self) -> str:
        """The matrix's file name, another one after every `clear` and `keep_rows`; empty if there is none."""
        name = self._database.get_meta("matrix_name") or ""
        return name if MATRIX_NAME.fullmatch(name) else ""

    def clear(self) -> None:
        """Forget every row and begin a new epoch."""
        meta = self._begin_epoch() | {"matrix_name": new_matrix_name()}
        with self._database.writing() as connection:
            for table in ("texts", "vectors", "dropped", "meta"):
                connection.execute(f"DELETE FROM {table}")
            connection.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())

    def forget_chunks(self) -> None:
        """Forget which chunk has which row, and begin a new epoch; the rows' texts stay known."""
        meta = self._begin_epoch()
        with self._database.writing() as connection:
            for table in ("vectors", "dropped"):
                connection.execute(f"DELETE FROM {table}")
            connection.executemany("REPLACE INTO meta VALUES (?, ?)", meta.items())

    def keep_rows(self, kept: Sequence[int], matrix_name: str) -> None:
        """Number the kept rows anew, in order, forget all others, and go over to another matrix file."""
        new_row = {old: new for new, old in enumerate(kept)}
        with self._database.writing() as connection:
            texts = connection.execute("SELECT row, embed_key FROM texts").fetchall()
            vectors = connection.execute("SELECT key, row, in_chroma FROM vectors").fetchall()
            connection.execute("DELETE FROM texts")
            rows = [(new_row[row], embed_key) for row, embed_key in texts if row in new_row]
            connection.executemany(PUT_TEXT, sum_texts(rows))
            moved = [(key, new_row[row], in_chroma) for key, row, in_chroma in vectors]
            connection.executemany("REPLACE INTO vectors (key, row, in_chroma) VALUES (?, ?, ?)", moved)
            connection.execute(SET_CHECKSUMS)
            connection.execute("UPDATE meta SET value = ? WHERE key = 'matrix_name'", (matrix_name,))

    def keep_sound(self, rows_on_disk: int, unsound: Iterable[int]) -> int:
        """Forget what refers to a row that the matrix does not have, or is damaged, or whose vector is.

        Returns:
            How many chunks lost their vector by that.
        """
        damaged = as_json(unsound)
        with self._database.writing() as connection:
            connection.execute(
                "DELETE FROM texts WHERE row NOT BETWEEN 0 AND ? OR row IN (SELECT value FROM json_each(?))",
                (rows_on_disk - 1, damaged),
            )
            is_lost = f"row NOT IN (SELECT row FROM texts) OR {IS_DAMAGED}"
            lost = [key for (key,) in connection.execute(f"SELECT key FROM vectors WHERE {is_lost}")]
            _drop(connection, lost)
        return len(lost)

    def next_row(self) -> int:
        """Return the number of the first row that is free."""
        with self._database.reading() as connection:
            return int(connection.execute("SELECT coalesce(max(row) + 1, 0) FROM texts").fetchone()[0])

    def rows_of_texts(self, embed_keys: Iterable[str]) -> dict[str, int]:
        """Return the rows of the texts that were embedded before."""
        query = "SELECT row, embed_key, checksum FROM texts WHERE embed_key IN (SELECT value FROM json_each(?))"
        with self._database.reading() as connection:
            return keep_sound_texts(connection.execute(query, (as_json(embed_keys),)))

    def add(self, keys: Sequence[int], rows: Sequence[int], new_texts: Sequence[tuple[int, str]]) -> None:
        """Give chunks their rows; `new_texts` names the rows that were just written."""
        with self._database.writing() as connection:
            connection.executemany(PUT_TEXT, sum_texts(new_texts))
            connection.executemany(UPSERT_VECTOR, sum_vectors(zip(keys, rows, strict=True)))

    def delete(self, keys: Iterable[int]) -> None:
        """Forget chunks; their rows stay, for the same text may come back."""
        with self._database.writing() as connection:
            _drop(connection, keys)

    def load(self) -> tuple[Keys, Rows]:
        """Return every chunk's key, ascending, and its row."""
        with self._database.reading() as connection:
            pairs = connection.execute("SELECT key, row FROM vectors ORDER BY key").fetchall()
        try:
            both = np.array(pairs, dtype=np.int64).reshape(-1, 2)
        except (OverflowError, TypeError, ValueError) as exc:  # a changed byte can make anything of a number
            raise StoreError(f"The map of the vectors is damaged: {exc}.", code=DAMAGED_CODE) from exc
        return np.ascontiguousarray(both[:, 0]), np.ascontiguousarray(both[:, 1])

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    # What Chroma has

    def distrust_chroma(self) -> None:
        """Let Chroma begin anew with nothing: what it holds is wrong."""
        self._go_over_to_chroma()

    def _go_over_to_chroma(self) -> None:
        """Begin an epoch in which Chroma has nothing: what another place holds may be of any time."""
        meta = self._begin_epoch()
        with self._database.writing() as connection:
            connection.execute("UPDATE vectors SET in_chroma = 0")
            connection.execute("DELETE FROM dropped")
            connection.executemany("REPLACE INTO meta VALUES (?, ?)", meta.items())

    def _begin_epoch(self) -> dict[str, str]:
        """Return what is to be kept of a new epoch; the collection of the one that ends is left behind."""
        ended, place = self.epoch, self._database.get_meta("chroma_place") or LOCAL_PLACE
        if ended and self._place.has_left(place, self._database.get_meta("chroma_home")):
            self._left = [*self._left, LeftBehind(place, ended)]
        return self._identity | {"epoch": _new_serial(), "left_behind": encode_left(self._left)}

    def left_behind(self) -> list[LeftBehind]:
        """Return the collections on Chroma servers that are to be removed."""
        return self._left

    def note_removed(self) -> None:
        """Say that what was left behind is no longer there."""
        self._left = []
        self._database.set_meta("left_behind", None)

    def lagging(self, limit: int) -> list[tuple[int, int]]:
        """Return key and row of chunks that Chroma does not have yet."""
        query = "SELECT key, row FROM vectors WHERE in_chroma = 0 ORDER BY key LIMIT ?"
        with self._database.reading() as connection:
            return connection.execute(query, (limit,)).fetchall()

    def dropped(self, limit: int) -> list[int]:
        """Return keys that Chroma still has and must not have."""
        with self._database.reading() as connection:
            return [key for (key,) in connection.execute("SELECT key FROM dropped ORDER BY key LIMIT ?", (limit,))]

    def count_behind(self) -> int:
        """Return how many keys Chroma still has to take or to drop."""
        query = "SELECT (SELECT count(*) FROM vectors WHERE in_chroma = 0) + (SELECT count(*) FROM dropped)"
        with self._database.reading() as connection:
            return int(connection.execute(query).fetchone()[0])

    def count_in_chroma(self) -> int:
        """Return how many keys Chroma should have, with those that it is still to drop."""
        query = "SELECT (SELECT count(*) FROM vectors WHERE in_chroma = 1) + (SELECT count(*) FROM dropped)"
        with self._database.reading() as connection:
            return int(connection.execute(query).fetchone()[0])

    def note_taken(self, keys: Iterable[int]) -> None:
        """Say that Chroma has these keys."""
        with self._database.writing(durable=False) as connection:
            connection.executemany("UPDATE vectors SET in_chroma = 1 WHERE key = ?", [(key,) for key in keys])

    def note_dropped(self, keys: Iterable[int]) -> None:
        """Say that Chroma no longer has these keys."""
        with self._database.writing(durable=False) as connection:
            connection.executemany("DELETE FROM dropped WHERE key = ?", [(key,) for key in keys])

    def match_chroma(self, keys: Iterable[int]) -> None:
        """Say that Chroma has exactly these keys."""
        present = as_json(keys)
        with self._database.writing() as connection:
            in_chroma = "key IN (SELECT value FROM json_each(?))"
            connection.execute(f"UPDATE vectors SET in_chroma = ({in_chroma})", (present,))
            connection.execute("DELETE FROM dropped")
            connection.execute(
                """INSERT INTO dropped SELECT value FROM json_each(?)
                   WHERE value NOT IN (SELECT key FROM vectors)""",
                (present,),
            )


def new_matrix_name() -> str:
    """Return a file name that no matrix had before."""
    return f"matrix-{_new_serial()}.f32"


def _new_serial() -> str:
    return uuid.uuid4().hex[:12]


def _drop(connection: sqlite3.Connection, keys: Iterable[int]) -> None:
    """Take chunks out of the map and remember those that Chroma still has."""
    rows = [(int(key),) for key in keys]
    kept = "INSERT OR IGNORE INTO dropped SELECT key FROM vectors WHERE key = ? AND in_chroma = 1"
    connection.executemany(kept, rows)
    connection.executemany("DELETE FROM vectors WHERE key = ?", rows)
