"""`registry.json`: concurrent writers, and damaged content."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent_brain_server.lifecycle.registry import RegistryEntry, entries, register, unregister
from agent_brain_server.storage_paths import registry_path
from agent_brain_server.support import atomic_file

REGISTER_MANY = """
import sys
from pathlib import Path
from agent_brain_server.lifecycle.registry import register
for number in range(10):
    path = Path(f"/projects/{sys.argv[1]}-{number}")
    assert register(path, path / "state")
"""


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    directory = tmp_path / "Heim ü"
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(directory))
    return directory


def test_entries_are_empty_at_first(home):
    assert entries() == []
    assert not home.exists()


def test_register_and_unregister():
    assert register(Path("/b"), Path("/b/state"))
    assert register(Path("/a"), Path("/a/state"))
    assert register(Path("/a"), Path("/a/state"))
    assert entries() == [RegistryEntry(Path("/a"), Path("/a/state")), RegistryEntry(Path("/b"), Path("/b/state"))]
    assert unregister(Path("/a/state"))
    assert entries() == [RegistryEntry(Path("/b"), Path("/b/state"))]


def test_register_moved_project_replaces_entry():
    register(Path("/old"), Path("/state"))
    register(Path("/new"), Path("/state"))
    assert entries() == [RegistryEntry(Path("/new"), Path("/state"))]


@pytest.mark.process
def test_register_concurrently_loses_nothing():
    writers = [subprocess.Popen([sys.executable, "-c", REGISTER_MANY, str(number)]) for number in range(4)]
    assert [writer.wait(timeout=30) for writer in writers] == [0] * 4
    assert len(entries()) == 40


@pytest.mark.parametrize("content", ["", "{", "[]", '{"projects": 3}', '{"projects": [1, {}, {"project_root": 1}]}'])
def test_entries_damaged_file_counts_as_empty(home, content):
    home.mkdir()
    registry_path().write_text(content)
    assert entries() == []
    assert register(Path("/a"), Path("/a/state"))
    assert entries() == [RegistryEntry(Path("/a"), Path("/a/state"))]


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    items=st.lists(
        st.none()
        | st.text(max_size=5)
        | st.fixed_dictionaries({"project_root": st.text(max_size=9), "state_dir": st.text(max_size=9) | st.integers()})
    )
)
def test_entries_survive_any_content(home, items):
    home.mkdir(exist_ok=True)
    registry_path().write_text(json.dumps({"projects": items}))
    assert all(entry.state_dir.is_absolute() for entry in entries())


def test_register_unusable_home_is_logged(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").touch()
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(tmp_path / "file" / "home"))
    assert not register(Path("/a"), Path("/a/state"))
    assert "was not updated" in caplog.text


def test_register_held_lock_is_logged(home, monkeypatch, caplog):
    monkeypatch.setattr(atomic_file, "LOCK_LIMIT_S", 0.05)
    assert register(Path("/a"), Path("/a/state"))
    holder = subprocess.Popen(
        [sys.executable, "-c", "import fcntl,sys,time; f=open(sys.argv[1]); fcntl.flock(f,2); print(flush=True);"
         "time.sleep(60)", str(home / "registry.lock")],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert not register(Path("/b"), Path("/b/state"))
        assert "was not updated" in caplog.text
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()


def test_registry_file_is_private(home):
    register(Path("/a"), Path("/a/state"))
    assert registry_path().stat().st_mode & 0o077 == 0
    assert os.stat(home).st_mode & 0o077 == 0
