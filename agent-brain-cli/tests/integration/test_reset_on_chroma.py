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

LIMIT_S = 120
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


@pytest.fixture
def chroma(tmp_path):
    (tmp_path / "chroma").mkdir()
    chroma = Chroma(tmp_path / "chroma")
    yield chroma
    chroma.kill()


@pytest.fixture
def home(environment):
    home = Path(environment["AGENT_BRAIN_HOME"])
    home.mkdir(parents=True)
    return home


def test_the_copy_of_a_project_s_vectors_goes_with_its_index(agent_brain, chroma, home, project):
    (home / "config.json").write_text(json.dumps({"chroma_url": chroma.url}))
    assert agent_brain("index", "--wait").code == 0
    assert agent_brain("stop").code == 0
    assert len(chroma.names()) == 1
    outcome = agent_brain("reset", "--yes", "--json")
    assert (outcome.code, outcome.json["vector_fault"]) == (0, None)
    assert chroma.names() == []


def test_a_copy_that_can_t_be_reached_is_told_of(agent_brain, chroma, home, project):
    (home / "config.json").write_text(json.dumps({"chroma_url": chroma.url}))
    assert agent_brain("index", "--wait").code == 0
    assert agent_brain("stop").code == 0
    (name,) = chroma.names()
    chroma.kill()
    outcome = agent_brain("reset", "--yes")
    assert outcome.code == 0
    assert "Some vectors were not removed" in outcome.err
    assert name in outcome.err
    assert not (project / ".claude/Agent Brain/data/chroma_db").exists()


@pytest.mark.parametrize("daemon_runs", [True, False])
def test_likewise_with_the_daemon(agent_brain, chroma, home, daemon_runs):
    (home / "config.json").write_text(json.dumps({"chroma_url": chroma.url}))
    (home / "shared_config.json").write_text('{"port": 0}')
    agent_brain("init", "--mode", "shared")
    try:
        assert agent_brain("start", "--mode", "shared").code == 0
        assert agent_brain("index", "--wait").code == 0
        assert agent_brain("stop", "--mode", "shared").code == 0
        assert len(chroma.names()) == 1
        if daemon_runs:
            assert agent_brain("start", "--mode", "shared").code == 0
        outcome = agent_brain("reset", "--yes", "--json")
        assert (outcome.code, outcome.json["vector_fault"]) == (0, None), outcome.err
        assert chroma.names() == []
    finally:
        agent_brain("stop", "--mode", "shared", "--force", "--timeout", "5")
