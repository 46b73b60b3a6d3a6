"""Rows of syntax facts in the document store: how they are packed, written and deleted.

- `facts` has one row for each file: its definitions as compressed JSON, and the names that it uses.
- `definitions` has one row for each definition, ordered by the name in folded case, so that it is found in any case.
- `uses` has one row for each name and file, with all sites packed into a few bytes.

The rows of `definitions` and `uses` of a file are deleted by the names in its row of `facts`, which takes less space
than an index of both tables by file.
"""

import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from operator import itemgetter
from typing import Any, NamedTuple, get_args

import orjson

from agent_brain_server.types import Definition, FileChunks, Reference, ReferenceKind, SyntaxFacts

FACTS_SCHEMA = """
CREATE TABLE facts (
    file_id INTEGER PRIMARY KEY REFERENCES files (file_id),
    language TEXT NOT NULL,
    source_type TEXT NOT NULL,
    is_partial INTEGER NOT NULL,
    definition_count INTEGER NOT NULL,
    reference_count INTEGER NOT NULL,
    definitions BLOB NOT NULL,
    names BLOB NOT NULL,
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

INSERT_FACTS = "INSERT INTO facts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
INSERT_DEFINITION = "INSERT INTO definitions VALUES (?, ?, ?, ?, ?, ?, ?)"
INSERT_USE = "INSERT INTO uses VALUES (?, ?, ?, ?)"

SELECT_FACTS = """
SELECT file_id, path, language, source_type, is_partial, definitions, names, checksum
FROM facts JOIN files USING (file_id)
"""

KINDS: tuple[ReferenceKind, ...] = get_args(ReferenceKind)
"""Kinds by the number that is stored; at most 4, because the number has two bits."""

KIND_NUMBERS = {kind: number for number, kind in enumerate(KINDS)}

COMPRESSION = 1  # of zlib: nearly as small as higher levels, in a fraction of the time

MAX_UNPACKED_BYTES = 64_000_000
"""Bytes of the facts of one file; more than the protocol with the workers lets through."""

MAX_ENCLOSING = 200  # characters of the enclosing names by which a definition is selected

Site = tuple[int, ReferenceKind, int | None]
"""Line, kind, and index of the enclosing definition."""


class FactsRow(NamedTuple):
    """A row of `SELECT_FACTS`."""

    file_id: int
    path: str
    language: str
    source_type: Any
    is_partial: int
    definitions: bytes
    names: bytes
    checksum: int

    def is_valid(self) -> bool:
        """Return whether the row is as it was written."""
        return _checksum(self[1:-1]) == self.checksum

    def unpack(self) -> list[list[Any]]:
        """Return the values of the definitions, as the arguments of `Definition`."""
        values: list[list[Any]] = orjson.loads(_decompress(self.definitions))
        return values


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
    facts: list[tuple[Any, ...]] = []
    definitions: list[tuple[Any, ...]] = []
    uses: list[tuple[Any, ...]] = []
    for file_id, file in batch:
        if file.facts == SyntaxFacts():
            continue
        sites = pack_references(file.facts.references)
        facts.append(_facts_values(file_id, file, sites))
        definitions.extend(_definition_values(file_id, file.facts.definitions))
        path = file.record.path
        uses.extend((name, file_id, packed, use_checksum(name, path, packed)) for name, packed in sites.items())
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
        folded = {fold(values[0]) for values in row.unpack()}
        pairs = zip(sorted(folded), repeat(file_id), strict=False)
        connection.executemany("DELETE FROM definitions WHERE folded = ? AND file_id = ?", pairs)
        pairs = zip(unpack_names(row), repeat(file_id), strict=False)
        connection.executemany("DELETE FROM uses WHERE name = ? AND file_id = ?", pairs)
        connection.execute("DELETE FROM facts WHERE file_id = ?", (file_id,))


def purge_facts(connection: sqlite3.Connection, file_ids: Iterable[int]) -> None:
    """Delete the facts of files whose rows are damaged, by reading the tables completely."""
    rows = [(file_id,) for file_id in file_ids]
    for table in FACT_TABLES:
        connection.executemany(f"DELETE FROM {table} WHERE file_id = ?", rows)


def unpack_names(row: FactsRow) -> list[str]:
    """Return the names that a file uses, ascending."""
    names: list[str] = orjson.loads(_decompress(row.names))
    return names


def pack_references(references: Iterable[Reference]) -> dict[str, bytes]:
    """Return the packed sites of each name, ordered by name."""
    grouped: dict[str, list[tuple[int, int, int]]] = {}
    for name, line, kind, scope in references:
        grouped.setdefault(name, []).append((line, KIND_NUMBERS[kind], 0 if scope is None else scope + 1))
    return {name: _pack_sites(grouped[name]) for name in sorted(grouped)}


def _pack_sites(sites: list[tuple[int, int, int]]) -> bytes:
    """Return the number of sites and, for each, its line with its kind and its scope, as variable-length integers.

    A line is the distance to that of the site before. An integer has seven bits in each byte, the lowest first, as in
    LEB128.
    """
    sites.sort()
    values = [len(sites)]
    last = 0
    for line, kind, scope in sites:
        values += ((line - last) << 2 | kind, scope)
        last = line
    if max(values) < 128:
        return bytes(values)
    packed = bytearray()
    for value in values:
        while value > 127:
            packed.append(value & 127 | 128)
            value >>= 7
        packed.append(value)
    return bytes(packed)


def unpack_integers(packed: bytes) -> Iterator[int]:
    """Yield the integers that `pack_references` packed for a name."""
    value = shift = 0
    for byte in packed:
        if byte > 127:
            value |= (byte & 127) << shift
            shift += 7
        else:
            yield value | byte << shift
            value = shift = 0


def unpack_sites(packed: bytes) -> list[Site]:
    """Return the sites that `pack_references` packed for a name."""
    values = list(unpack_integers(packed))
    line = 0
    sites: list[Site] = []
    for step, scope in zip(values[1::2], values[2::2], strict=True):
        line += step >> 2
        sites.append((line, KINDS[step & 3], scope - 1 if scope else None))
    return sites


def count_sites(packed: bytes) -> int:
    """Return the number of packed sites."""
    return next(unpack_integers(packed))


def use_checksum(name: str, path: str, sites: bytes) -> int:
    """Return the CRC-32 of a row of `uses`."""
    return zlib.crc32(sites, zlib.crc32(f"{name}\0{path}\0".encode("utf-8", "replace")))


def make_definition(values: Sequence[Any]) -> Definition:
    """Return the definition with these values, as `FactsRow.unpack` returns them."""
    return Definition(*values)


def _facts_values(file_id: int, file: FileChunks, sites: dict[str, bytes]) -> tuple[Any, ...]:
    facts = file.facts
    definitions = _compress([_list_values(definition) for definition in facts.definitions])
    values = (file.language, file.source_type, int(facts.is_partial), definitions, _compress(list(sites)))
    counts = (len(facts.definitions), sum(map(count_sites, sites.values())))
    return (file_id, *values[:3], *counts, *values[3:], _checksum((file.record.path, *values)))


def _list_values(definition: Definition) -> tuple[Any, ...]:
    d = definition
    return (
        d.name, d.qualified_name, d.kind, d.signature, d.name_line, d.start_line, d.end_line, d.parent, d.documentation,
    )  # fmt: skip


def _definition_values(file_id: int, definitions: Iterable[Definition]) -> Iterator[tuple[Any, ...]]:
    for ordinal, definition in enumerate(definitions):
        name, folded = definition.name, fold(definition.name)
        enclosing = definition.qualified_name.removesuffix(name).rstrip(".")[-MAX_ENCLOSING:]
        spelled = None if name == folded else name
        yield (folded, file_id, ordinal, spelled, enclosing, definition.kind, definition.name_line)


def _checksum(values: Iterable[object]) -> int:
    """Return the CRC-32 of path, language, source type, flag, definitions and names of a row of `facts`."""
    code = 0
    for value in values:
        code = zlib.crc32(value if isinstance(value, bytes) else f"{value}\0".encode("utf-8", "replace"), code)
    return code


def _compress(values: object) -> bytes:
    return zlib.compress(orjson.dumps(values), COMPRESSION)


def _decompress(data: bytes) -> bytes:
    return zlib.decompressobj().decompress(data, MAX_UNPACKED_BYTES)
