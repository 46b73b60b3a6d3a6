"""SQLite files that did not come from this program: triggers, views, columns, journals."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from agent_brain_server.errors import StoreError
from agent_brain_server.storage.document_store import DATABASE_NAME, DocumentStore
from agent_brain_server.storage.job_store import JobStore, has_unfinished_jobs
from agent_brain_server.storage.schema import ADDED_COLUMNS, SCHEMA
from agent_brain_server.storage.schema_check import open_inspected
from agent_brain_server.storage.vector_map import MAP_NAME, VectorMap

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
def store(tmp_path: Path) -> Path:
    """Return the directory of a store with the columns that were added to it."""
    documents = DocumentStore(tmp_path)
    JobStore(documents)
    documents.close()
    (tmp_path / f"{DATABASE_NAME}.seal").unlink()
    return tmp_path


def change(path: Path, script: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)


@pytest.mark.parametrize("kind", FOREIGN)
def test_open_store_with_foreign_schema_is_refused(store: Path, kind: str) -> None:
    change(store / DATABASE_NAME, FOREIGN[kind])
    with pytest.raises(StoreError, match="foreign schema") as caught:
        DocumentStore(store)
    assert caught.value.code == "store_foreign"
    assert not has_unfinished_jobs(store)


def test_open_store_with_added_columns_works(store: Path) -> None:
    documents = DocumentStore(store)
    JobStore(documents)
    assert documents.counts().files == 0
    documents.close()


def test_open_store_with_statistics_works(store: Path) -> None:
    change(store / DATABASE_NAME, "ANALYZE")
    DocumentStore(store).close()


def test_open_store_with_journal_is_refused(store: Path) -> None:
    journal = store / f"{DATABASE_NAME}-journal"
    journal.write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + bytes(504))
    with pytest.raises(StoreError, match="rollback journal"):
        DocumentStore(store)
    with open_inspected(store / DATABASE_NAME, schema=SCHEMA, added=ADDED_COLUMNS) as connection:
        assert connection is None
    assert journal.exists()


@pytest.mark.parametrize("kind", ["trigger", "journal", "matrix elsewhere"])
def test_open_foreign_vector_map_rebuilds_it(tmp_path: Path, kind: str) -> None:
    vector_map = VectorMap(tmp_path, "model", "store")
    vector_map.add([1], [0], [(0, "a")])
    vector_map.close()
    path = tmp_path / MAP_NAME
    (tmp_path / f"{MAP_NAME}.seal").unlink()
    if kind == "trigger":
        change(path, "CREATE TRIGGER evil AFTER INSERT ON texts BEGIN DELETE FROM texts; END")
    elif kind == "journal":
        (tmp_path / f"{MAP_NAME}-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + bytes(504))
    else:
        change(path, "UPDATE meta SET value = '../precious' WHERE key = 'matrix_name'")
    vector_map = VectorMap(tmp_path, "model", "store")
    assert len(vector_map.load()[0]) == 0
    assert vector_map.matrix_name.startswith("matrix-")
    vector_map.close()
    assert not (tmp_path / f"{MAP_NAME}-journal").exists()
