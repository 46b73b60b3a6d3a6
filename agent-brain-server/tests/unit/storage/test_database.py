import sqlite3
import stat
import threading
from contextlib import closing

import pytest

from agent_brain_server.errors import StoreError
from agent_brain_server.storage.database import MAX_IDLE_READERS, Database

SCHEMA = "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL); CREATE TABLE numbers (n INTEGER UNIQUE)"


@pytest.fixture
def database(tmp_path):
    database = Database(tmp_path / "inner" / "some.sqlite3", schema=SCHEMA, version=3)
    yield database
    database.close()


def numbers(database):
    with database.reading() as connection:
        return [n for (n,) in connection.execute("SELECT n FROM numbers ORDER BY n")]


def test_a_transaction_is_whole_or_nothing(database):
    with database.writing() as connection:
        connection.execute("INSERT INTO numbers VALUES (1)")
    with pytest.raises(RuntimeError), database.writing() as connection:
        connection.execute("INSERT INTO numbers VALUES (2)")
        raise RuntimeError
    assert numbers(database) == [1]
    with database.writing(durable=False) as connection:
        connection.execute("INSERT INTO numbers VALUES (3)")
    assert numbers(database) == [1, 3]


def test_readers_see_what_is_committed_and_nothing_else(database):
    with database.writing() as connection:
        connection.execute("INSERT INTO numbers VALUES (1)")
        assert numbers(database) == []
    assert numbers(database) == [1]


def test_readers_cannot_write(database):
    with pytest.raises(StoreError, match="readonly"), database.reading() as connection:
        connection.execute("INSERT INTO numbers VALUES (1)")


def test_a_broken_rule_of_the_tables_is_a_programming_error(database):
    with pytest.raises(sqlite3.IntegrityError), database.writing() as connection:
        connection.executemany("INSERT INTO numbers VALUES (?)", [(1,), (1,)])
    assert numbers(database) == []


def test_many_threads_read_at_once_and_few_connections_stay(database):
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


def test_writers_wait_for_each_other(database):
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


def test_the_directory_belongs_to_its_owner_alone(database):
    assert stat.S_IMODE(database.path.parent.stat().st_mode) == 0o700


def test_a_directory_that_cannot_be_made_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"some\.sqlite3"):
        Database(tmp_path / "file" / "some.sqlite3", schema=SCHEMA, version=3)


def lose_an_entry(path):
    """Take a row out of an index behind SQLite's back: the table still has it."""
    with closing(sqlite3.connect(path)) as connection:
        page_size = connection.execute("PRAGMA page_size").fetchone()[0]
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE tbl_name = 'numbers' AND type = 'index'")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = bytearray(path.read_bytes())
    cells = (page[0] - 1) * page_size + 3  # number of cells in the page's header
    data[cells + 1] -= 1
    path.write_bytes(data)


@pytest.mark.parametrize("how", ["killed", "running"])
def test_a_row_that_an_index_has_lost_is_found_at_the_next_opening(tmp_path, how):
    path = tmp_path / "some.sqlite3"
    database = Database(path, schema=SCHEMA, version=3)
    with database.writing() as connection:
        connection.executemany("INSERT INTO numbers VALUES (?)", [(1,), (2,), (3,)])
    if how == "running":
        lose_an_entry(path)
        database.close()
    else:
        database.close()
        path.with_name(f"{path.name}.seal").unlink()
        lose_an_entry(path)
    with pytest.raises(StoreError) as caught:
        Database(path, schema=SCHEMA, version=3)
    assert caught.value.code == "store_damaged"


def test_a_file_that_was_removed_leaves_no_seal(tmp_path):
    path = tmp_path / "some.sqlite3"
    database = Database(path, schema=SCHEMA, version=3)
    path.unlink()
    database.close()
    assert not path.with_name(f"{path.name}.seal").exists()
    Database(path, schema=SCHEMA, version=3).close()
