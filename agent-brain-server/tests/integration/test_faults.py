"""Tests of damage, loss and unusual clocks with real servers: no wrong answer, and recovery without help."""

import contextlib
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent_brain_server.discovery import RuntimeState, discover, request_json
from agent_brain_server.errors import AgentBrainError
from agent_brain_server.lifecycle.control import start_server, stop_server
from agent_brain_server.locking import is_stale
from agent_brain_server.storage_paths import (
    DATA_DIR,
    DOCUMENTS_DIR,
    KEYWORDS_DIR,
    LOCK_FILE,
    PID_FILE,
    RUNTIME_FILE,
    VECTORS_DIR,
    resolve_state_dir,
)

REPOSITORY = Path(__file__).parents[3]
SOAK_LIMIT_S = 300.0
JOB_LIMIT_S = 600.0
SERVED_AGAIN_S = 120.0
FEW_FILES = 150

START_WITH_FEW_FILES = """
import resource, sys
from pathlib import Path
from agent_brain_server.lifecycle.control import start_server
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[1])))
start_server(Path(sys.argv[2]))
"""

CASES = ["lost=1", "outward=2", "fresh=20"]
"""Loops of the soak whose promise no other test proves with a whole server, with the fewest rounds."""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOC_SERVE_STATE_DIR", raising=False)
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(tmp_path / "home"))


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """Make a small project, and stop its server afterwards."""
    root = (tmp_path / "project").resolve()
    root.mkdir()
    (root / "pyproject.toml").touch()
    (root / "locks.py").write_text("def take_lock():\n    return 1\n")
    yield root
    stop_server(resolve_state_dir(root), force=True)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + JOB_LIMIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def read_or_none(path: Path) -> bytes | None:
    """Return a file's content, or `None` while the server replaces it."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def index(state: RuntimeState) -> None:
    job_id = request_json(state, "POST", "/index", {"folder_path": "."})["job_id"]
    wait_until(lambda: request_json(state, "GET", f"/index/jobs/{job_id}")["finished_at"] is not None)


def ask(state: RuntimeState, text: str) -> list[str]:
    results = request_json(state, "POST", "/query", {"query": text, "mode": "bm25"})["results"]
    return [result["source"] for result in results]


def flip_bytes(path: Path, chance: random.Random) -> None:
    data = bytearray(path.read_bytes())
    for _ in range(5):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


@pytest.mark.parametrize("case", CASES)
def test_soak_loop_with_few_rounds_holds(case: str) -> None:
    name, _, rounds = case.partition("=")
    command = [sys.executable, "-m", "benchmarks.soak", name, "--rounds", rounds]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=SOAK_LIMIT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("ok")
    if "skipped: " in done.stdout:
        pytest.skip(done.stdout)


def test_server_out_of_file_handles_recovers(root: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limited = [sys.executable, "-c", START_WITH_FEW_FILES, str(FEW_FILES), str(root)]
    subprocess.run(limited, check=True, timeout=60)
    state = discover(root)
    assert state is not None
    assert hard > 2 * FEW_FILES
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with contextlib.ExitStack() as stack:
            for _ in range(2 * FEW_FILES):
                with contextlib.suppress(OSError):
                    stack.enter_context(socket.create_connection(("127.0.0.1", state.port), timeout=5))
        began = time.monotonic()
        while True:
            try:
                assert request_json(state, "GET", "/health/status", timeout=10)["project_root"] == str(root)
                break
            except AgentBrainError:
                assert time.monotonic() - began < SERVED_AGAIN_S
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_index_follows_file_of_any_mtime(root: Path) -> None:
    """Only the change of the modification time counts, whether it is in 1970, before, or in the far future."""
    paths = {root / f"aged_{number}.md": mtime for number, mtime in enumerate((0.0, 1.5, -86_400.0, 4_000_000_000.0))}
    for path, mtime in paths.items():
        path.write_text(f"# Old\n\nformerly {path.name}\n")  # identical texts would be one result
        os.utime(path, (mtime, mtime))
    state = start_server(root).state
    index(state)
    names = sorted(path.name for path in paths)
    assert sorted(ask(state, "formerly")) == names
    for path, mtime in paths.items():
        path.write_text(f"# Old\n\npresently {path.name}\n")
        os.utime(path, (mtime + 1, mtime + 1))
    wait_until(lambda: sorted(ask(state, "presently")) == names)
    assert ask(state, "formerly") == []


def test_index_finds_change_with_same_size_and_mtime(root: Path) -> None:
    path = root / "racy.md"
    state = start_server(root).state
    path.write_text("# Racy\n\nbefore\n")
    whole_second = time.time_ns() // 1_000_000_000 * 1_000_000_000  # as on a file system with a resolution of seconds
    os.utime(path, ns=(whole_second, whole_second))
    index(state)
    path.write_text("# Racy\n\nbehind\n")
    os.utime(path, ns=(whole_second, whole_second))
    index(state)
    wait_until(lambda: ask(state, "behind") == ["racy.md"])


def test_start_with_file_as_store_is_refused(root: Path) -> None:
    state = start_server(root).state
    index(state)
    state_dir = resolve_state_dir(root)
    stop_server(state_dir)
    for name in (KEYWORDS_DIR, VECTORS_DIR, DOCUMENTS_DIR):
        place = state_dir / DATA_DIR / name
        aside = place.rename(place.with_name("aside"))
        place.write_text("in the way")
        with pytest.raises(AgentBrainError, match=f"{name} is not a directory") as caught:
            start_server(root)
        assert caught.value.hint == "Move that file, or name another directory with --state-dir."
        place.unlink()
        aside.rename(place)
    assert ask(start_server(root).state, "lock")


@pytest.mark.parametrize("name", [RUNTIME_FILE, PID_FILE, LOCK_FILE])
def test_start_with_corrupt_state_files_succeeds(root: Path, name: str) -> None:
    path = resolve_state_dir(root) / name
    state = start_server(root).state
    for seed in range(2):
        os.kill(state.pid, signal.SIGKILL)
        wait_until(lambda pid=state.pid: not Path(f"/proc/{pid}/task").exists() or is_stale(resolve_state_dir(root)))
        if path.stat().st_size:
            flip_bytes(path, random.Random(seed))
        if name == RUNTIME_FILE:  # a flipped version number would be refused as a newer one
            path.write_bytes(path.read_bytes().replace(b'"schema_version": 1', b'"schema_version": x'))
        started = start_server(root)
        assert started.started
        state = started.state


@pytest.mark.parametrize("name", [RUNTIME_FILE, PID_FILE, LOCK_FILE])
def test_server_rewrites_damaged_state_files(root: Path, name: str) -> None:
    state = start_server(root).state
    path = resolve_state_dir(root) / name
    before = path.read_bytes()
    for damage in (lambda: path.write_bytes(b""), lambda: flip_bytes(path, random.Random(1))):
        damage()
        wait_until(lambda: read_or_none(path) == before)
        assert discover(root) == state
        assert start_server(root).state == state
    assert stop_server(resolve_state_dir(root)).pid == state.pid
    assert not path.exists()
