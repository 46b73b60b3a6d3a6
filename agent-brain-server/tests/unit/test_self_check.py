"""What a process of its own finds out about packages, model, watching and stores."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent_brain_server.models.index import JobStatus
from agent_brain_server.project import self_check
from agent_brain_server.project.self_check import check_model, check_packages, check_stores, check_watching
from agent_brain_server.project.services import ProjectServices
from agent_brain_server.storage.document_store import DATABASE_NAME

MODEL = "all-MiniLM-L6-v2"


def test_everything_is_there(tmp_path: Path) -> None:
    assert check_packages() == {"missing": [], "broken": {}}
    assert check_model(MODEL)["likeness"] > self_check.LEAST_LIKENESS
    assert check_watching(tmp_path) == {"directories": 1, "unwatched": 0, "example": None}
    assert check_stores(tmp_path / "nothing") is None


def test_what_is_missing_or_broken_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "broken_wheel.py").write_text("raise OSError('libgomp.so.1: cannot open')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(self_check, "NATIVE_MODULES", ("broken_wheel", "no_such_module"))
    broken = check_packages()["broken"]
    assert broken["broken_wheel"] == "OSError: libgomp.so.1: cannot open"
    assert broken["no_such_module"].startswith("ModuleNotFoundError")


def test_a_directory_that_cannot_be_watched_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        check_watching(tmp_path / "gone")


def test_stores_are_counted_beside_the_server_that_writes_them(
    bundle: ProjectServices, run_job: Callable[..., JobStatus]
) -> None:
    run_job(bundle)
    counts = bundle.documents.counts()
    found = check_stores(bundle.state_dir / "data")
    assert found is not None
    assert found["version"] == found["expected_version"]
    assert found["keyword_version"] == found["expected_keyword_version"]
    assert found["damage"] is None
    assert (found["chunks"], found["embedded"], found["files_pending"]) == (counts.chunks, counts.embedded, 0)
    assert found["chunks"] == found["keywords"] == found["vectors"] > 3


def test_the_report_is_json_and_holds_each_error(tmp_path: Path) -> None:
    documents = tmp_path / "llamaindex"
    documents.mkdir()
    (documents / DATABASE_NAME).write_bytes(b"no database" * 1000)
    command = [sys.executable, "-m", "agent_brain_server.project.self_check", "--model", "nonsense"]
    command += ["--root", str(tmp_path / "gone"), "--data", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    report: dict[str, Any] = json.loads(done.stdout)
    assert done.stderr == ""
    assert report["packages"]["error"] is None
    assert "nonsense" in report["model"]["error"]
    assert report["watching"]["error"].startswith("FileNotFoundError")
    assert report["stores"]["error"].startswith("DatabaseError")
