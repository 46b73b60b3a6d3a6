"""Stores that came with a repository are not used; the index is rebuilt from the files."""

import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from agent_brain_server.project.services import ProjectServices

LIMIT_S = 600.0

OpenServices = Callable[..., ProjectServices]
RunJob = Callable[..., Any]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(tmp_path / "home"))


@pytest.fixture
def data(project: Path) -> Path:
    return project / ".claude" / "Agent Brain" / "data"


def plant_text(data: Path) -> None:
    """Replace a text in a closed store, as in a valid store that an attacker made."""
    database = data / "llamaindex" / "documents.sqlite3"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE texts SET text = 'planted', checksum = 0")


def wait_until_indexed(services: ProjectServices, files: int) -> None:
    deadline = time.monotonic() + LIMIT_S
    while services.documents.counts().files < files or services.is_busy():
        assert time.monotonic() < deadline, services.status()
        time.sleep(0.02)


def test_open_index_of_another_installation_rebuilds_it(
    open_services: OpenServices, run_job: RunJob, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = open_services()
    run_job(first)
    files = first.documents.counts().files
    first.close()
    plant_text(data)
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(tmp_path / "another home"))
    second = open_services()
    assert "not made by this installation" in second.repairs.made()[0]
    wait_until_indexed(second, files)
    assert len(list(data.glob("llamaindex.store_foreign.*"))) == 1
    second.close()
    third = open_services()
    assert third.repairs.made() == []
    assert third.documents.counts().files == files


def test_open_store_of_another_project_rebuilds_it(
    open_services: OpenServices, run_job: RunJob, data: Path, tmp_path: Path
) -> None:
    first = open_services()
    run_job(first)
    files = first.documents.counts().files
    first.close()
    shutil.copytree(data / "llamaindex", tmp_path / "kept")
    shutil.rmtree(data)
    second = open_services()
    run_job(second)
    second.close()
    shutil.rmtree(data / "llamaindex")
    shutil.copytree(tmp_path / "kept", data / "llamaindex")
    third = open_services()
    assert "was set aside" in third.repairs.made()[0]
    wait_until_indexed(third, files)


def test_open_store_with_planted_trigger_rebuilds_it(open_services: OpenServices, run_job: RunJob, data: Path) -> None:
    first = open_services()
    run_job(first)
    files = first.documents.counts().files
    first.close()
    with closing(sqlite3.connect(data / "llamaindex" / "documents.sqlite3")) as connection, connection:
        connection.execute("CREATE TRIGGER evil BEFORE INSERT ON meta BEGIN DELETE FROM files; END")
    second = open_services()
    assert "foreign schema: trigger 'evil'" in second.repairs.made()[0]
    wait_until_indexed(second, files)


def test_open_index_of_an_earlier_version_rebuilds_it(open_services: OpenServices, run_job: RunJob, data: Path) -> None:
    first = open_services()
    run_job(first)
    files, facts = first.documents.counts().files, first.documents.symbols.counts()
    assert facts.definitions > 0
    first.close()
    with closing(sqlite3.connect(data / "llamaindex" / "documents.sqlite3")) as connection, connection:
        for table in ("facts", "definitions", "uses"):
            connection.execute(f"DROP TABLE {table}")
        connection.execute("PRAGMA user_version = 2")
    second = open_services()
    assert second.repairs.made() == ["the index was made by another version of Agent Brain: rebuilding it"]
    wait_until_indexed(second, files)
    assert second.documents.symbols.counts() == facts
    second.close()
    third = open_services()
    assert third.repairs.made() == []


def test_open_with_unusable_home_serves_the_index(
    open_services: OpenServices, run_job: RunJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(tmp_path / "file" / "home"))
    first = open_services()
    run_job(first)
    first.close()
    second = open_services()
    assert second.repairs.made() == []
    assert second.documents.counts().files > 0


def test_open_with_another_model_reports_the_change(
    open_services: OpenServices, run_job: RunJob, project: Path, data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = open_services()
    run_job(first)
    deadline = time.monotonic() + LIMIT_S
    while first.vectors.count() < first.documents.counts().chunks:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    first.close()
    with closing(sqlite3.connect(data / "chroma_db" / "vectors.sqlite3")) as connection, connection:
        connection.execute("UPDATE meta SET value = 'an older model/384' WHERE key = 'model'")
    with caplog.at_level("INFO"):
        second = open_services()
    (said,) = second.repairs.made()
    assert said.startswith("the embedding model changed, it was an older model: re-embedding")
    assert "damaged" not in caplog.text


def test_open_after_killed_reset_has_an_empty_index(open_services: OpenServices, run_job: RunJob, data: Path) -> None:
    first = open_services()
    run_job(first)
    first.close()
    (data / "scopes.json").unlink()
    (data / "llamaindex").rename(data / "llamaindex.removed.00")
    second = open_services()
    status = second.status()
    assert (status.total_documents, status.last_indexed_at) == (0, None)
    assert (second.bm25.count(), second.vectors.count()) == (0, 0)
    assert not (data / "llamaindex.removed.00").exists()
