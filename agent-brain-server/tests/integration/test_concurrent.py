"""Projects side by side, with a server for each or one daemon for all, stay isolated from each other."""

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent_brain_server.lifecycle.control import start_daemon, start_server, stop_daemon, stop_server
from agent_brain_server.locking import StateLock
from agent_brain_server.project_root import generate_project_id
from agent_brain_server.runtime import RuntimeState, read_pointer, read_runtime, validate_runtime
from agent_brain_server.storage_paths import (
    brain_home,
    default_state_dir,
    prepare_state_dir,
    resolve_shared_project_dir,
    shared_project_home,
)

WAIT_LIMIT_S = 600.0

Call = Callable[..., httpx.Response]


def wait_until(condition: Callable[[], object], limit_s: float = WAIT_LIMIT_S) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DOC_SERVE_STATE_DIR", raising=False)
    yield tmp_path / "home"
    if brain_home().exists():
        stop_daemon(force=True)


@pytest.fixture
def make_project(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    made: list[Path] = []

    def make(name: str, files: int = 3) -> Path:
        root = tmp_path / f"projekt ä {name}"
        (root / "src").mkdir(parents=True)
        for number in range(files):
            (root / f"src/part_{number}.py").write_text(
                f"def shared_word_{number}(value):\n    return 'the secret of {name} alone', value + {number}\n"
            )
        made.append(root)
        return root

    yield make
    for root in made:
        if root.exists():
            stop_server(default_state_dir(root), force=True)


def open_client(state: RuntimeState) -> httpx.Client:
    headers = {"Authorization": f"Bearer {state.token}"}
    return httpx.Client(base_url=state.base_url, headers=headers, timeout=WAIT_LIMIT_S)


@pytest.fixture
def start() -> Iterator[Callable[..., httpx.Client]]:
    """Return a function that starts the daemon with settings and returns a client of it."""
    clients: list[httpx.Client] = []

    def start_now(**settings: Any) -> httpx.Client:
        clients.append(open_client(start_daemon(overrides={"port": 0, **settings}).state))
        return clients[-1]

    yield start_now
    for client in clients:
        client.close()


@pytest.fixture(scope="module")
def empty_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Return a client of a daemon without projects, shared by tests that change nothing."""
    home = str(tmp_path_factory.mktemp("home of the empty daemon"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AGENT_BRAIN_HOME", home)
        state = start_daemon(overrides={"port": 0}).state
    with open_client(state) as client:
        yield client
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AGENT_BRAIN_HOME", home)
        stop_daemon(force=True)


def register(daemon: httpx.Client, root: Path, status: int = 201) -> str:
    answer = daemon.post("/projects", json={"project_root": str(root)})
    assert answer.status_code == status, answer.text
    return str(answer.json()["project_id"])


def index(daemon: httpx.Client, project_id: str | None = None, **fields: Any) -> str:
    answer = daemon.post("/index", json={"folder_path": ".", "project_id": project_id, **fields})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["job_id"])


def follow(daemon: httpx.Client, job_id: str, project_id: str | None = None) -> dict[str, Any]:
    job: dict[str, Any] = {}

    def has_ended() -> bool:
        job.update(daemon.get(f"/index/jobs/{job_id}", params={"project_id": project_id or ""}).json())
        return job["state"] in ("done", "failed", "cancelled")

    wait_until(has_ended)
    return job


def texts(daemon: httpx.Client, project_id: str | None = None, query: str = "secret shared_word") -> list[str]:
    answer = daemon.post("/query", json={"query": query, "project_id": project_id, "top_k": 100})
    assert answer.status_code == 200, answer.text
    return [result["text"] for result in answer.json()["results"]]


def refusal(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]


# A server for each project


def test_simultaneous_projects_have_separate_servers(
    make_project: Callable[..., Path],
) -> None:
    roots = [make_project(name) for name in "abc"]
    with ThreadPoolExecutor(len(roots)) as pool:
        states = list(pool.map(lambda root: start_server(root).state, roots))
    assert len({state.pid for state in states}) == len({state.port for state in states}) == len(roots)
    for root, state in zip(roots, states, strict=True):
        assert read_runtime(default_state_dir(root)) == state
        assert (state.project_root, state.project_id) == (str(root), generate_project_id(root))

    def index_and_ask(number: int) -> list[str]:
        with open_client(states[number]) as client:
            follow(client, index(client))
            return texts(client)

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(index_and_ask, range(len(roots))))
    for name, root, found in zip("abc", roots, answers, strict=True):
        for store in ("llamaindex", "chroma_db", "bm25_index"):
            assert any((default_state_dir(root) / "data" / store).iterdir())
        assert len(found) == 3
        assert all(f"the secret of {name} alone" in text for text in found)


def test_project_server_refuses_other_projects(make_project: Callable[..., Path]) -> None:
    root, other = make_project("a"), make_project("b")
    state = start_server(root).state
    with open_client(state) as client:
        assert refusal(client.get("/projects")) == (409, "wrong_mode")
        assert refusal(client.post("/projects", json={"project_root": str(other)})) == (409, "wrong_mode")
        assert refusal(client.delete(f"/projects/{state.project_id}")) == (409, "wrong_mode")
        status = client.get(f"/projects/{state.project_id}/status").json()
        assert (status["project_root"], status["mode"]) == (str(root), "project")
        assert refusal(client.get(f"/projects/{generate_project_id(other)}/status")) == (404, "unknown_project")
        assert client.post("/query", json={"query": "x", "project_id": "p_00000000"}).status_code == 200


# One daemon for all


def test_daemon_keeps_two_projects_apart(start: Callable[..., httpx.Client], make_project: Callable[..., Path]) -> None:
    daemon, roots = start(), [make_project("a"), make_project("b")]
    first, second = (register(daemon, root) for root in roots)
    assert [project["project_id"] for project in daemon.get("/projects").json()["projects"]] == [first, second]
    jobs = [(project_id, index(daemon, project_id)) for project_id in (first, second)]
    for project_id, job_id in jobs:
        assert follow(daemon, job_id, project_id)["state"] == "done"
    for project_id, root, name in ((first, roots[0], "a"), (second, roots[1], "b")):
        assert all(f"secret of {name} alone" in text for text in texts(daemon, project_id))
        assert len(texts(daemon, project_id)) == 3
        status = daemon.get("/health/status", params={"project_id": project_id}).json()
        assert (status["mode"], status["project_root"]) == ("shared", str(root))
        assert status["state_dir"] == str(shared_project_home(project_id))
        assert any((resolve_shared_project_dir(project_id) / "llamaindex").iterdir())
        assert not (default_state_dir(root) / "data").exists()
    chunk = daemon.post("/query", json={"query": "shared_word_1", "project_id": first}).json()["results"][0]["chunk_id"]
    params = {"project_id": second}
    assert refusal(daemon.get(f"/query/chunks/{chunk}", params=params)) == (404, "unknown_chunk")
    assert refusal(daemon.get(f"/index/jobs/{jobs[0][1]}", params=params)) == (404, "unknown_job")
    assert refusal(daemon.get(f"/index/jobs/{jobs[0][1]}/events", params=params)) == (404, "unknown_job")
    assert daemon.delete("/index", params=params).json()["removed_documents"] == 3
    assert (len(texts(daemon, first)), len(texts(daemon, second))) == (3, 0)


@pytest.mark.parametrize(
    ("project_id", "told"),
    [
        (None, (422, "project_id_required")),
        ("", (422, "invalid_project_id")),
        ("p_1", (422, "invalid_project_id")),
        ("../../etc/passwd", (422, "invalid_project_id")),
        ("p_00000000", (404, "unknown_project")),
    ],
)
def test_daemon_request_without_valid_project_is_refused(
    empty_daemon: httpx.Client, project_id: str | None, told: tuple[int, str]
) -> None:
    daemon = empty_daemon
    body = {} if project_id is None else {"project_id": project_id}
    assert refusal(daemon.post("/query", json={"query": "x", **body})) == told
    assert refusal(daemon.post("/index", json={"folder_path": ".", **body})) == told
    for method, path in (
        ("GET", "/health/status"),
        ("DELETE", "/index"),
        ("GET", "/index/jobs"),
        ("GET", "/index/jobs/job_1"),
        ("DELETE", "/index/jobs/job_1"),
        ("GET", "/index/jobs/job_1/events"),
        ("GET", "/query/chunks/0"),
    ):
        assert refusal(daemon.request(method, path, params=body)) == told, path
    if project_id and "/" not in project_id:
        assert refusal(daemon.get(f"/projects/{project_id}/status")) == told
        assert refusal(daemon.delete(f"/projects/{project_id}")) == told


def test_daemon_request_with_path_as_project_is_refused(start: Callable[..., httpx.Client], home: Path) -> None:
    daemon = start()
    (home / "secret").write_text("x")
    for path in ("..%2f..%2fsecret", "..", "%2e%2e%2fsecret", "p_00000000%2f..%2f..", "p_0000000%00"):
        for method, url in (("GET", f"/projects/{path}/status"), ("DELETE", f"/projects/{path}?forget=true")):
            answer = daemon.request(method, url)
            assert answer.status_code in (404, 405, 422), url
            assert answer.headers["content-type"] == "application/problem+json"
    assert (home / "secret").exists()


def test_pointer_exists_while_daemon_serves_project(
    start: Callable[..., httpx.Client], make_project: Callable[..., Path]
) -> None:
    daemon, root = start(), make_project("a")
    project_id = register(daemon, root)
    assert register(daemon, root, status=200) == register(daemon, root / "src" / "..", status=200) == project_id
    pointer = read_pointer(default_state_dir(root))
    assert pointer is not None
    assert (pointer.base_url, pointer.project_id) == (str(daemon.base_url), project_id)
    stop_daemon()
    assert read_pointer(default_state_dir(root)) is None
    again = start()
    wait_until(lambda: read_pointer(default_state_dir(root)))
    assert again.delete(f"/projects/{project_id}").json()["data_removed"] is False
    assert read_pointer(default_state_dir(root)) is None
    assert refusal(again.post("/query", json={"query": "x", "project_id": project_id})) == (404, "unknown_project")


def test_unregister_keeps_index_unless_forget(
    start: Callable[..., httpx.Client], make_project: Callable[..., Path]
) -> None:
    daemon, root = start(), make_project("a")
    project_id = register(daemon, root)
    follow(daemon, index(daemon, project_id), project_id)
    daemon.delete(f"/projects/{project_id}")
    register(daemon, root)
    assert len(texts(daemon, project_id)) == 3
    assert daemon.delete(f"/projects/{project_id}", params={"forget": True}).json()["data_removed"] is True
    assert not shared_project_home(project_id).exists()
    register(daemon, root)
    assert texts(daemon, project_id) == []


def test_register_project_with_own_server_is_refused(
    start: Callable[..., httpx.Client], make_project: Callable[..., Path]
) -> None:
    daemon, root = start(), make_project("a")
    own = start_server(root).state
    answer = daemon.post("/projects", json={"project_root": str(root)})
    assert refusal(answer) == (409, "project_server_running")
    assert read_runtime(default_state_dir(root)) == own
    assert daemon.get("/health").json()["active_projects"] == 0
    stop_server(default_state_dir(root))
    register(daemon, root)
    own = start_server(root).state
    daemon.delete(f"/projects/{generate_project_id(root)}")
    assert read_runtime(default_state_dir(root)) == own
    assert validate_runtime(own)


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ("relative/path", (422, "invalid_project_root")),
        ("/nowhere\0/else", (422, "invalid_project_root")),
        ("/nowhere/at all", (404, "project_root_missing")),
        ("/etc/hostname/x", (404, "project_root_missing")),
        ("/" + "x" * 4000, (404, "project_root_missing")),
        ("", (422, "invalid_request")),
    ],
)
def test_register_invalid_root_is_refused(empty_daemon: httpx.Client, named: str, told: tuple[int, str]) -> None:
    assert refusal(empty_daemon.post("/projects", json={"project_root": named})) == told


def test_removed_root_affects_no_other_project(
    start: Callable[..., httpx.Client], make_project: Callable[..., Path]
) -> None:
    daemon, gone, there = start(), make_project("a"), make_project("b")
    first, second = register(daemon, gone), register(daemon, there)
    for project_id in (first, second):
        follow(daemon, index(daemon, project_id), project_id)
    assert daemon.get("/health").json()["status"] == "healthy"
    shutil.rmtree(gone)
    wait_until(lambda: daemon.get("/health").json()["status"] == "degraded")
    assert str(gone) not in daemon.get("/health").text
    told = (404, "project_root_missing")
    assert refusal(daemon.post("/query", json={"query": "x", "project_id": first})) == told
    assert [p["is_root_missing"] for p in daemon.get("/projects").json()["projects"]] == [True, False]
    assert len(texts(daemon, second)) == 3
    daemon.delete(f"/projects/{first}")
    wait_until(lambda: daemon.get("/health").json()["status"] == "healthy")
    assert not gone.exists()


def test_unusable_project_affects_no_other_project(
    start: Callable[..., httpx.Client], make_project: Callable[..., Path]
) -> None:
    daemon, broken, sound = start(), make_project("a"), make_project("b")
    first, second = register(daemon, broken), register(daemon, sound)
    settings = default_state_dir(broken) / "config.json"
    settings.write_text('{"chunk_size": 3}')
    answer = daemon.post("/query", json={"query": "x", "project_id": first})
    assert refusal(answer) == (503, "project_unavailable")
    assert "chunk_size" in answer.json()["detail"]
    assert "Retry-After" in answer.headers
    follow(daemon, index(daemon, second), second)
    settings.unlink()
    assert texts(daemon, first) == []


def test_daemon_limits_open_projects_and_closes_idle(
    start: Callable[..., httpx.Client], make_project: Callable[..., Path]
) -> None:
    daemon = start(max_open_projects=2, project_idle_seconds=2)
    ids = [register(daemon, make_project(name)) for name in "abc"]
    for project_id in ids:
        follow(daemon, index(daemon, project_id), project_id)

    def count_open() -> int:
        return sum(project["is_open"] for project in daemon.get("/projects").json()["projects"])

    for project_id in ids * 2:
        assert len(texts(daemon, project_id)) == 3
        assert count_open() <= 2
    wait_until(lambda: count_open() == 0)
    assert len(texts(daemon, ids[0])) == 3


def test_daemon_after_kill_resumes_jobs(start: Callable[..., httpx.Client], make_project: Callable[..., Path]) -> None:
    daemon = start()
    ids = [register(daemon, make_project(name, files=20)) for name in "abc"]
    jobs = [(index(daemon, project_id), project_id) for project_id in ids]
    state = read_runtime(brain_home())
    assert state is not None
    os.kill(state.pid, signal.SIGKILL)
    again = start(max_open_projects=1)  # projects are opened one after the other, without a request
    was_open: set[str] = set()

    def all_were_open() -> bool:
        was_open.update(p["project_id"] for p in again.get("/projects").json()["projects"] if p["is_open"])
        return was_open == set(ids)

    wait_until(all_were_open)
    for job_id, project_id in jobs:
        assert follow(again, job_id, project_id)["state"] == "done"
        assert again.get(f"/projects/{project_id}/status").json()["total_documents"] == 20


def find_workers(pid: int) -> set[int]:
    lists = (read_or_nothing(path).split() for path in Path(f"/proc/{pid}/task").glob("*/children"))
    children = {int(child) for children in lists for child in children}  # git may be one of them
    return {child for child in children if "indexing.worker" in read_or_nothing(Path(f"/proc/{child}/cmdline"))}


def read_or_nothing(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""  # the thread or process has ended


def test_small_project_overtakes_embedding_of_large_one(
    start: Callable[..., httpx.Client], make_project: Callable[..., Path]
) -> None:
    daemon = start(max_concurrent_indexing=1)
    state = read_runtime(brain_home())
    assert state is not None
    large, small = (register(daemon, make_project(name, files=files)) for name, files in (("a", 500), ("b", 3)))
    large_job, workers = index(daemon, large), set()

    def is_embedding() -> bool:
        return bool(daemon.get(f"/index/jobs/{large_job}?project_id={large}").json()["progress"]["keywords_ready"])

    wait_until(is_embedding)
    small_job = index(daemon, small)

    def has_ended() -> bool:
        living = find_workers(state.pid)
        assert len(living) <= 2  # a reader and an embedder
        workers.update(living)
        return daemon.get(f"/index/jobs/{small_job}?project_id={small}").json()["state"] == "done"

    wait_until(has_ended)
    assert daemon.get(f"/index/jobs/{large_job}?project_id={large}").json()["state"] == "running"
    assert follow(daemon, large_job, large)["state"] == "done"
    assert len(workers | find_workers(state.pid)) == 2


def test_unregister_during_event_stream_succeeds(
    start: Callable[..., httpx.Client], make_project: Callable[..., Path]
) -> None:
    daemon, root = start(), make_project("a", files=60)
    project_id = register(daemon, root)
    job_id = index(daemon, project_id)
    with daemon.stream("GET", f"/index/jobs/{job_id}/events", params={"project_id": project_id}) as stream:
        lines = stream.iter_lines()
        assert next(lines).startswith("event:")
        leaving = threading.Thread(target=lambda: daemon.delete(f"/projects/{project_id}"))
        leaving.start()
        for _ in lines:
            pass
    leaving.join(WAIT_LIMIT_S)
    assert daemon.get("/projects").json()["projects"] == []


def test_simultaneous_register_unregister_is_consistent(
    start: Callable[..., httpx.Client], make_project: Callable[..., Path]
) -> None:
    daemon, root = start(), make_project("a")
    project_id = generate_project_id(root)

    def change(number: int) -> int:
        if number % 2:
            return daemon.delete(f"/projects/{project_id}").status_code
        return daemon.post("/projects", json={"project_root": str(root)}).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(change, range(40))) <= {200, 201, 404}
    register(daemon, root, status=200 if daemon.get("/health").json()["active_projects"] else 201)
    pointer = read_pointer(default_state_dir(root))
    assert pointer is not None
    assert pointer.project_id == project_id
    assert (shared_project_home(project_id) / "project.json").exists()


def test_torn_registration_affects_no_other_project(
    start: Callable[..., httpx.Client], make_project: Callable[..., Path]
) -> None:
    daemon, roots = start(), [make_project("a"), make_project("b")]
    first, second = (register(daemon, root) for root in roots)
    stop_daemon()
    (shared_project_home(first) / "project.json").write_text('{"schema_ver')
    again = start()
    assert [project["project_id"] for project in again.get("/projects").json()["projects"]] == [second]
    assert register(again, roots[0]) == first


def test_register_while_lock_is_held_briefly_succeeds(
    start: Callable[..., httpx.Client], make_project: Callable[..., Path]
) -> None:
    daemon, root = start(), make_project("a")
    prepare_state_dir(default_state_dir(root))
    lock = StateLock(default_state_dir(root))
    assert lock.acquire()
    threading.Timer(0.1, lock.release).start()
    register(daemon, root)


def test_daemon_runtime_and_health_agree(start: Callable[..., httpx.Client]) -> None:
    daemon = start()
    state = read_runtime(brain_home())
    assert isinstance(state, RuntimeState)
    assert (state.mode, state.project_root, state.project_id) == ("shared", None, None)
    health = daemon.get("/health").json()
    assert (health["mode"], health["project_id"], health["active_projects"]) == ("shared", None, 0)
    assert health["instance_id"] == state.instance_id
    assert "agent_brain_documents" in daemon.get("/metrics").text
