import sqlite3
import stat
import threading

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
            gate.wait(timeout=20)
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
