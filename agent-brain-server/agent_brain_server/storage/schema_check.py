"""Compare the schema of a SQLite file with the one this program creates.

A file that came with a repository may have triggers, views or generated columns, whose SQL runs inside our own
statements. A file is used only if its schema is, to the letter, the one that we create.
"""

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

JOURNAL_SUFFIX = "-journal"

STATISTICS = "sqlite_stat"
"""Prefix of the tables that SQLite keeps about indexes."""

INSPECT_TIMEOUT_S = 5.0  # a server that writes holds its lock for milliseconds

Schema = frozenset[tuple[str, str, str, str | None]]

_READ_SCHEMA = "SELECT type, name, tbl_name, sql FROM sqlite_schema"


def distrust_schema(connection: sqlite3.Connection) -> None:
    """Keep SQL in the schema of a file from calling functions that have side effects."""
    connection.execute("PRAGMA trusted_schema = OFF")


def has_journal(path: Path) -> bool:
    """Return whether a rollback journal is beside a database.

    Our databases are in WAL mode and have none. SQLite would roll back a journal that came with the file when it opens
    the file, and delete another file that the journal names.
    """
    journal = path.with_name(path.name + JOURNAL_SUFFIX)
    return journal.is_symlink() or journal.exists()


def is_empty(connection: sqlite3.Connection) -> bool:
    """Return whether a database has no schema yet."""
    return not connection.execute("SELECT EXISTS (SELECT 1 FROM sqlite_schema)").fetchone()[0]


def find_schema_fault(connection: sqlite3.Connection, schema: str, added: Collection[str] = ()) -> str | None:
    """Return the name of something that is missing from the schema of a file or does not belong there, else None.

    Args:
        connection: To the file.
        schema: SQL that creates the tables.
        added: Definitions of columns, such as `end_order INTEGER`, that may be added to the tables.
    """
    found = _normalize(connection, added)
    expected = _expected(schema, tuple(added))
    if found == expected:
        return None
    kind, name, _, _ = min(found ^ expected, key=lambda entry: (entry[0], entry[1]))
    return f"{kind} {name[:40]!r}"


@contextmanager
def open_inspected(path: Path, *, schema: str, added: Collection[str] = ()) -> Iterator[sqlite3.Connection | None]:
    """Open a database that no server uses to read it; yields None if it is missing or not one that we create.

    Args:
        path: The file.
        schema: SQL that creates the tables.
        added: As for `find_schema_fault`.

    Raises:
        sqlite3.Error: The file is damaged.
    """
    if path.is_symlink() or not path.is_file() or has_journal(path):
        yield None
        return
    with closing(
        sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=INSPECT_TIMEOUT_S)
    ) as connection:
        distrust_schema(connection)
        yield None if find_schema_fault(connection, schema, added) else connection


@lru_cache(maxsize=8)
def _expected(schema: str, added: tuple[str, ...]) -> Schema:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(schema)
        return _normalize(connection, added)


def _normalize(connection: sqlite3.Connection, added: Collection[str]) -> Schema:
    entries = []
    for kind, name, table, sql in connection.execute(_READ_SCHEMA):
        if str(name).startswith(STATISTICS):
            continue
        for column in added:
            sql = sql and sql.replace(f", {column}", "")
        entries.append((str(kind), str(name), str(table), sql))
    return frozenset(entries)
