"""The commands and examples of SKILL.md and docs/PYTHON.md, run verbatim in a real project in both modes."""

import json
import os
import re
import shlex
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from agent_brain_server import discovery, errors, runtime
from agent_brain_server.config.settings import write_project_config
from agent_brain_server.lifecycle.control import stop_daemon, stop_server
from agent_brain_server.storage_paths import brain_home, resolve_state_dir

SKILL = Path(__file__).parents[3] / "agent-brain-skill" / "Agent Brain" / "SKILL.md"
TEXT = SKILL.read_text(encoding="utf-8")
PROGRAMS = (SKILL.parents[2] / "docs" / "PYTHON.md").read_text(encoding="utf-8")
EXAMPLE_LIMIT_S = 600.0

PYTHON_EXAMPLES = re.findall(r"^```python\n(.*?)^```", PROGRAMS + TEXT, flags=re.MULTILINE | re.DOTALL)
SHELL_EXAMPLES = re.findall(r"^```sh\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(params=["project", "shared"])
def mode(request):
    return request.param


@pytest.fixture
def project_in_mode(project, mode, tmp_path, monkeypatch):
    """Return the small project in each mode, and stop what was started afterwards."""
    for name in [name for name in os.environ if name.startswith(("AGENT_BRAIN_", "DOC_SERVE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(tmp_path / "home"))
    brain_home().mkdir()
    (brain_home() / "shared_config.json").write_text('{"port": 0}')
    write_project_config(resolve_state_dir(project), mode=mode)
    (project / ".claude").mkdir(exist_ok=True)
    yield project
    stop_server(resolve_state_dir(project), force=True)
    stop_daemon(force=True)


def run(directory, *command):
    done = subprocess.run(
        command, cwd=directory, capture_output=True, text=True, timeout=EXAMPLE_LIMIT_S, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_skill_python_examples_run(project_in_mode, mode):
    asking, looking, in_a_loop, short = PYTHON_EXAMPLES
    assert run(project_in_mode, sys.executable, "-c", looking) == "No server runs.\n"
    first = run(project_in_mode / "src", sys.executable, "-W", "error", "-c", asking)
    assert first.startswith("src/locks.py:")
    assert "FileLock" in first
    assert run(project_in_mode, sys.executable, "-c", asking).startswith("src/locks.py:")
    assert "src/locks.py:" in run(project_in_mode, sys.executable, "-W", "error", "-c", short)
    found = run(project_in_mode, sys.executable, "-c", looking)
    assert re.fullmatch(rf"{mode} at http://127\.0\.0\.1:\d+: 4 files\n", found)
    assert int(run(project_in_mode, sys.executable, "-W", "error", "-c", in_a_loop).split()[0]) > 0


def test_skill_http_example_runs(project_in_mode, mode):
    command = [sys.executable, "-m", "agent_brain_cli", "start", "--json"]
    if mode == "shared":
        run(project_in_mode, *command, "--mode", "shared")
    server = json.loads(run(project_in_mode, *command))
    body = json.dumps({"query": "lock", "project_id": server["project_id"]}).encode()
    headers = {"Authorization": f"Bearer {server['token']}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{server['base_url']}/query", body, headers)
    with urllib.request.urlopen(request, timeout=EXAMPLE_LIMIT_S) as answer:
        assert "results" in json.load(answer)


def test_skill_sends_no_token_to_project_address():
    section = PROGRAMS.partition("## Over HTTP")[2] + TEXT.partition("For HTTP, ")[2]
    assert "agent-brain start --json" in section
    assert ".claude/" not in section


def test_skill_shell_example_runs(project, tmp_path, monkeypatch):
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DOC_SERVE_STATE_DIR", raising=False)
    (project / ".claude").mkdir()
    (example,) = SHELL_EXAMPLES
    program, *arguments = shlex.split(example)
    assert program == "agent-brain"
    try:
        assert "src/locks.py:" in run(project, sys.executable, "-m", "agent_brain_cli", *arguments)
    finally:
        stop_server(resolve_state_dir(project), force=True)


def test_skill_names_existing_commands():
    assert set(re.findall(r"`(discover\w*)", PROGRAMS + TEXT)) <= set(discovery.__all__)
    assert {"base_url", "token", "instance_id", "mode", "project_root", "project_id", "pid", "version"} <= set(
        runtime.RuntimeState.model_fields
    )
    codes = dict(re.findall(r"(\d) ([a-z ]+)", TEXT.partition("Exit codes: ")[2].partition(";")[0]))
    assert codes.keys() == {"0", "1", "2", "3", "4", "5", "6", "7"}
    assert errors.DaemonNotRunningError.exit_code == 7
