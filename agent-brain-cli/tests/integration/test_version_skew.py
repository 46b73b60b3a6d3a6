"""Commands report a running server of another version, and `start` replaces it if it is idle."""

import contextlib
import dataclasses
import threading
import time
from pathlib import Path

import pytest

import agent_brain_server
from agent_brain_server.discovery import request_json
from agent_brain_server.runtime import RuntimeState

OTHER_VERSION = "0.0.9"
LIMIT_S = 600.0


@pytest.fixture
def other_version(agent_brain, tmp_path):
    """Run the command of another installed version: the same modules with another version number."""
    package = Path(agent_brain_server.__file__).parent
    copy = tmp_path / "other" / package.name
    copy.mkdir(parents=True)
    for entry in package.iterdir():
        if entry.name not in ("__init__.py", "__pycache__"):
            (copy / entry.name).symlink_to(entry)
    (copy / "__init__.py").write_text(f'__version__ = "{OTHER_VERSION}"\n')
    environment = agent_brain.environment | {"PYTHONPATH": str(copy.parent)}
    return dataclasses.replace(agent_brain, environment=environment, in_process=False)


def wait_until_idle(read_idle_seconds):
    deadline = time.monotonic() + LIMIT_S
    while read_idle_seconds() < 5:
        assert time.monotonic() < deadline
        time.sleep(0.2)


@contextlib.contextmanager
def asking(state, request):
    """Send queries to a server all the time, like an agent at work."""
    done = threading.Event()

    def ask():
        while not done.is_set():
            request_json(state, "POST", "/query", request)
            done.wait(0.1)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_server_of_other_version_is_reported_and_replaced(agent_brain, other_version):
    started = other_version("start", "--json")
    assert started.json["version"] == OTHER_VERSION, started.err
    skew = {"server": OTHER_VERSION, "command": agent_brain_server.__version__}
    status = agent_brain("status", "--json")
    assert status.json["version_skew"] == skew
    asked = agent_brain("query", "--json", "free the lock")
    assert asked.json["version_skew"] == skew
    for outcome in (status, asked):
        assert OTHER_VERSION in outcome.err
        assert "agent-brain start" in outcome.err
    wait_until_idle(lambda: agent_brain("status", "--json").json["index"]["idle_seconds"])
    replacing = agent_brain("start", "--json")
    assert replacing.json["replaced"] == {"version": OTHER_VERSION, "pid": started.json["pid"]}
    assert replacing.json["version"] == agent_brain_server.__version__
    again = agent_brain("query", "--json", "free the lock")
    assert again.json["results"]
    assert "version_skew" not in again.json
    assert OTHER_VERSION not in again.err


def test_server_of_other_version_in_use_stays(agent_brain, other_version):
    state = RuntimeState.model_validate(other_version("start", "--json").json)
    with asking(state, {"query": "lock"}):
        outcome = agent_brain("start", "--json")
    assert outcome.code == 0
    assert outcome.json["instance_id"] == state.instance_id
    assert outcome.json["in_use"]
    assert OTHER_VERSION in outcome.err
    assert "agent-brain stop" in outcome.err


def test_daemon_of_other_version_is_replaced(agent_brain, other_version, brain_home):
    started = other_version("start", "--mode", "shared", "--json")
    assert started.json["version"] == OTHER_VERSION, started.err
    assert agent_brain("init", "--mode", "shared").code == 0
    status = agent_brain("status", "--mode", "shared", "--json")
    assert status.json["version_skew"]["server"] == OTHER_VERSION
    asked = agent_brain("query", "--json", "free the lock")
    assert asked.json["version_skew"]["server"] == OTHER_VERSION
    assert "agent-brain start --mode shared" in asked.err
    state = RuntimeState.model_validate(started.json)
    wait_until_idle(lambda: request_json(state, "GET", "/projects")["idle_seconds"])
    replacing = agent_brain("start", "--mode", "shared", "--json")
    assert replacing.json["replaced"]["pid"] == started.json["pid"]
    again = agent_brain("query", "--json", "free the lock")
    assert again.json["results"]
    assert "version_skew" not in again.json
