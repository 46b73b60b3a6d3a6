"""The process that removes an index's vectors from a Chroma server."""

import json
import subprocess
import sys

import pytest

from agent_brain_server.config.settings import ProjectConfig
from agent_brain_server.project.purge_vectors import purge_vectors

UNUSED_URL = "http://127.0.0.1:1"


def test_purge_without_server_or_index_does_nothing(tmp_path):
    assert purge_vectors(tmp_path, ProjectConfig()) == {"removed": False, "fault": None}
    assert purge_vectors(tmp_path, ProjectConfig(chroma_url=UNUSED_URL)) == {"removed": False, "fault": None}


@pytest.mark.process
@pytest.mark.parametrize("by", ["project", "daemon"])
def test_main_prints_json_for_project_and_daemon(tmp_path, monkeypatch, by):
    home, state_dir = tmp_path / "home", tmp_path / "state"
    for directory in (home, state_dir):
        directory.mkdir()
        (directory / "config.json").write_text(json.dumps({"chroma_url": UNUSED_URL}))
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(home))
    command = [sys.executable, "-m", "agent_brain_server.project.purge_vectors", "--data", str(tmp_path / "data")]
    command += ["--state-dir", str(state_dir)] if by == "project" else []
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout) == {"removed": False, "fault": None}
