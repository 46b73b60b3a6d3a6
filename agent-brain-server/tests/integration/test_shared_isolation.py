"""A failure of one project does not affect the answers of the daemon about others."""

import os
import shutil
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent_brain_server.lifecycle.control import start_daemon, stop_daemon
from agent_brain_server.runtime import RuntimeState
from agent_brain_server.storage_paths import brain_home, shared_project_home

WAIT_LIMIT_S = 600.0
FILES = 5
MANY_FILES = 1500
ASKING_S = 2.0
PAUSE_S = 0.01  # a client that never pauses would occupy a core
STORES = ("llamaindex", "bm25_index", "chroma_db")


class Daemon:
    """A daemon and a client of it."""

    def __init__(self, state: RuntimeState) -> None:
        self.state = state
        headers = {"Authorization": f"Bearer {state.token}"}
        self.client = httpx.Client(base_url=state.base_url, headers=headers, timeout=WAIT_LIMIT_S)

    def register(self, root: Path) -> str:
        return str(self.client.post("/projects", json={"project_root": str(root)}).json()["project_id"])

    def begin_job(self, project_id: str, **fields: Any) -> str:
        body = {"folder_path": ".", "project_id": project_id, **fields}
        return str(self.client.post("/index", json=body).json()["job_id"])

    def job(self, project_id: str, job_id: str) -> dict[str, Any]:
        job: dict[str, Any] = self.client.get(f"/index/jobs/{job_id}", params={"project_id": project_id}).json()
        return job

    def index(self, project_id: str) -> dict[str, Any]:
        job_id = self.begin_job(project_id)
        wait_until(lambda: self.job(project_id, job_id)["state"] in ("done", "failed"))
        return self.job(project_id, job_id)

    def ask(self, project_id: str) -> httpx.Response:
        return self.client.post("/query", json={"query": "secret handler", "project_id": project_id, "top_k": 100})

    def count(self, project_id: str) -> int:
        answer = self.ask(project_id)
        assert answer.status_code == 200, answer.text
        return len(answer.json()["results"])

    def time_answers(self, project_id: str) -> list[float]:
        times = []
        deadline = time.monotonic() + ASKING_S
        while time.monotonic() < deadline:
            began = time.perf_counter()
            assert self.count(project_id) == FILES
            times.append(time.perf_counter() - began)
            time.sleep(PAUSE_S)
        return times


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_LIMIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DOC_SERVE_STATE_DIR", raising=False)
    running = Daemon(start_daemon(overrides={"port": 0}).state)
    yield running
    running.client.close()
    stop_daemon(force=True)


def make_project(place: Path, name: str, files: int = FILES) -> Path:
    root = place / f"projekt ä {name}"
    (root / "src").mkdir(parents=True)
    for number in range(files):
        text = f"def handler_{number}(value):\n    return 'the secret of {name} alone', value + {number}\n"
        (root / f"src/part_{number}.py").write_text(text)
    return root


@pytest.fixture
def troubled(daemon: Daemon, tmp_path: Path) -> str:
    """Return the indexed project that fails."""
    project_id = daemon.register(make_project(tmp_path, "troubled"))
    assert daemon.index(project_id)["state"] == "done"
    return project_id


@pytest.fixture
def sound(daemon: Daemon, tmp_path: Path) -> str:
    """Return the indexed project that must not be affected."""
    project_id = daemon.register(make_project(tmp_path, "sound"))
    assert daemon.index(project_id)["state"] == "done"
    return project_id


def restart(daemon: Daemon) -> Daemon:
    """Restart the daemon, with every project closed."""
    stop_daemon()
    daemon.client.close()
    daemon.__init__(start_daemon(overrides={"port": 0}).state)  # type: ignore[misc]
    return daemon


@pytest.mark.parametrize("store", STORES)
def test_store_damaged_before_start_is_rebuilt(daemon: Daemon, troubled: str, sound: str, store: str) -> None:
    stop_daemon()
    for path in find_files(troubled, store):
        os.truncate(path, path.stat().st_size // 2)
    restart(daemon)
    assert daemon.count(sound) == FILES
    assert daemon.ask(troubled).status_code == 200
    assert daemon.index(troubled)["state"] == "done"
    assert daemon.count(troubled) == FILES
    assert daemon.count(sound) == FILES


@pytest.mark.parametrize("store", STORES)
def test_store_damaged_while_open_affects_one_project(daemon: Daemon, troubled: str, sound: str, store: str) -> None:
    for path in find_files(troubled, store):
        with path.open("r+b") as file:  # truncating a mapped file would kill its reader
            file.write(b"\xff" * path.stat().st_size)
    for _ in range(5):
        answer = daemon.ask(troubled)
        assert answer.status_code in (200, 503), answer.text
        begun = daemon.client.post("/index", json={"folder_path": ".", "project_id": troubled, "force": True})
        assert begun.status_code in (202, 503), begun.text
        assert daemon.count(sound) == FILES
    assert daemon.client.get("/health").json()["active_projects"] == 2
    assert daemon.index(sound)["state"] == "done"
    assert daemon.count(sound) == FILES


def find_files(project_id: str, store: str) -> list[Path]:
    found = [path for path in (shared_project_home(project_id) / "data" / store).rglob("*") if path.is_file()]
    assert found
    return found


def test_project_dir_replaced_by_file_is_refused(daemon: Daemon, troubled: str, sound: str) -> None:
    stop_daemon()
    data = shared_project_home(troubled) / "data"
    shutil.rmtree(data)
    data.write_text("in the way")
    restart(daemon)
    answer = daemon.ask(troubled)
    assert (answer.status_code, answer.json()["code"]) == (503, "project_unavailable")
    assert "data" in answer.json()["detail"]
    assert daemon.count(sound) == FILES
    data.unlink()
    assert daemon.index(troubled)["state"] == "done"
    assert daemon.count(troubled) == FILES


def test_indexing_leaves_other_projects_responsive(daemon: Daemon, sound: str, tmp_path: Path) -> None:
    alone = daemon.time_answers(sound)
    busy = [daemon.register(make_project(tmp_path, name, MANY_FILES)) for name in ("busy", "busier")]
    jobs = [(project_id, daemon.begin_job(project_id)) for project_id in busy]
    beside = daemon.time_answers(sound)
    assert [daemon.job(*job)["state"] for job in jobs] == ["running", "running"]
    print(f"alone {statistics.median(alone) * 1000:.1f} ms; beside two jobs {statistics.median(beside) * 1000:.1f} ms,")
    print(f"at most {max(beside) * 1000:.1f} ms")
    for project_id, job_id in jobs:
        daemon.client.delete(f"/index/jobs/{job_id}", params={"project_id": project_id})


def test_killed_workers_affect_no_other_project(daemon: Daemon, sound: str, tmp_path: Path) -> None:
    fatal = daemon.register(make_project(tmp_path, "fatal"))
    job_id = daemon.begin_job(fatal, force=True)

    def kill_worker_or_end() -> bool:
        for worker in find_workers(daemon.state.pid):
            os.kill(worker, signal.SIGKILL)
        assert daemon.count(sound) == FILES
        return daemon.job(fatal, job_id)["state"] in ("done", "failed")

    wait_until(kill_worker_or_end)
    job = daemon.job(fatal, job_id)
    left_out = job["progress"]["files_skipped"]
    assert job["state"] == "failed" or set(left_out) <= {"unreadable"}  # a killed reader is not the file's fault
    assert daemon.index(sound)["state"] == "done"
    assert daemon.index(fatal)["state"] == "done"
    assert daemon.count(fatal) == FILES


def find_workers(pid: int) -> list[int]:
    lists = (read_or_nothing(path).split() for path in Path(f"/proc/{pid}/task").glob("*/children"))
    children = {int(child) for children in lists for child in children}  # git may be one of them
    return [child for child in children if "indexing.worker" in read_or_nothing(Path(f"/proc/{child}/cmdline"))]


def read_or_nothing(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""  # the thread or process has ended


def test_daemon_home_is_private(daemon: Daemon, sound: str) -> None:
    open_to_others = [path for path in brain_home().rglob("*") if path.stat().st_mode & 0o077]
    assert open_to_others == []
