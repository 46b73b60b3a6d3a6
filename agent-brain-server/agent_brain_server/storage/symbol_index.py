"""Read the syntax facts of a project: where a name is defined, what uses it, and what a file defines."""

import logging
import sqlite3
import zlib
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Literal, NamedTuple

from agent_brain_server.storage.chunk_rows import as_json, fetch_rows
from agent_brain_server.storage.database import Database
from agent_brain_server.storage.defined_names import MAX_LENGTH, MAX_LOADED, DefinedNames
from agent_brain_server.storage.fact_rows import (
    SELECT_FACTS,
    FactsRow,
    fold,
    use_checksum,
)
from agent_brain_server.storage.fact_values import Site, count_sites, unpack_sites
from agent_brain_server.types import (
    NAMELESS_KINDS,
    Definition,
    FactCounts,
    FileDefinitions,
    FileReferences,
    FoundDefinitions,
    FoundReferences,
    Reference,
    ReferenceKind,
    ReferenceSite,
    StoredDefinition,
)

logger = logging.getLogger(__name__)

Match = Literal["exact", "ignore_case", "part"]
"""Rule by which a name is compared with defined names."""

MAX_PART_NAMES = 200
"""Defined names that a match of a part considers, the best first."""

MAX_DEFINING = 500
"""Definitions of a name that lead to chunks; a name with more is no useful query."""

SELECT_DEFINITIONS = """
SELECT coalesce(d.name, d.folded), d.enclosing, d.kind, d.line, d.file_id, d.ordinal, f.path
FROM definitions d JOIN files f USING (file_id) WHERE d.folded = ?
"""

SELECT_USES = """
SELECT u.name, f.path, u.sites, u.checksum, u.file_id FROM uses u JOIN files f USING (file_id) WHERE u.name = ?
"""

SELECT_DEFINING_KEYS = """
SELECT coalesce(d.name, d.folded), d.enclosing, c.key, d.kind
FROM definitions d JOIN chunks c ON c.file_id = d.file_id AND d.line BETWEEN c.start_line AND c.end_line
WHERE d.folded = ? LIMIT ?
"""

ALL_NAMES = f"""
SELECT group_concat(folded, char(10)) FROM (
    SELECT DISTINCT folded FROM definitions WHERE instr(folded, char(10)) = 0 AND length(folded) <= {MAX_LENGTH}
    LIMIT {MAX_LOADED}
)
"""


class DefinitionRow(NamedTuple):
    """A row of `SELECT_DEFINITIONS`."""

    name: str
    enclosing: str
    kind: str
    line: int
    file_id: int
    ordinal: int
    path: str

    def is_typed(self) -> bool:
        """Return whether the values have their types; SQLite does not check them."""
        return list(map(type, self)) == [str, str, str, int, int, int, str]


class SymbolIndex:
    """Definitions and references of one project. Any thread may read; a call sees one state of the store.

    Args:
        database: Holds the tables of `FACTS_SCHEMA`.
        on_damaged: Called with the ids of files with damaged rows, which are left out of answers.
    """

    def __init__(self, database: Database, on_damaged: Callable[[Collection[int]], None]) -> None:
        self._database = database
        self._on_damaged = on_damaged
        self.names = DefinedNames()

    def definitions(
        self,
        name: str,
        *,
        match: Match = "exact",
        qualifier: Sequence[str] = (),
        kinds: Collection[str] = (),
        allows: Callable[[str], bool] | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> FoundDefinitions:
        """Return the definitions of an unqualified name, ordered by path and line.

        Definitions that match a part of their name are ordered by name first: names that begin with it, then shorter
        names, come first. Only the `MAX_PART_NAMES` best names are considered.

        Args:
            name: The name, or a part of it.
            match: How names are compared; `ignore_case` and `part` fold case.
            qualifier: Names of the innermost enclosing definitions, outer ones first (`A`, `B` in `A::B::name`).
            kinds: Kinds of definitions to return; empty for all.
            allows: Returns whether to include a path; `None` for all.
            limit: Maximum number of definitions to return; `None` for all.
            offset: Number of definitions to skip.
        """
        found: list[DefinitionRow] = []
        damaged: set[int] = set()
        with self._database.snapshot() as connection:
            for folded in self._matching_names(connection, name, match):
                rows = list(map(DefinitionRow._make, fetch_rows(connection, SELECT_DEFINITIONS, (folded,))))
                damaged.update(row.file_id for row in rows if not row.is_typed())
                chosen = [
                    row
                    for row in rows
                    if row.is_typed()
                    and (match != "exact" or row.name == name)
                    and encloses(row.enclosing, qualifier, ignore_case=match != "exact")
                    and (not kinds or row.kind in kinds)
                    and (allows is None or allows(row.path))
                ]
                found.extend(sorted(chosen, key=lambda row: (row.path, row.line, row.ordinal)))
            page = found[offset:] if limit is None else found[offset : offset + limit]
            files = self._read_files(connection, {row.file_id for row in page})
        definitions, wrong = _pick_definitions(page, files)
        self._report(damaged.union(row.file_id for row in wrong))
        return FoundDefinitions(tuple(definitions), len(found) - len(wrong))

    def definitions_of(self, path: str) -> FileDefinitions | None:
        """Return the definitions of a file; `None` if it is unknown or no facts were extracted from it."""
        with self._database.snapshot() as connection:
            row = self._read_row(connection, path)
        return None if row is None else _list_definitions(row)

    def references(
        self,
        name: str,
        *,
        kinds: Collection[ReferenceKind] = (),
        allows: Callable[[str], bool] | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> FoundReferences:
        """Return the sites that use a name, ordered by path and line.

        Args:
            name: Unqualified name, in the case as spelled.
            kinds: Kinds of references to return; empty for all.
            allows: Returns whether to include a path; `None` for all.
            limit: Maximum number of sites to return; `None` for all.
            offset: Number of sites to skip.
        """
        damaged: set[int] = set()
        chosen: list[tuple[str, int, list[Site]]] = []
        total_files = total_sites = 0
        end = None if limit is None else offset + limit
        with self._database.snapshot() as connection:
            for row in sorted(fetch_rows(connection, SELECT_USES, (name,)), key=lambda row: str(row[1])):
                if not _is_valid_use(row):
                    damaged.add(row[4])
                    continue
                _, path, packed, _, file_id = row
                if allows is not None and not allows(path):
                    continue
                sites = [site for site in unpack_sites(packed) if site[1] in kinds] if kinds else None
                count = count_sites(packed) if sites is None else len(sites)
                if count and total_sites + count > offset and (end is None or total_sites < end):
                    sites = unpack_sites(packed) if sites is None else sites
                    first = max(0, offset - total_sites)
                    chosen.append((path, file_id, sites[first : None if end is None else end - total_sites]))
                total_sites += count
                total_files += count > 0
            files = self._read_files(connection, {file_id for _, file_id, _ in chosen})
        self._report(damaged)
        found = [_describe_sites(files[file_id], sites) for _, file_id, sites in chosen if file_id in files]
        return FoundReferences(tuple(found), total_files, total_sites)

    def references_of(self, path: str) -> list[Reference]:
        """Return all references in a file, ordered by line and name; `scope` is an index in `definitions_of(path)`."""
        damaged: set[int] = set()
        found: list[Reference] = []
        with self._database.snapshot() as connection:
            facts = self._read_row(connection, path)
            for name in () if facts is None else facts.unpack()[1]:
                assert facts is not None
                for row in fetch_rows(connection, f"{SELECT_USES} AND u.file_id = ?", (name, facts.file_id)):
                    if not _is_valid_use(row):
                        damaged.add(facts.file_id)
                        continue
                    found.extend(Reference(name, line, kind, scope) for line, kind, scope in unpack_sites(row[2]))
        self._report(damaged)
        return sorted(found, key=lambda reference: (reference.line, reference.name))

    def nearest_names(self, name: str, limit: int) -> list[str]:
        """Return the defined names nearest to a name by edit distance, as spelled, nearest first."""
        with self._database.snapshot() as connection:
            self._load_names(connection)
            near = self.names.nearest(fold(name), 2 * limit)
            spelled: dict[str, None] = {}
            for folded in near:
                names = {row[0] for row in fetch_rows(connection, f"{SELECT_DEFINITIONS} LIMIT 100", (folded,))}
                spelled.update(dict.fromkeys(sorted(names)))
        return list(spelled)[:limit]

    def has_name(self, name: str, *, ignore_case: bool = False) -> bool:
        """Return whether the project defines a name."""
        spelled = "" if ignore_case else "AND coalesce(name, folded) = ?"
        query = f"SELECT EXISTS (SELECT 1 FROM definitions WHERE folded = ? {spelled})"
        values = (fold(name),) if ignore_case else (fold(name), name)
        with self._database.reading() as connection:
            return bool(connection.execute(query, values).fetchone()[0])

    def defining_keys(self, name: str, qualifier: Sequence[str] = (), *, ignore_case: bool = False) -> list[int]:
        """Return the keys of the chunks with the line of the name in its definitions, ascending.

        Definitions that extend a name, such as `impl` in Rust, count only if there are no others.

        Args:
            name: Unqualified name.
            qualifier: As for `definitions`.
            ignore_case: Whether to fold case.
        """
        with self._database.reading() as connection:
            rows = fetch_rows(connection, SELECT_DEFINING_KEYS, (fold(name), MAX_DEFINING))
        chosen = [
            row
            for row in rows
            if (ignore_case or row[0] == name) and encloses(row[1], qualifier, ignore_case=ignore_case)
        ]
        defining = [row for row in chosen if row[3] not in NAMELESS_KINDS]
        return sorted({row[2] for row in defining or chosen})

    def counts(self) -> FactCounts:
        """Count what is stored."""
        query = "SELECT sum(definition_count), sum(reference_count), sum(is_partial) FROM facts"
        with self._database.reading() as connection:
            definitions, references, partial = connection.execute(query).fetchone()
        return FactCounts(int(definitions or 0), int(references or 0), int(partial or 0))

    def _matching_names(self, connection: sqlite3.Connection, name: str, match: Match) -> list[str]:
        if match != "part":
            return [fold(name)]
        self._load_names(connection)
        return self.names.containing(fold(name))[:MAX_PART_NAMES]

    def _load_names(self, connection: sqlite3.Connection) -> None:
        if not self.names.is_loaded:
            self.names.collect()  # before the first statement, which fixes what the connection sees
            self.names.load(connection.execute(ALL_NAMES).fetchone()[0] or "")

    def _read_files(self, connection: sqlite3.Connection, file_ids: Collection[int]) -> dict[int, FactsRow]:
        """Return the valid rows of files, by file id."""
        query = f"{SELECT_FACTS} WHERE file_id IN (SELECT value FROM json_each(?))"
        return {row.file_id: row for row in self._check(fetch_rows(connection, query, (as_json(file_ids),)))}

    def _read_row(self, connection: sqlite3.Connection, path: str) -> FactsRow | None:
        rows = self._check(fetch_rows(connection, f"{SELECT_FACTS} WHERE path = ?", (path,)))
        return rows[0] if rows else None

    def _check(self, rows: Iterable[Sequence[Any]]) -> list[FactsRow]:
        """Return the valid rows; damaged ones are reported."""
        found = [FactsRow._make(row) for row in rows]
        valid = [row for row in found if row.is_valid()]
        if len(valid) < len(found):
            self._report({row.file_id for row in found} - {row.file_id for row in valid})
        return valid

    def _report(self, damaged: Collection[int]) -> None:
        if damaged:
            logger.warning("The facts of %d files are damaged: reading the files again", len(damaged))
            self._on_damaged(damaged)


def encloses(enclosing: str, qualifier: Sequence[str], *, ignore_case: bool = False) -> bool:
    """Return whether enclosing names, joined by dots, end with those of a qualifier."""
    if not qualifier:
        return True
    wanted = "." + ".".join(qualifier)
    found = f".{enclosing}"
    return fold(found).endswith(fold(wanted)) if ignore_case else found.endswith(wanted)


def _pick_definitions(
    page: Sequence[DefinitionRow], files: dict[int, FactsRow]
) -> tuple[list[StoredDefinition], list[DefinitionRow]]:
    """Return the definitions of rows, and the rows that do not agree with the facts of their file."""
    unpacked = {file_id: row.unpack()[0] for file_id, row in files.items()}
    found: list[StoredDefinition] = []
    damaged: list[DefinitionRow] = []
    for row in page:
        values = unpacked.get(row.file_id, [])
        if row.ordinal >= len(values) or values[row.ordinal][0] != row.name:
            damaged.append(row)
            continue
        file = files[row.file_id]
        definition = Definition(*values[row.ordinal])
        found.append(StoredDefinition(file.path, file.language, file.source_type, definition))
    return found, damaged


def _list_definitions(row: FactsRow) -> FileDefinitions:
    definitions = tuple(Definition(*values) for values in row.unpack()[0])
    return FileDefinitions(row.path, row.language, row.source_type, definitions, bool(row.is_partial))


def _describe_sites(row: FactsRow, sites: Iterable[Site]) -> FileReferences:
    values = row.unpack()[0]
    known: dict[int | None, Definition | None] = {None: None}
    described: list[ReferenceSite] = []
    for line, kind, scope in sites:
        if scope not in known:
            known[scope] = Definition(*values[scope]) if scope is not None and scope < len(values) else None
        described.append(ReferenceSite(line, kind, known[scope]))
    return FileReferences(row.path, row.language, row.source_type, tuple(described))


def _is_valid_use(row: Sequence[Any]) -> bool:
    name, path, packed, checksum, _ = row
    return (
        isinstance(packed, bytes)
        and use_checksum(name, zlib.crc32(path.encode("utf-8", "replace")), packed) == checksum
    )
