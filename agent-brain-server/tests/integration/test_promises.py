"""The promises of docs/RELIABILITY.md, with real servers and the real indexing worker."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent_brain_server.discovery import RuntimeState, discover, discover_or_start, request_json
from agent_brain_server.errors import AgentBrainError, UnknownSchemaError
from agent_brain_server.lifecycle.control import start_server, stop_server
from agent_brain_server.storage_paths import resolve_state_dir, runtime_path

REPOSITORY = Path(__file__).parents[3]
JOB_LIMIT_S = 600.0
SOAK_LIMIT_S = 300.0

CASES = ["restart=1", "kill-server=1", "full-disk=1"]
"""Loops of the soak whose promise no other test proves with a whole server, with the fewest rounds."""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOC_SERVE_STATE_DIR", raising=False)
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(tmp_path / "home"))


@pytest.fixture
def make_project(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Return a function that makes a project of small modules, and stop its server afterwards."""
    roots: list[Path] = []

    def make(name: str = "project", *, files: int = 3) -> Path:
        root = (tmp_path / name).resolve()
        root.mkdir()
        (root / "pyproject.toml").touch()
        for number in range(files):
            (root / f"module_{number}.py").write_text(make_module(number))
        roots.append(root)
        return root

    yield make
    for root in [*roots, tmp_path / "moved"]:
        if root.exists():
            stop_server(resolve_state_dir(root), force=True)


def make_module(number: int, lines: int = 12) -> str:
    body = "\n".join(f"    step_{number}_{line} = compute_{number}({line})" for line in range(lines))
    return f"def routine_{number}():\n{body}\n"


def begin_job(state: RuntimeState, **body: Any) -> str:
    return request_json(state, "POST", "/index", {"folder_path": ".", **body})["job_id"]


def wait_for_end(state: RuntimeState, job_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + JOB_LIMIT_S
    while (job := request_json(state, "GET", f"/index/jobs/{job_id}"))["state"] in ("queued", "running"):
        assert time.monotonic() < deadline, job
        time.sleep(0.01)
    return job


def wait_until_idle(state: RuntimeState) -> dict[str, Any]:
    deadline = time.monotonic() + JOB_LIMIT_S
    while (status := request_json(state, "GET", "/health/status"))["indexing_in_progress"]:
        assert time.monotonic() < deadline, status
        time.sleep(0.01)
    return status


def index(state: RuntimeState) -> None:
    job = wait_for_end(state, begin_job(state))
    assert job["state"] == "done", job


def ask(state: RuntimeState, text: str) -> list[str]:
    return [result["source"] for result in answer(state, text)]


def answer(state: RuntimeState, text: str) -> list[dict[str, Any]]:
    return request_json(state, "POST", "/query", {"query": text, "mode": "bm25", "top_k": 100})["results"]


def is_served(state: RuntimeState, text: str) -> bool:
    return any(text in result["text"] for result in answer(state, text))


@pytest.mark.parametrize("case", CASES)
def test_soak_loop_with_few_rounds_holds(case: str) -> None:
    """Run the loops of `./task soak` for few rounds."""
    name, _, rounds = case.partition("=")
    command = [sys.executable, "-m", "benchmarks.soak", name, "--rounds", rounds]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=SOAK_LIMIT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("ok")
    if "skipped: " in done.stdout:
        pytest.skip(done.stdout.partition("skipped: ")[2].strip())


def test_discover_foreign_program_on_port_finds_none(make_project: Callable[..., Path]) -> None:
    root = make_project()
    state = start_server(root).state
    stop_server(resolve_state_dir(root))
    web_server = [sys.executable, "-m", "http.server", str(state.port), "--bind", "127.0.0.1"]
    with subprocess.Popen(web_server, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as stranger:
        try:
            path = runtime_path(resolve_state_dir(root))
            path.write_text(state.model_copy(update={"pid": stranger.pid}).model_dump_json())
            assert discover(root) is None
            assert not stop_server(resolve_state_dir(root)).stopped
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_start_with_file_as_data_dir_is_refused(make_project: Callable[..., Path]) -> None:
    root = make_project()
    state_dir = resolve_state_dir(root)
    state_dir.mkdir(parents=True)
    (state_dir / "data").write_text("in the way")
    with pytest.raises(AgentBrainError, match="data is not a directory") as caught:
        start_server(root)
    assert (caught.value.exit_code, caught.value.hint) == (
        5,
        "Move that file, or name another directory with --state-dir.",
    )
    assert not runtime_path(state_dir).exists()


def test_idle_server_of_agent_ends_after_its_job(
    make_project: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_BRAIN_IDLE_STOP_SECONDS", "1")
    root = make_project(files=0)
    for number in range(400):
        (root / f"module_{number}.py").write_text(make_module(number, lines=20))
    state = discover_or_start(root)
    begin_job(state)
    deadline = time.monotonic() + JOB_LIMIT_S
    while runtime_path(resolve_state_dir(root)).exists():  # a request would keep the server running
        assert time.monotonic() < deadline
        time.sleep(0.05)
    stop_server(resolve_state_dir(root))
    status = request_json(start_server(root).state, "GET", "/health/status")
    assert status["last_job"]["state"] == "done"
    assert status["vector_coverage"] == 1


def test_newer_runtime_file_is_refused_by_all_but_stop(
    make_project: Callable[..., Path],
) -> None:
    root = make_project()
    state = start_server(root).state
    path = runtime_path(resolve_state_dir(root))
    later = path.read_text().replace('"schema_version": 1', '"schema_version": 2')
    assert later != path.read_text()
    path.write_text(later)
    for attempt in (lambda: discover(root), lambda: start_server(root), lambda: discover_or_start(root)):
        with pytest.raises(UnknownSchemaError, match="schema_version 2"):
            attempt()
    stopped = stop_server(resolve_state_dir(root))
    assert (stopped.stopped, stopped.pid) == (True, state.pid)
    assert start_server(root).started


def test_moved_project_is_served_from_new_path(make_project: Callable[..., Path], tmp_path: Path) -> None:
    root = make_project(files=5)
    index(start_server(root).state)
    stop_server(resolve_state_dir(root))
    moved = tmp_path / "moved"
    root.rename(moved)
    (moved / "module_1.py").unlink()
    (moved / "module_2.py").write_text(make_module(77))
    state = start_server(moved).state
    assert state.project_root == str(moved)
    status = wait_until_idle(state)
    assert (status["project_root"], status["total_documents"]) == (str(moved), 4)
    assert ask(state, "routine_0")[0] == "module_0.py"
    assert ask(state, "routine_77")[0] == "module_2.py"
    assert is_served(state, "compute_77(1)")
    assert not is_served(state, "compute_1(1)")
    assert not is_served(state, "compute_2(1)")


def test_copied_project_serves_its_own_files(make_project: Callable[..., Path], tmp_path: Path) -> None:
    root = make_project(files=3)
    original = start_server(root).state
    index(original)
    copy = tmp_path / "moved"
    shutil.copytree(root, copy)
    (copy / "module_0.py").write_text(make_module(88))
    assert discover(copy) is None
    state = start_server(copy).state
    assert state.pid != original.pid
    wait_until_idle(state)
    assert ask(state, "routine_88")[0] == "module_0.py"
    assert not is_served(state, "compute_0(1)")
    assert is_served(original, "compute_0(1)")
    assert not is_served(original, "compute_88(1)")


def test_status_during_indexing_agrees_with_stores(make_project: Callable[..., Path]) -> None:
    root = make_project(files=60)
    state = start_server(root).state
    job_id = begin_job(state)
    seen: list[tuple[int, int, int]] = []
    deadline = time.monotonic() + JOB_LIMIT_S
    while True:
        status = request_json(state, "GET", "/health/status")
        seen.append((status["total_documents"], status["total_chunks"], status["total_vectors"]))
        assert status["total_vectors"] <= status["total_chunks"]
        assert status["vector_coverage"] == pytest.approx(
            status["total_vectors"] / status["total_chunks"] if status["total_chunks"] else 1
        )
        if not status["indexing_in_progress"]:
            break
        assert status["current_job"]["job_id"] == job_id or status["current_job"] is None
        assert time.monotonic() < deadline
    assert seen == sorted(seen)  # the index was empty, so counts only grow
    assert status["last_job"]["state"] == "done"
    progress = status["last_job"]["progress"]
    assert (progress["files_total"], progress["files_done"]) == (61 - progress["files_skipped"].get("empty", 0),) * 2
    assert status["total_documents"] == progress["files_done"]
    assert status["total_chunks"] == progress["chunks_written"] == status["total_vectors"]


def test_stop_during_job_ends_the_worker(make_project: Callable[..., Path]) -> None:
    root = make_project(files=100)
    state = start_server(root).state
    job_id = begin_job(state)
    worker = wait_for_worker(state.pid)
    assert stop_server(resolve_state_dir(root)).stopped
    assert not Path(f"/proc/{worker}").exists() or is_zombie(worker)
    again = start_server(root).state
    assert wait_for_end(again, job_id)["state"] == "done"


def test_suspended_worker_blocks_neither_query_nor_stop(make_project: Callable[..., Path]) -> None:
    root = make_project(files=30)
    state = start_server(root).state
    index(state)
    begin_job(state, force=True)
    worker = wait_for_worker(state.pid)
    os.kill(worker, signal.SIGSTOP)
    assert ask(state, "routine_3")[0] == "module_3.py"
    assert stop_server(resolve_state_dir(root)).stopped
    assert not Path(f"/proc/{worker}").exists() or is_zombie(worker)


def wait_for_worker(server: int) -> int:
    deadline = time.monotonic() + JOB_LIMIT_S
    while True:
        for directory in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((directory / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
                command = (directory / "cmdline").read_bytes()
            except (OSError, IndexError):
                continue
            if parent == server and b"indexing.worker" in command:
                return int(directory.name)
        assert time.monotonic() < deadline
        time.sleep(0.005)


def is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] in "ZX"
