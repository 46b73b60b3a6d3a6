import sqlite3
import stat
import threading
from contextlib import closing
from pathlib import Path

import pytest

from agent_brain_server.errors import StoreError
from agent_brain_server.storage import database as database_module
from agent_brain_server.storage.database import MAX_IDLE_READERS, Database, open_inspected, remove_database
from agent_brain_server.storage.document_store import ADDED_COLUMNS, DATABASE_NAME, DocumentStore
from agent_brain_server.storage.document_store import SCHEMA as DOCUMENT_SCHEMA
from agent_brain_server.storage.job_store import JobStore, has_unfinished_jobs

SCHEMA = "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL); CREATE TABLE numbers (n INTEGER UNIQUE)"


@pytest.fixture
def database(tmp_path):
    database = Database(tmp_path / "inner" / "some.sqlite3", schema=SCHEMA, version=3)
    yield database
    database.close()


def numbers(database):
    with database.reading() as connection:
        return [n for (n,) in connection.execute("SELECT n FROM numbers ORDER BY n")]


def test_writing_raised_error_rolls_back(database):
    with database.writing() as connection:
        connection.execute("INSERT INTO numbers VALUES (1)")
    with pytest.raises(RuntimeError), database.writing() as connection:
        connection.execute("INSERT INTO numbers VALUES (2)")
        raise RuntimeError
    assert numbers(database) == [1]
    with database.writing(durable=False) as connection:
        connection.execute("INSERT INTO numbers VALUES (3)")
    assert numbers(database) == [1, 3]


def test_reading_sees_committed_rows_only(database):
    with database.writing() as connection:
        connection.execute("INSERT INTO numbers VALUES (1)")
        assert numbers(database) == []
    assert numbers(database) == [1]


def test_reading_connection_cannot_write(database):
    with pytest.raises(StoreError, match="readonly"), database.reading() as connection:
        connection.execute("INSERT INTO numbers VALUES (1)")


def test_writing_violated_constraint_raises_integrity_error(database):
    with pytest.raises(sqlite3.IntegrityError), database.writing() as connection:
        connection.executemany("INSERT INTO numbers VALUES (?)", [(1,), (1,)])
    assert numbers(database) == []


def test_reading_in_many_threads_keeps_few_connections(database):
    gate = threading.Barrier(12)

    def read():
        with database.reading() as connection:
            gate.wait(timeout=120)
            connection.execute("SELECT 1").fetchone()

    threads = [threading.Thread(target=read) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(database._idle) == MAX_IDLE_READERS


def test_writing_in_many_threads_loses_nothing(database):
    def add(first):
        for n in range(first, first + 25):
            with database.writing(durable=False) as connection:
                connection.execute("INSERT INTO numbers VALUES (?)", (n,))

    threads = [threading.Thread(target=add, args=(first,)) for first in (0, 100, 200, 300)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(numbers(database)) == 100


def test_open_creates_private_directory(database):
    assert stat.S_IMODE(database.path.parent.stat().st_mode) == 0o700


def test_open_below_file_raises_store_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"some\.sqlite3"):
        Database(tmp_path / "file" / "some.sqlite3", schema=SCHEMA, version=3)


def lose_an_entry(path):
    """Remove a row from an index but not from its table, behind SQLite's back."""
    with closing(sqlite3.connect(path)) as connection:
        page_size = connection.execute("PRAGMA page_size").fetchone()[0]
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE tbl_name = 'numbers' AND type = 'index'")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = bytearray(path.read_bytes())
    cells = (page[0] - 1) * page_size + 3  # number of cells in the page's header
    data[cells + 1] -= 1
    path.write_bytes(data)


def test_open_inconsistent_index_is_refused(tmp_path):
    path = tmp_path / "some.sqlite3"
    database = Database(path, schema=SCHEMA, version=3)
    with database.writing() as connection:
        connection.executemany("INSERT INTO numbers VALUES (?)", [(1,), (2,), (3,)])
    database.close()
    lose_an_entry(path)
    with pytest.raises(StoreError) as caught:
        Database(path, schema=SCHEMA, version=3)
    assert caught.value.code == "store_damaged"


def test_open_after_failed_read_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(database_module, "FULL_CHECK_LIMIT", 0)
    path = tmp_path / "some.sqlite3"
    database = Database(path, schema=SCHEMA, version=3)
    with database.writing() as connection:
        connection.executemany("INSERT INTO numbers VALUES (?)", [(n,) for n in range(5000)])
    database.close()
    data = bytearray(path.read_bytes())
    data[8192:] = bytes(len(data) - 8192)
    path.write_bytes(data)
    database = Database(path, schema=SCHEMA, version=3)
    with pytest.raises(StoreError):
        numbers(database)
    assert "malformed" in database.find_fault()
    database.close()
    for _ in range(2):
        with pytest.raises(StoreError, match="found damaged") as caught:
            Database(path, schema=SCHEMA, version=3)
        assert caught.value.code == "store_damaged"
    remove_database(path)
    Database(path, schema=SCHEMA, version=3).close()


def test_find_fault_reports_removed_file(database):
    assert database.find_fault() is None
    database.path.unlink()
    assert "was removed" in database.find_fault()


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT"

FOREIGN = {
    "trigger": "CREATE TRIGGER evil AFTER INSERT ON files BEGIN DELETE FROM chunks; END",
    "view": "CREATE VIEW evil AS SELECT * FROM files",
    "table": "CREATE TABLE evil (a)",
    "index": "CREATE INDEX evil ON files (size)",
    "expression index": "CREATE INDEX evil ON files (abs(size))",
    "column": "ALTER TABLE files ADD COLUMN evil TEXT",
    "generated column": "ALTER TABLE jobs ADD COLUMN evil TEXT AS (printf('%1000000000d', 1))",
    "renamed": "ALTER TABLE skips RENAME TO evil",
    "missing": "DROP TABLE skips",
    "view for a table": f"DROP TABLE meta; CREATE VIEW meta AS {ENDLESS} 'scopes' AS key, count(*) AS value FROM n",
}


@pytest.fixture
def closed_store(tmp_path: Path) -> Path:
    """Return the directory of a store with the columns that were added to it."""
    documents = DocumentStore(tmp_path)
    JobStore(documents)
    documents.close()
    return tmp_path


def change(path: Path, script: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)


@pytest.mark.parametrize("kind", FOREIGN)
def test_open_store_with_foreign_schema_is_refused(closed_store: Path, kind: str) -> None:
    change(closed_store / DATABASE_NAME, FOREIGN[kind])
    with pytest.raises(StoreError, match="foreign schema") as caught:
        DocumentStore(closed_store)
    assert caught.value.code == "store_foreign"
    assert not has_unfinished_jobs(closed_store)


def test_open_store_with_added_columns_works(closed_store: Path) -> None:
    documents = DocumentStore(closed_store)
    JobStore(documents)
    assert documents.counts().files == 0
    documents.close()


def test_open_store_with_statistics_works(closed_store: Path) -> None:
    change(closed_store / DATABASE_NAME, "ANALYZE")
    DocumentStore(closed_store).close()


def test_open_store_with_journal_is_refused(closed_store: Path) -> None:
    journal = closed_store / f"{DATABASE_NAME}-journal"
    journal.write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + bytes(504))
    with pytest.raises(StoreError, match="rollback journal"):
        DocumentStore(closed_store)
    with open_inspected(closed_store / DATABASE_NAME, schema=DOCUMENT_SCHEMA, added=ADDED_COLUMNS) as connection:
        assert connection is None
    assert journal.exists()
