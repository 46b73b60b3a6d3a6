"""SQLite in write-ahead-log mode: one writer at a time, readers in any thread, errors as `StoreError`.

A database file may come with a repository, and then have triggers, views or generated columns, whose SQL would run
inside our statements. A file is therefore used only if its schema is literally the one that this program creates.
"""

import contextlib
import sqlite3
import threading
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

from agent_brain_server.errors import StoreError

MAX_IDLE_READERS = 8
"""Read connections kept for reuse: as many as a project's server has request threads."""

BUSY_TIMEOUT_S = 10.0
"""Longest wait of a statement for the lock of another process, such as an inspecting tool."""

INSPECT_TIMEOUT_S = 5.0  # a server that writes holds its lock for milliseconds

DAMAGED_CODE = "store_damaged"
"""Error code of a damaged file."""

FOREIGN_CODE = "store_foreign"
"""Error code of a file that this installation did not create."""

VERSION_CODE = "store_version"
"""Error code of a file that another version of this program wrote."""

REBUILDABLE_CODES = frozenset({DAMAGED_CODE, FOREIGN_CODE, VERSION_CODE})
"""Error codes of files that can be built again from their source."""

ORIGIN_META = "origin"
"""Key in `meta`: mark of the data directory that the store was created in."""

DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR})
"""SQLite's codes for damage; the last one means that one of our tables or columns is missing."""

FULL_CHECK_LIMIT = 32 * 1024 * 1024
"""Bytes up to which all pages are checked on opening (30 ms); pages of larger files are checked when they are read."""

WAL_SUFFIXES = ("-wal", "-shm")
JOURNAL_SUFFIX = "-journal"

DAMAGED_SUFFIX = ".damaged"
"""Suffix of the empty file that marks a database in which a read found damage."""

STATISTICS = "sqlite_stat"
"""Prefix of the tables that SQLite keeps about indexes."""

Schema = frozenset[tuple[str, str, str, str | None]]

_READ_SCHEMA = "SELECT type, name, tbl_name, sql FROM sqlite_schema"


class Database:
    """One SQLite file.

    Args:
        path: The file; it and its directory are created if they are missing.
        schema: SQL that creates the tables of a new file.
        version: Stored as `user_version`; a file of another version is refused.
        added: Definitions of columns that may have been added to the tables since.
        origin: Mark that a new file gets and an existing one must have in its table `meta`; `None` for no mark.

    Raises:
        StoreError: The file cannot be opened, is damaged (`store_damaged`), has another version (`store_version`), or
            was not created by this installation (`store_foreign`).
    """

    def __init__(
        self, path: Path, *, schema: str, version: int, added: Collection[str] = (), origin: str | None = None
    ) -> None:
        self.path = path
        self._added = added
        self._origin = origin
        self._lock = threading.RLock()
        self._idle: list[sqlite3.Connection] = []
        self._idle_lock = threading.Lock()
        self._closed = False
        self._damage: str | None = None
        with _translating_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if has_journal(path):  # also left by a kill while the file is being created
                raise StoreError(f"{path} has a rollback journal, which is not ours.", code=FOREIGN_CODE)
            if _damaged_mark(path).exists():
                raise StoreError(f"{path} was found damaged.", code=DAMAGED_CODE)
            self._writer = self._connect()
            try:
                self._prepare(schema, version)
            except BaseException:
                self._writer.close()
                raise
            self._file = _identify(path)

    def find_fault(self) -> str | None:
        """Return whether the file was removed, replaced or found damaged since it was opened; costs a `stat`."""
        if self._damage:
            return self._damage
        try:
            is_ours = _identify(self.path) == self._file
        except OSError:
            is_ours = False
        return None if is_ours or self._closed else f"{self.path} was removed"

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Yield a read-only connection that sees everything committed so far."""
        with self._noting_damage():
            connection = self._take_reader()
            try:
                yield connection
            finally:
                self._return_reader(connection)

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """Yield a read-only connection that sees the same state in all statements."""
        with self.reading() as connection:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("ROLLBACK")

    @contextmanager
    def writing(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """Yield the write connection for one transaction, which is rolled back if the block raises.

        Args:
            durable: Survive a loss of power. Otherwise the last commits may be lost then, but never torn.
        """
        with self._lock, self._noting_damage():
            if self._closed:
                raise StoreError(f"{self.path} is closed.")
            self._writer.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise

    def get_meta(self, key: str) -> str | None:
        """Return a value of the `meta` table, or `None` if it is not set."""
        with self.reading() as connection:
            row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def set_meta(self, key: str, value: str | None) -> None:
        """Set a value of the `meta` table; `None` deletes it."""
        with self.writing(durable=False) as connection:
            if value is None:
                connection.execute("DELETE FROM meta WHERE key = ?", (key,))
            else:
                connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def close(self) -> None:
        """Close every connection. Safe to call twice; a reader in use is closed when it is returned."""
        with self._lock, self._idle_lock:
            if self._closed:
                return
            self._closed = True
            for connection in self._idle:
                connection.close()
            self._idle.clear()
            self._writer.close()
        if self._damage:
            with contextlib.suppress(OSError):
                _damaged_mark(self.path).touch(mode=0o600)

    @contextmanager
    def _noting_damage(self) -> Iterator[None]:
        try:
            with _translating_errors(self.path):
                yield
        except StoreError as exc:
            if exc.code == DAMAGED_CODE:
                self._damage = exc.message
            raise

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, cached_statements=64
        )
        _distrust_schema(connection)
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    def _prepare(self, schema: str, version: int) -> None:
        """Create the tables of a new file; refuse a file that is damaged, foreign or of another version."""
        if _is_empty(self._writer):
            self._writer.execute("PRAGMA journal_mode = WAL")
            mark = f"INSERT INTO meta VALUES ('{ORIGIN_META}', '{self._origin}');" if self._origin else ""
            self._writer.executescript(f"BEGIN; {schema}; {mark} PRAGMA user_version = {version:d}; COMMIT;")
            return
        found = int(self._writer.execute("PRAGMA user_version").fetchone()[0])
        if found != version:
            raise StoreError(f"{self.path} has version {found}, this program writes {version}.", code=VERSION_CODE)
        if fault := find_schema_fault(self._writer, schema, self._added):  # before anything is written
            raise StoreError(f"{self.path} has a foreign schema: {fault}.", code=FOREIGN_CODE)
        if self._origin and self._read_origin() != self._origin:
            raise StoreError(f"{self.path} was not made by this installation.", code=FOREIGN_CODE)
        self._writer.execute("PRAGMA journal_mode = WAL")
        if fault := self._check_pages():
            raise StoreError(f"{self.path} is damaged: {fault}.", code=DAMAGED_CODE)

    def _read_origin(self) -> str | None:
        row = self._writer.execute("SELECT value FROM meta WHERE key = ?", (ORIGIN_META,)).fetchone()
        return None if row is None else str(row[0])

    def _check_pages(self) -> str | None:
        """Return what SQLite finds wrong with the pages and indexes, or `None`; large files are not checked."""
        if self.path.stat().st_size > FULL_CHECK_LIMIT:
            return None
        verdict = str(self._writer.execute("PRAGMA integrity_check(1)").fetchone()[0])
        return None if verdict == "ok" else verdict

    def _take_reader(self) -> sqlite3.Connection:
        with self._idle_lock:
            if self._closed:
                raise StoreError(f"{self.path} is closed.")
            if self._idle:
                return self._idle.pop()
        connection = self._connect()
        connection.execute("PRAGMA query_only = ON")
        return connection

    def _return_reader(self, connection: sqlite3.Connection) -> None:
        with self._idle_lock:
            if not self._closed and len(self._idle) < MAX_IDLE_READERS:
                self._idle.append(connection)
                return
        connection.close()


@contextmanager
def open_inspected(path: Path, *, schema: str, added: Collection[str] = ()) -> Iterator[sqlite3.Connection | None]:
    """Open a database that no server uses read-only; yield `None` if it is missing or not one that we create.

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
        _distrust_schema(connection)
        yield None if find_schema_fault(connection, schema, added) else connection


def remove_database(path: Path) -> None:
    """Remove a database that is not open, with the files beside it."""
    for suffix in ("", *WAL_SUFFIXES, JOURNAL_SUFFIX, DAMAGED_SUFFIX):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def has_journal(path: Path) -> bool:
    """Return whether there is a rollback journal beside a database.

    Our databases are in WAL mode and have none. SQLite would roll back a journal that came with the file when it opens
    the file, and delete another file that the journal names.
    """
    journal = path.with_name(path.name + JOURNAL_SUFFIX)
    return journal.is_symlink() or journal.exists()


def find_schema_fault(connection: sqlite3.Connection, schema: str, added: Collection[str] = ()) -> str | None:
    """Return the name of something that is missing from the schema of a file or does not belong there, or `None`.

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
def _translating_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.IntegrityError:
        raise
    except sqlite3.DatabaseError as exc:
        # a damaged file can be built again; a full disk or a missing permission is not solved by that
        is_damaged = getattr(exc, "sqlite_errorcode", None) in DAMAGE
        code = DAMAGED_CODE if is_damaged else "store_unusable"
        raise StoreError(f"{path} cannot be used: {exc}.", code=code) from exc
    except OSError as exc:
        raise StoreError(f"{path} cannot be used: {exc.strerror or exc}.") from exc


def _identify(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _damaged_mark(path: Path) -> Path:
    return path.with_name(path.name + DAMAGED_SUFFIX)


def _distrust_schema(connection: sqlite3.Connection) -> None:
    """Keep SQL in the schema of a file from calling functions that have side effects."""
    connection.execute("PRAGMA trusted_schema = OFF")


def _is_empty(connection: sqlite3.Connection) -> bool:
    return not connection.execute("SELECT EXISTS (SELECT 1 FROM sqlite_schema)").fetchone()[0]


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
