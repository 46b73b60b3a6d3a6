"""Commands refuse a state directory with links or files of other users, and change nothing outside it."""

import os
import shutil
import stat

import pytest

from agent_brain_server.storage_paths import prepare_state_dir

OTHER_USER = 65534
PRECIOUS = "export PATH\n"
PLANTED = [
    "logs/server.log",
    "logs/worker.log",
    "logs/stderr.log",
    "logs",
    ".gitignore",
    "runtime.json",
    "config.json",
    "Agent Brain.lock",
    "Agent Brain.pid",
    "data",
    "data/llamaindex/documents.sqlite3",
    "data/llamaindex/documents.sqlite3-wal",
    "data/bm25_index",
    "data/bm25_index/index.json",
    "data/chroma_db/vectors.sqlite3",
    "data/scopes.json",
]

HINTS = ("runtime.json", "Agent Brain.pid")
"""Removed like the files of a server that is no longer running."""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")


@pytest.fixture
def state_dir(agent_brain):
    return agent_brain.project / ".claude" / "Agent Brain"


@pytest.fixture
def outside(tmp_path):
    """A directory outside the project with a file of the user."""
    directory = tmp_path / "outside"
    directory.mkdir(mode=0o755)
    (directory / "bashrc").write_text(PRECIOUS)
    (directory / "bashrc").chmod(0o644)
    return directory


def describe(directory):
    """Return the mode of a directory, and mode and content of each file in it."""
    found = {path.name: (stat.S_IMODE(path.lstat().st_mode), path.read_text()) for path in directory.iterdir()}
    return stat.S_IMODE(directory.stat().st_mode), found


@pytest.mark.parametrize("name", PLANTED)
def test_query_with_planted_link_changes_nothing_outside(agent_brain, state_dir, outside, name):
    before = describe(outside)
    planted = state_dir / name
    planted.parent.mkdir(parents=True, exist_ok=True)
    is_directory = name in ("logs", "data", "data/bm25_index")
    planted.symlink_to(outside if is_directory else outside / "bashrc")
    outcome = agent_brain("query", "where is the lock released?")
    if name in HINTS:
        assert outcome.code == 0, outcome
        assert not planted.is_symlink()
    else:
        assert outcome.code == 5, outcome
        assert str(planted) in outcome.error_lines[-2]
        assert "rm" in outcome.error_lines[-1] or "Remove" in outcome.error_lines[-1]
    for command in (["logs"], ["stop"], ["reset", "--yes"], ["init"]):
        agent_brain(*command)
    assert describe(outside) == before


@pytest.mark.parametrize("name", ["config.json", "logs/server.log", "data/llamaindex/documents.sqlite3"])
def test_query_with_planted_fifo_does_not_hang(agent_brain, state_dir, name):
    (state_dir / name).parent.mkdir(parents=True)
    os.mkfifo(state_dir / name)
    outcome = agent_brain("query", "where is the lock released?")
    assert outcome.code == 5, outcome
    for command in (["logs"], ["status"], ["stop"]):
        agent_brain(*command)


def test_query_with_linked_state_dir_is_refused(agent_brain, state_dir, outside):
    before = describe(agent_brain.project / "src")
    state_dir.symlink_to("../src")
    outcome = agent_brain("query", "where is the lock released?")
    assert outcome.code == 5
    assert "symbolic link" in outcome.error_lines[-2]
    assert describe(agent_brain.project / "src") == before


@needs_root
def test_query_with_file_of_another_user_is_refused(agent_brain, state_dir):
    prepare_state_dir(state_dir)
    (state_dir / "data").mkdir()
    os.chown(state_dir / "data", OTHER_USER, OTHER_USER)
    outcome = agent_brain("query", "where is the lock released?")
    assert outcome.code == 5
    assert "another user" in outcome.error_lines[-2]


def test_query_with_linked_marker_succeeds(agent_brain, state_dir):
    state_dir.parent.rename(agent_brain.project / ".agents")
    state_dir.parent.symlink_to(".agents")
    try:
        assert agent_brain("query", "where is the lock released?").code == 0
        assert (agent_brain.project / ".agents" / "Agent Brain" / "runtime.json").exists()
    finally:
        agent_brain("stop")


def test_state_dir_option_accepts_a_link(agent_brain, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    try:
        assert agent_brain("start", "--state-dir", str(tmp_path / "link")).code == 0
        assert (tmp_path / "disk" / "runtime.json").exists()
    finally:
        agent_brain("stop", "--state-dir", str(tmp_path / "link"))


def test_start_in_hard_linked_copy_leaves_the_original(agent_brain, state_dir, outside):
    prepare_state_dir(state_dir)
    (state_dir / "logs").mkdir()
    for name in ("server.log", "stderr.log", "worker.log"):
        os.link(outside / "bashrc", state_dir / "logs" / name)
    before = describe(outside)
    try:
        assert agent_brain("query", "where is the lock released?").code == 0
    finally:
        agent_brain("stop")
    assert describe(outside) == before


@pytest.mark.parametrize("name", ["logs/server.log", "data/bm25_index/index.json", ".gitignore"])
def test_doctor_names_the_planted_file(agent_brain, state_dir, outside, name):
    prepare_state_dir(state_dir)
    (state_dir / name).unlink(missing_ok=True)
    (state_dir / name).parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(state_dir / name)
    outcome = agent_brain("doctor", "--json")
    findings = {found["check"]: found for found in outcome.json["checks"]}
    assert findings["state directory"]["status"] == "failed"
    assert str(state_dir / name) in findings["state directory"]["message"]


def test_files_are_private_without_a_umask(agent_brain, tmp_path):
    shutil.rmtree(agent_brain.project / ".claude")
    before = os.umask(0)
    try:
        outcome = agent_brain("query", "where is the lock released?")
    finally:
        os.umask(before)
    try:
        assert outcome.code == 0, outcome
        directories = (agent_brain.project / ".claude", tmp_path / "home")
        found = [path for directory in directories for path in (directory, *directory.rglob("*"))]
        assert len(found) > 10
        assert [path for path in found if path.lstat().st_mode & 0o077] == []
    finally:
        agent_brain("stop")
