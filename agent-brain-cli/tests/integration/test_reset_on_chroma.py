"""`agent-brain reset` with vectors on a Chroma server."""

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

LIMIT_S = 600.0
COLLECTIONS = "/api/v2/tenants/default_tenant/databases/default_database/collections"


class Chroma:
    """A running Chroma server."""

    def __init__(self, directory: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as sock:
            port = sock.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        command = [Path(sys.executable).parent / "chroma", "run", "--host", "127.0.0.1", "--port", str(port)]
        self.process = subprocess.Popen(
            [*command, "--path", directory], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=directory
        )
        deadline = time.monotonic() + LIMIT_S
        while True:
            try:
                self.names()
                return
            except (urllib.error.URLError, ConnectionError):
                assert time.monotonic() < deadline
                time.sleep(0.05)

    def names(self) -> list[str]:
        with urllib.request.urlopen(self.url + COLLECTIONS, timeout=10) as response:
            return [each["name"] for each in json.load(response)]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def chroma(tmp_path_factory):
    chroma = Chroma(tmp_path_factory.mktemp("chroma"))
    yield chroma
    chroma.kill()


def index_on(chroma, agent_brain, brain_home):
    """Index the project, with its vectors on the Chroma server, and stop its server."""
    (brain_home / "config.json").write_text(json.dumps({"chroma_url": chroma.url}))
    assert agent_brain("index", "--wait").code == 0
    assert agent_brain("stop").code == 0


def test_reset_removes_vectors_from_chroma(agent_brain, chroma, brain_home):
    index_on(chroma, agent_brain, brain_home)
    assert len(chroma.names()) == 1
    outcome = agent_brain("reset", "--yes", "--json")
    assert (outcome.code, outcome.json["vector_fault"]) == (0, None)
    assert chroma.names() == []


def test_reset_reports_an_unreachable_chroma(agent_brain, brain_home, project, tmp_path):
    chroma = Chroma(tmp_path)
    try:
        index_on(chroma, agent_brain, brain_home)
        (name,) = chroma.names()
    finally:
        chroma.kill()
    outcome = agent_brain("reset", "--yes")
    assert outcome.code == 0
    assert "Some vectors were not removed" in outcome.err
    assert name in outcome.err
    assert not (project / ".claude/Agent Brain/data/chroma_db").exists()


@pytest.mark.parametrize("daemon_runs", [True, False])
def test_reset_shared_removes_vectors_from_chroma(agent_brain, chroma, brain_home, daemon_runs):
    (brain_home / "config.json").write_text(json.dumps({"chroma_url": chroma.url}))
    agent_brain("init", "--mode", "shared")
    assert agent_brain("start", "--mode", "shared").code == 0
    assert agent_brain("index", "--wait").code == 0
    assert len(chroma.names()) == 1
    if not daemon_runs:
        assert agent_brain("stop", "--mode", "shared").code == 0
    outcome = agent_brain("reset", "--yes", "--json")
    assert (outcome.code, outcome.json["vector_fault"]) == (0, None), outcome.err
    assert chroma.names() == []
