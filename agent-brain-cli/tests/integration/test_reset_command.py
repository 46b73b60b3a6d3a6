"""`agent-brain reset` removes the index and nothing else."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from agent_brain_server.storage_paths import prepare_state_dir, resolve_state_dir

LIMIT_S = 600.0
INDEX_FILES = ("bm25_index", "chroma_db", "llamaindex", "scopes.json")


@pytest.fixture
def state_dir(project) -> Path:
    return resolve_state_dir(project)


def test_reset_removes_index_and_keeps_settings_and_logs(agent_brain, state_dir):
    agent_brain("init")
    assert agent_brain("index").code == 0
    aside = state_dir / "data" / "llamaindex.store_damaged.20260101T000000"
    aside.mkdir()
    (state_dir / "data" / "notes.txt").write_text("not the server's")
    outcome = agent_brain("reset", "--yes", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["stopped"] is True
    removed = {Path(item["path"]).name: item["bytes"] for item in outcome.json["removed"]}
    assert removed.keys() == {*INDEX_FILES, aside.name}
    assert removed["llamaindex"] > 10_000
    assert sorted(path.name for path in (state_dir / "data").iterdir()) == ["notes.txt", "origin.json"]
    assert (state_dir / "config.json").exists()
    assert (state_dir / "logs" / "server.log").exists()
    assert agent_brain("status").code == 3

    assert "src/locking.py:1" in agent_brain("query", "where is the lock released?").out  # indexed again

    again = agent_brain("reset", "--yes")
    assert again.out.startswith("Stopped the server.\nRemoved ")


def test_reset_without_index_changes_nothing(agent_brain):
    outcome = agent_brain("reset", "--json")
    assert outcome.code == 0
    assert outcome.json["removed"] == []
    assert list((agent_brain.project / ".claude").iterdir()) == []


def test_reset_without_terminal_needs_yes(agent_brain, state_dir):
    make_index(state_dir)
    outcome = agent_brain("reset")
    assert outcome.code == 2
    assert "--yes" in outcome.error_lines[1]
    assert (state_dir / "data" / "llamaindex" / "documents.sqlite3").exists()


@pytest.mark.parametrize(("answer", "is_kept"), [("n", True), ("y", False)])
def test_reset_on_terminal_asks_for_confirmation(agent_brain, state_dir, answer, is_kept):
    make_index(state_dir)
    main, side = pty.openpty()
    command = [sys.executable, "-m", "agent_brain_cli", "reset"]
    with subprocess.Popen(
        command, cwd=agent_brain.project, env=agent_brain.environment, stdin=side, stdout=subprocess.PIPE, stderr=side
    ) as process:
        os.close(side)
        os.write(main, f"{answer}\n".encode())
        assert process.wait(LIMIT_S) == 0
        assert process.stdout is not None
        assert (b"Nothing was removed" in process.stdout.read()) is is_kept
        os.close(main)
    assert (state_dir / "data" / "llamaindex").exists() is is_kept


def test_reset_removes_links_but_not_their_targets(agent_brain, state_dir, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    make_index(state_dir)
    (state_dir / "data" / "chroma_db").symlink_to(outside)
    (state_dir / "data" / "llamaindex" / "link").symlink_to(outside)
    assert agent_brain("reset", "--yes").code == 0
    assert (outside / "precious").exists()
    assert list((state_dir / "data").iterdir()) == []


@pytest.mark.parametrize("how", ["link", "setting"])
def test_reset_leaves_index_outside_the_state_dir(agent_brain, state_dir, tmp_path, how):
    outside = tmp_path / "outside"
    (outside / "llamaindex").mkdir(parents=True)
    prepare_state_dir(state_dir)
    if how == "link":
        (state_dir / "data").symlink_to(outside)
    else:
        (state_dir / "config.json").write_text(f'{{"data_dir": "{outside}"}}')
        assert agent_brain("trust").code == 0
    outcome = agent_brain("reset", "--yes")
    assert outcome.code == 5
    assert str(state_dir / "data" if how == "link" else outside) in outcome.error_lines[0]
    assert (outside / "llamaindex").exists()


def test_reset_shared_keeps_the_daemon_running(agent_brain, environment):
    home = Path(environment["AGENT_BRAIN_HOME"])
    home.mkdir(parents=True)
    (home / "shared_config.json").write_text('{"port": 0}')
    agent_brain("init", "--mode", "shared")
    try:
        assert agent_brain("start", "--mode", "shared").code == 0
        assert agent_brain("index").code == 0
        outcome = agent_brain("reset", "--yes", "--json")
        assert outcome.code == 0, outcome.err
        assert outcome.json["mode"] == "shared"
        assert {Path(item["path"]).name for item in outcome.json["removed"]} == set(INDEX_FILES)
        status = agent_brain("status", "--json").json
        assert (status["mode"], status["index"]["total_chunks"]) == ("shared", 0)
        assert agent_brain("index").code == 0
    finally:
        agent_brain("stop", "--mode", "shared", "--force", "--timeout", "5")
    (data,) = home.glob("projects/*/data")
    assert agent_brain("reset", "--yes").code == 0
    assert [path.name for path in data.iterdir()] == ["origin.json"]
    assert (data.parent / "project.json").exists()


def make_index(state_dir: Path) -> None:
    """Create files that look like an index, without a server."""
    prepare_state_dir(state_dir)
    documents = state_dir / "data" / "llamaindex"
    documents.mkdir(parents=True)
    (documents / "documents.sqlite3").write_text("x")
