"""Rows of syntax facts in the document store: how they are packed, written and deleted.

- `facts` has one row for each file: its definitions and the names that it uses, as compressed JSON.
- `definitions` has one row for each definition, ordered by the name in folded case, so that it is found in any case.
- `uses` has one row for each name and file, with all sites packed into a few bytes.

The rows of `definitions` and `uses` of a file are deleted by the names in its row of `facts`, which takes less space
than an index of both tables by file.
"""

import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import orjson

from agent_brain_server.storage.fact_values import ReferenceTable, list_values, pack_tables
from agent_brain_server.types import Definition, FileChunks, SyntaxFacts

FACTS_SCHEMA = """
CREATE TABLE facts (
    file_id INTEGER PRIMARY KEY REFERENCES files (file_id),
    language TEXT NOT NULL,
    source_type TEXT NOT NULL,
    is_partial INTEGER NOT NULL,
    definition_count INTEGER NOT NULL,
    reference_count INTEGER NOT NULL,
    packed BLOB NOT NULL,
    checksum INTEGER NOT NULL
);
CREATE INDEX facts_counts ON facts (is_partial, definition_count, reference_count);

CREATE TABLE definitions (
    folded TEXT NOT NULL,
    file_id INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    name TEXT,
    enclosing TEXT NOT NULL,
    kind TEXT NOT NULL,
    line INTEGER NOT NULL,
    PRIMARY KEY (folded, file_id, ordinal)
) WITHOUT ROWID;

CREATE TABLE uses (
    name TEXT NOT NULL,
    file_id INTEGER NOT NULL,
    sites BLOB NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (name, file_id)
) WITHOUT ROWID;
"""

FACT_TABLES = ("uses", "definitions", "facts")

INSERT_FACTS = "INSERT INTO facts VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
INSERT_DEFINITION = "INSERT INTO definitions VALUES (?, ?, ?, ?, ?, ?, ?)"
INSERT_USE = "INSERT INTO uses VALUES (?, ?, ?, ?)"

DELETE_DEFINITIONS = "DELETE FROM definitions WHERE folded = ? AND file_id = ?"
DELETE_USES = "DELETE FROM uses WHERE name = ? AND file_id = ?"

SELECT_FACTS = """
SELECT file_id, path, language, source_type, is_partial, packed, checksum
FROM facts JOIN files USING (file_id)
"""

COMPRESSION = 1  # of zlib: nearly as small as higher levels, in a fraction of the time

MAX_UNPACKED_BYTES = 64_000_000
"""Bytes of the facts of one file; more than the protocol with the workers lets through."""

MAX_ENCLOSING = 200  # characters of the enclosing names by which a definition is selected


class FactsRow(NamedTuple):
    """A row of `SELECT_FACTS`."""

    file_id: int
    path: str
    language: str
    source_type: Any
    is_partial: int
    packed: bytes
    checksum: int

    def is_valid(self) -> bool:
        """Return whether the row is as it was written."""
        return _checksum(self[1:-1]) == self.checksum

    def unpack(self) -> tuple[list[list[Any]], list[str]]:
        """Return the values of the definitions, and the names that the file uses."""
        definitions, names = orjson.loads(zlib.decompressobj().decompress(self.packed, MAX_UNPACKED_BYTES))
        return definitions, names


def fold(name: str) -> str:
    """Return a name in folded case."""
    return name.casefold()


def write_facts(connection: sqlite3.Connection, batch: Sequence[tuple[int, FileChunks]]) -> None:
    """Replace the facts of files.

    Rows of all files are written in the order of their tables, which touches each page once.

    Args:
        connection: Within a transaction.
        batch: Each file with its `file_id`.
    """
    delete_facts(connection, [file_id for file_id, _ in batch])
    written = [(file_id, file) for file_id, file in batch if _has_facts(file.facts)]
    tables = [ReferenceTable.make(file.facts.references) for _, file in written]
    owners = [(file_id, zlib.crc32(file.record.path.encode("utf-8", "replace"))) for file_id, file in written]
    facts = [_facts_values(file_id, file, table) for (file_id, file), table in zip(written, tables, strict=True)]
    definitions = [row for file_id, file in written for row in _definition_values(file_id, file.facts.definitions)]
    uses = [_use_values(*owners[index], name, sites) for index, name, sites in pack_tables(tables)]
    connection.executemany(INSERT_FACTS, facts)
    connection.executemany(INSERT_DEFINITION, sorted(definitions, key=itemgetter(0, 1)))
    connection.executemany(INSERT_USE, sorted(uses, key=itemgetter(0, 1)))


def delete_facts(connection: sqlite3.Connection, file_ids: Iterable[int]) -> None:
    """Delete the facts of files, within a transaction."""
    for file_id in file_ids:
        found = connection.execute(f"{SELECT_FACTS} WHERE file_id = ?", (file_id,)).fetchone()
        if found is None:
            continue
        row = FactsRow(*found)
        if not row.is_valid():
            purge_facts(connection, [file_id])
            continue
        definitions, used = row.unpack()
        defined = {fold(values[0]) for values in definitions}
        for statement, names in ((DELETE_DEFINITIONS, defined), (DELETE_USES, used)):
            connection.executemany(statement, [(name, file_id) for name in sorted(names)])
        connection.execute("DELETE FROM facts WHERE file_id = ?", (file_id,))


def purge_facts(connection: sqlite3.Connection, file_ids: Iterable[int]) -> None:
    """Delete the facts of files whose rows are damaged, by reading the tables completely."""
    rows = [(file_id,) for file_id in file_ids]
    for table in FACT_TABLES:
        connection.executemany(f"DELETE FROM {table} WHERE file_id = ?", rows)


def use_checksum(name: str, path: int, sites: bytes) -> int:
    """Return the CRC-32 of a row of `uses`, given that of the file's path."""
    return zlib.crc32(sites, zlib.crc32(name.encode("utf-8", "replace"), path))


def _has_facts(facts: SyntaxFacts) -> bool:
    return bool(facts.definitions or facts.references or facts.is_partial)


def _use_values(file_id: int, path: int, name: str, sites: bytes) -> tuple[Any, ...]:
    return (name, file_id, sites, use_checksum(name, path, sites))


def _facts_values(file_id: int, file: FileChunks, references: ReferenceTable) -> tuple[Any, ...]:
    facts = file.facts
    content = [list(map(list_values, facts.definitions)), sorted(references.names)]
    packed = zlib.compress(orjson.dumps(content), COMPRESSION)
    values = (file.language, file.source_type, int(facts.is_partial))
    checksum = _checksum((file.record.path, *values, packed))
    return (file_id, *values, len(facts.definitions), len(facts.references), packed, checksum)


def _definition_values(file_id: int, definitions: Iterable[Definition]) -> Iterator[tuple[Any, ...]]:
    for ordinal, definition in enumerate(definitions):
        name, folded = definition.name, fold(definition.name)
        enclosing = definition.qualified_name.removesuffix(name).rstrip(".")[-MAX_ENCLOSING:]
        spelled = None if name == folded else name
        yield (folded, file_id, ordinal, spelled, enclosing, definition.kind, definition.name_line)


def _checksum(values: Iterable[object]) -> int:
    """Return the CRC-32 of path, language, source type, flag and packed values of a row of `facts`."""
    code = 0
    for value in values:
        code = zlib.crc32(value if isinstance(value, bytes) else f"{value}\0".encode("utf-8", "replace"), code)
    return code
