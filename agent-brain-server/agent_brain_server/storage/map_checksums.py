"""Checksums of the vector map's rows, since a number that changed would give a chunk the vector of another text.

A row of `vectors` is added up in SQL, so that all of them are compared at each opening for some milliseconds. A row of
`texts` has the CRC-32 of its number and name, and is compared when it is used.
"""

import sqlite3
import zlib
from collections.abc import Iterable, Iterator

from agent_brain_server.storage.database import Database

MODULUS = 2_147_483_647
"""A prime over any number of rows: a change of one bit, or of a few, never comes out at the same remainder."""

KEY_FACTOR, ROW_FACTOR = 48_271, 69_621
"""Of two primitive roots of the modulus (Park & Miller 1988): no change of the one is made up for by the other's."""

ADDED_COLUMNS = ("checksum INTEGER",)
"""Added to both tables of a map that has none."""

IS_DAMAGED = f"checksum IS NOT (key % {MODULUS} * {KEY_FACTOR} + row % {MODULUS} * {ROW_FACTOR}) % {MODULUS}"
"""SQL condition on a row of `vectors`."""

SET_CHECKSUMS = f"""
UPDATE vectors SET checksum = (key % {MODULUS} * {KEY_FACTOR} + row % {MODULUS} * {ROW_FACTOR}) % {MODULUS}
"""


def sum_vectors(pairs: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """Return keys and rows of chunks with their checksums."""
    for key, row in pairs:
        yield key, row, (key % MODULUS * KEY_FACTOR + row % MODULUS * ROW_FACTOR) % MODULUS


def sum_texts(pairs: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str, int]]:
    """Return rows and names of texts with their checksums."""
    for row, embed_key in pairs:
        yield row, embed_key, zlib.crc32(f"{row} {embed_key}".encode("utf-8", "replace"))


def keep_sound_texts(rows: Iterable[tuple[int, str, int]]) -> dict[str, int]:
    """Return the rows of texts by name, of those that are as they were written."""
    listed = [(row, embed_key, checksum) for row, embed_key, checksum in rows]
    expected = sum_texts((row, embed_key) for row, embed_key, _ in listed)
    return {found[1]: found[0] for found, summed in zip(listed, expected, strict=True) if found == summed}


def add_checksums(database: Database) -> Database:
    """Give the tables of a map the column, where an earlier version has made them; returns the map.

    Raises:
        StoreError: The map is damaged, or can't be written; it is closed.
    """
    try:
        with database.reading() as connection:
            known = {row[1] for row in connection.execute("PRAGMA table_info(vectors)")}
        if "checksum" not in known:
            with database.writing() as connection:
                _add_columns(connection)
    except BaseException:
        database.close()
        raise
    return database


def _add_columns(connection: sqlite3.Connection) -> None:
    for table in ("texts", "vectors"):
        connection.execute(f"ALTER TABLE {table} ADD COLUMN {ADDED_COLUMNS[0]}")
    connection.execute(SET_CHECKSUMS)
    texts = sum_texts(connection.execute("SELECT row, embed_key FROM texts").fetchall())
    connection.executemany("UPDATE texts SET checksum = ? WHERE row = ?", [(value, row) for row, _, value in texts])
