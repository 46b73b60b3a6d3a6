"""Opening the stores of a project."""

import sqlite3
from pathlib import Path

import pytest

from agent_brain_server.api.stores import open_documents
from agent_brain_server.errors import StoreError


def test_a_store_of_a_later_version_is_set_aside_whole(tmp_path: Path) -> None:
    directory = tmp_path / "documents"
    open_documents(directory).close()
    with sqlite3.connect(directory / "documents.sqlite3") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    open_documents(directory).close()
    aside = list(tmp_path.glob("documents.store_version.*/documents.sqlite3"))
    assert len(aside) == 1


def test_what_another_file_would_not_help_is_not_set_aside(tmp_path: Path) -> None:
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents/documents.sqlite3").mkdir()
    with pytest.raises(StoreError) as caught:
        open_documents(tmp_path / "documents")
    assert caught.value.code == "store_unusable"
    assert list(tmp_path.iterdir()) == [tmp_path / "documents"]
