"""SQLite as the stores use it: write-ahead log, one writer at a time, readers from any thread, one kind of error."""

import contextlib
import sqlite3
import threading
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from agent_brain_server.errors import StoreError
from agent_brain_server.storage.schema_check import distrust_schema, find_schema_fault, has_journal, is_empty
from agent_brain_server.storage.seal import SEAL_SUFFIX, SealState, break_seal, seal_files

MAX_IDLE_READERS = 8
"""Read connections that are kept for the next query: as many as the server of one project has threads for requests."""

BUSY_TIMEOUT_S = 10.0
"""How long a statement waits for another process's lock, which only an inspecting tool would hold."""

DAMAGED_CODE = "store_damaged"
"""Of errors that tell of a damaged file, which can be made again."""

FOREIGN_CODE = "store_foreign"
"""Of errors that tell of a file which this installation did not make."""

ORIGIN_META = "origin"
"""Key in `meta`: the mark of the data directory in which the store was made."""

DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR})
"""SQLite's codes for damage; the last one means that a table or column of ours, whose names we know, is not there."""

FULL_CHECK_LIMIT = 32 * 1024 * 1024
"""Bytes up to which all pages are checked at the end, and on opening after a kill (30 ms); of larger ones when read."""


@contextmanager
def translate_errors(path: Path) -> Iterator[None]:
    """Raise what SQLite raises as `StoreError` that names the file."""
    try:
        yield
    except sqlite3.IntegrityError:
        raise
    except sqlite3.DatabaseError as exc:
        raise StoreError(f"{path} cannot be used: {exc}.", code=_code_of(exc)) from exc
    except OSError as exc:
        raise StoreError(f"{path} cannot be used: {exc.strerror or exc}.") from exc


def _code_of(exc: sqlite3.DatabaseError) -> str:
    """Tell a damaged file, which can be built again, from a full disk or a missing right, where that would not help."""
    return DAMAGED_CODE if getattr(exc, "sqlite_errorcode", None) in DAMAGE else "store_unusable"


def _identify(path: Path) -> tuple[int, int]:
    facts = path.stat()
    return facts.st_dev, facts.st_ino


class Database:
    """One SQLite file.

    Args:
        path: The file; it and its directory are made where they are missing.
        schema: SQL that makes the tables, run once on a new file.
        version: Kept as `user_version`; a file with another one is refused.
        added: Definitions of columns that may have been added to the tables since.
        origin: Mark that a new file is given and an existing one must have, in a table `meta`; None for no mark.

    Raises:
        StoreError: The file cannot be opened, is damaged (`store_damaged`), has another version (`store_version`) or
            was not made by this installation (`store_foreign`).
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
        self._seal = path.with_name(path.name + SEAL_SUFFIX)
        with translate_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if has_journal(path):  # a kill in the moment in which the file is created leaves one too
                raise StoreError(f"{path} has a rollback journal, which is not ours.", code=FOREIGN_CODE)
            seal = break_seal(self._seal, [path])
            if seal is SealState.BROKEN:
                raise StoreError(f"{path} is not what was last written to it.", code=DAMAGED_CODE)
            self._writer = self._connect()
            try:
                self._prepare(schema, version, is_checked=seal is SealState.INTACT)
            except BaseException:
                self._writer.close()
                raise
            self._file = _identify(path)

    def find_fault(self) -> str | None:
        """Say that the file was removed, replaced or met damaged since it was opened, else None; costs a `stat`."""
        if self._damage:
            return self._damage
        try:
            is_ours = _identify(self.path) == self._file
        except OSError:
            is_ours = False
        return None if is_ours or self._closed else f"{self.path} was removed"

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection that sees everything committed so far."""
        with self._noticing_damage():
            connection = self._take_reader()
            try:
                yield connection
            finally:
                self._give_back(connection)

    @contextmanager
    def writing(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """Lend the write connection for one transaction: committed at the end, rolled back when the block raises.

        Args:
            durable: Survive a loss of power too. Without it the last commits may be lost then, though never torn.
        """
        with self._lock, self._noticing_damage():
            if self._closed:
                raise StoreError(f"{self.path} is closed.")
            self._writer.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
            except BaseException:
                self._roll_back()
                raise
            try:
                self._writer.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise

    def get_meta(self, key: str) -> str | None:
        """Return a value of the `meta` table, None where it was never set."""
        with self.reading() as connection:
            row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def set_meta(self, key: str, value: str | None) -> None:
        """Keep a value in the `meta` table; None forgets it."""
        with self.writing(durable=False) as connection:
            if value is None:
                connection.execute("DELETE FROM meta WHERE key = ?", (key,))
            else:
                connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def close(self) -> None:
        """Close every connection. Safe to call twice; a reader in use is closed when it is given back."""
        with self._lock, self._idle_lock:
            if self._closed:
                return
            self._closed = True
            for connection in self._idle:
                connection.close()
            self._idle.clear()
            self._writer.close()
        with contextlib.suppress(OSError):  # it will be opened without a seal, as after a kill
            if self._damage or self._find_broken_page():
                self._seal.write_text("")  # as good as a broken one: the next to open it makes it again
            elif not self.path.with_name(f"{self.path.name}-wal").exists():  # the last to close takes it in
                seal_files(self._seal, [self.path])

    @contextmanager
    def _noticing_damage(self) -> Iterator[None]:
        try:
            with translate_errors(self.path):
                yield
        except StoreError as exc:
            if exc.code == DAMAGED_CODE:
                self._damage = exc.message
            raise

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, cached_statements=64
        )
        distrust_schema(connection)
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    def _prepare(self, schema: str, version: int, *, is_checked: bool) -> None:
        """Create the tables of a new file; refuse a file that is damaged, foreign or of another version."""
        if is_empty(self._writer):
            self._writer.execute("PRAGMA journal_mode = WAL")
            mark = f"INSERT INTO meta VALUES ('{ORIGIN_META}', '{self._origin}');" if self._origin else ""
            self._writer.executescript(f"BEGIN; {schema}; {mark} PRAGMA user_version = {version:d}; COMMIT;")
            return
        found = int(self._writer.execute("PRAGMA user_version").fetchone()[0])
        if found != version:
            raise StoreError(f"{self.path} has version {found}, this program writes {version}.", code="store_version")
        if fault := find_schema_fault(self._writer, schema, self._added):  # before anything is written
            raise StoreError(f"{self.path} has a foreign schema: {fault}.", code=FOREIGN_CODE)
        if self._origin and self._read_origin() != self._origin:
            raise StoreError(f"{self.path} was not made by this installation.", code=FOREIGN_CODE)
        self._writer.execute("PRAGMA journal_mode = WAL")
        if not is_checked and (fault := self._check_pages(self._writer)):
            raise StoreError(f"{self.path} is damaged: {fault}.", code=DAMAGED_CODE)

    def _read_origin(self) -> str | None:
        row = self._writer.execute("SELECT value FROM meta WHERE key = ?", (ORIGIN_META,)).fetchone()
        return None if row is None else str(row[0])

    def _check_pages(self, connection: sqlite3.Connection) -> str | None:
        """Say what is wrong with the pages, the indexes among them; None where nothing is, or there are too many."""
        if self.path.stat().st_size > FULL_CHECK_LIMIT:
            return None
        verdict = str(connection.execute("PRAGMA integrity_check(1)").fetchone()[0])
        return None if verdict == "ok" else verdict

    def _find_broken_page(self) -> str | None:
        """Say what a byte that changed since opening has broken in the closed file: a seal would hide it."""
        try:
            with closing(sqlite3.connect(f"{self.path.absolute().as_uri()}?immutable=1", uri=True)) as connection:
                return self._check_pages(connection)
        except sqlite3.OperationalError as exc:
            raise OSError(str(exc)) from exc
        except sqlite3.DatabaseError as exc:
            return str(exc)

    def _take_reader(self) -> sqlite3.Connection:
        with self._idle_lock:
            if self._closed:
                raise StoreError(f"{self.path} is closed.")
            if self._idle:
                return self._idle.pop()
        connection = self._connect()
        connection.execute("PRAGMA query_only = ON")
        return connection

    def _give_back(self, connection: sqlite3.Connection) -> None:
        with self._idle_lock:
            if not self._closed and len(self._idle) < MAX_IDLE_READERS:
                self._idle.append(connection)
                return
        connection.close()

    def _roll_back(self) -> None:
        if self._writer.in_transaction:
            self._writer.execute("ROLLBACK")
