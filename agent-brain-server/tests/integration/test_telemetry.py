"""No library sends or stores telemetry, observed from outside with real processes."""

import json
import os
import subprocess
import sys

import pytest

from agent_brain_server.support.telemetry import SWITCHES

ASK = """
import json, sys, time
from pathlib import Path
from agent_brain_server.discovery import discover_or_start, request_json
from agent_brain_server.lifecycle.control import stop_server
from agent_brain_server.storage_paths import resolve_state_dir

root = Path(sys.argv[1])
server = discover_or_start(root)
try:
    job = request_json(server, "POST", "/index", {"folder_path": str(root)})
    until = time.monotonic() + 180
    while request_json(server, "GET", f"/index/jobs/{job['job_id']}")["state"] not in ("done", "failed"):
        assert time.monotonic() < until
        time.sleep(0.05)
    answer = request_json(server, "POST", "/query", {"query": "where is the file lock released", "mode": "hybrid"})
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    opened = {str(path.readlink()) for pid in (server.pid, *children) for path in Path(f"/proc/{pid}/fd").iterdir()}
    print(json.dumps({"answer": answer, "opened": sorted(opened)}))
finally:
    stop_server(resolve_state_dir(root))
"""

EMBED = """
import sys
from agent_brain_server.embedding.onnx_model import OnnxEmbedder
print(OnnxEmbedder().embed([sys.argv[1]]).shape)
"""


@pytest.fixture
def bare(tmp_path):
    """Return an environment with an empty home and no variable that disables telemetry, such as CI."""
    home = tmp_path / "Heim ü"
    home.mkdir()
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    return {**kept, "HOME": str(home), "LANG": "C.UTF-8"}


def run(code, argument, environment):
    command = [sys.executable, "-c", code, str(argument)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def find_left(home):
    """Return the names in a home, except the product's directory."""
    return sorted(path.name for path in home.iterdir() if path.name != ".Agent Brain")


def test_server_writes_and_opens_no_telemetry_file(project, bare, tmp_path):
    told = json.loads(run(ASK, project, bare))
    assert told["answer"]["results"][0]["source"] == "src/locks.py"
    assert find_left(tmp_path / "Heim ü") == []
    assert not [name for name in told["opened"] if "telemetry" in name.lower() or "Microsoft" in name]


def test_embedder_in_own_program_writes_no_telemetry(bare, tmp_path):
    assert run(EMBED, "where is the lock released?", bare) == "(1, 384)\n"
    assert find_left(tmp_path / "Heim ü") == []


def test_embedder_with_telemetry_enabled_writes_none(bare, tmp_path):
    loud = {name: "0" if value == "1" else "True" for name, value in SWITCHES.items()}
    run(EMBED, "lock", {**bare, **loud})
    assert find_left(tmp_path / "Heim ü") == []
