"""Discovery of the shared daemon, with real processes."""

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agent_brain_server.config.settings import write_project_config
from agent_brain_server.config.trust import ProjectFile, trust_file
from agent_brain_server.discovery import (
    discover,
    discover_async,
    discover_or_start,
    discover_or_start_async,
    request_json,
)
from agent_brain_server.errors import ConfigError, DeadlineError, ServerRefusedError, StartError
from agent_brain_server.lifecycle.control import start_daemon, start_server, stop_daemon, stop_server
from agent_brain_server.lifecycle.registry import list_registrations
from agent_brain_server.lifecycle.spawn import MAX_STARTS
from agent_brain_server.locking import cleanup_stale, is_stale, read_holder
from agent_brain_server.project_root import generate_project_id
from agent_brain_server.runtime import read_pointer
from agent_brain_server.shared.daemon import (
    count_projects,
    find_daemon,
    list_projects,
    register_project,
    require_daemon,
)
from agent_brain_server.storage_paths import (
    brain_home,
    default_state_dir,
    lock_path,
    pid_path,
    resolve_state_dir,
    runtime_path,
    shared_project_file,
)

FINDER = """
import sys
from pathlib import Path
from agent_brain_server.discovery import discover_or_start
state = discover_or_start(Path(sys.argv[1]))
print(state.instance_id, state.project_id, state.mode)
"""
PROCESS_LIMIT_S = 600.0


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Set up a home whose daemon uses any free port, and stop the daemon afterwards."""
    for name in [name for name in os.environ if name.startswith(("AGENT_BRAIN_", "DOC_SERVE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(tmp_path / "Heim ü"))
    brain_home().mkdir()
    (brain_home() / "shared_config.json").write_text('{"port": 0}')
    yield brain_home()
    with contextlib.suppress(DeadlineError):
        for pid in find_processes(brain_home()):
            os.kill(pid, signal.SIGCONT)
        stop_daemon(force=True, timeout_s=60)
    for pid in find_processes(brain_home()):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def projects(tmp_path):
    """Return three projects in shared mode, and stop their own servers afterwards."""
    roots = [(tmp_path / f"Projekt {number} ä").resolve() for number in range(3)]
    for root in roots:
        root.mkdir()
        write_project_config(resolve_state_dir(root), mode="shared")
    yield roots
    for root in roots:
        if root.exists():
            stop_server(resolve_state_dir(root), force=True)


@pytest.fixture
def project(projects):
    return projects[0]


def find_processes(home):
    """Return the pids of the daemons of a home, including starting ones."""
    pids = []
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            with contextlib.suppress(OSError):
                command = (directory / "cmdline").read_bytes().split(b"\0")
                environment = (directory / "environ").read_bytes().split(b"\0")
                ours = b"AGENT_BRAIN_HOME=" + os.fsencode(home) in environment
                if ours and b"agent_brain_server" in command and b"shared" in command:
                    pids.append(int(directory.name))
    return pids


def forget_settings(root):
    """Remove every sign of shared mode but the pointer."""
    (resolve_state_dir(root) / "config.json").unlink()


def name_address(root, url):
    config = {"mode": "shared", "shared_server_url": url}
    path = resolve_state_dir(root) / "config.json"
    path.write_text(json.dumps(config))
    content = path.read_bytes()
    trust_file(ProjectFile(path, hashlib.sha256(content).hexdigest(), config, config), root)


def wait_until(condition):
    deadline = time.monotonic() + PROCESS_LIMIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def kill(pid):
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + PROCESS_LIMIT_S
    while not is_stale(brain_home()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_discover_without_daemon_creates_nothing(project):
    before = sorted(project.rglob("*"))
    assert discover(project) is None
    assert sorted(project.rglob("*")) == before
    assert sorted(path.name for path in brain_home().iterdir()) == ["shared_config.json"]


def test_discover_or_start_registers_with_daemon(projects):
    state = discover_or_start(projects[0])
    assert (state.mode, state.project_root) == ("shared", str(projects[0]))
    assert state.project_id == generate_project_id(projects[0])
    assert request_json(state, "GET", f"/health/status?project_id={state.project_id}")["project_root"] == str(
        projects[0]
    )
    pointer = read_pointer(resolve_state_dir(projects[0]))
    assert pointer is not None
    assert (pointer.project_id, pointer.base_url) == (state.project_id, state.base_url)
    assert discover(projects[0]) == state
    assert discover_or_start(projects[0]) == state

    assert discover(projects[1]) is None  # the daemon does not serve it yet
    other = discover_or_start(projects[1])
    assert (other.instance_id, other.base_url) == (state.instance_id, state.base_url)
    assert other.project_id == generate_project_id(projects[1])
    assert find_processes(brain_home()) == [state.pid]
    assert count_projects(state) == 2
    assert [project["project_root"] for project in list_projects(state)] == [str(root) for root in projects[:2]]
    assert {project.root for project in list_registrations()} == set(projects[:2])


def test_simultaneous_processes_get_one_daemon(projects):
    roots = projects * 4
    finders = [
        subprocess.Popen([sys.executable, "-c", FINDER, root], stdout=subprocess.PIPE, text=True) for root in roots
    ]
    answers = [finder.communicate(timeout=PROCESS_LIMIT_S)[0].split() for finder in finders]
    assert [finder.returncode for finder in finders] == [0] * len(roots)
    assert len({instance_id for instance_id, _, _ in answers}) == 1
    assert [project_id for _, project_id, _ in answers] == [generate_project_id(root) for root in roots]
    assert len(find_processes(brain_home())) == 1


def test_simultaneous_threads_get_one_daemon(projects):
    with ThreadPoolExecutor(12) as pool:
        states = list(pool.map(discover_or_start, projects * 4))
    assert len({state.instance_id for state in states}) == 1
    assert [state.project_root for state in states] == [str(root) for root in projects * 4]
    assert find_processes(brain_home()) == [states[0].pid]


def test_async_discover_equals_sync_without_blocking(projects):
    async def ask():
        asking = asyncio.gather(*(discover_or_start_async(root) for root in projects))
        ticks = 0
        while not asking.done():
            await asyncio.sleep(0.01)
            ticks += 1
        started = await asking
        return ticks, started, [await discover_async(root) for root in projects]

    ticks, started, found = asyncio.run(ask())
    assert found == started
    assert len({state.instance_id for state in started}) == 1
    assert ticks > 5


def test_discover_after_daemon_kill_removes_pointer(project):
    first = discover_or_start(project)
    kill(first.pid)
    assert discover(project) is None
    assert not runtime_path(resolve_state_dir(project)).exists()
    assert not runtime_path(brain_home()).exists()
    second = discover_or_start(project)
    assert second.instance_id != first.instance_id
    assert discover(project) == second


def test_registered_project_stays_shared(project):
    first = discover_or_start(project)
    forget_settings(project)
    assert discover(project) == first
    kill(first.pid)
    for _ in range(2):
        assert discover(project) is None
        assert not runtime_path(resolve_state_dir(project)).exists()
    second = discover_or_start(project)
    assert (second.mode, second.project_id) == ("shared", first.project_id)
    stop_daemon()
    third = discover_or_start(project)
    assert (third.mode, third.project_id) == ("shared", first.project_id)
    request_json(third, "DELETE", f"/projects/{third.project_id}")
    assert discover(project) is None
    assert discover_or_start(project).mode == "project"


def test_pointer_without_registration_counts_while_alive(project):
    first = discover_or_start(project)
    forget_settings(project)
    shared_project_file(first.project_id).write_text("{")  # torn: the daemon that starts next does not know the project
    assert discover(project) == first
    kill(first.pid)
    stale = runtime_path(resolve_state_dir(project)).read_bytes()
    daemon = start_daemon().state
    assert discover(project) is None
    assert discover_or_start(project).instance_id == daemon.instance_id
    stop_daemon()
    shared_project_file(first.project_id).unlink()
    runtime_path(resolve_state_dir(project)).write_bytes(stale)
    own = discover_or_start(project)
    assert (own.mode, discover(project)) == ("project", own)


def test_project_mode_in_settings_overrides_pointer(project):
    shared = discover_or_start(project)
    write_project_config(resolve_state_dir(project), mode="project", force=True)
    assert discover(project) is None
    own = discover_or_start(project)
    assert (own.mode, own.instance_id != shared.instance_id) == ("project", True)
    assert discover(project) == own


def test_running_own_server_precedes_daemon(project):
    own = start_server(project).state
    daemon = start_daemon().state
    assert discover(project) == own
    assert discover_or_start(project) == own
    with pytest.raises(ServerRefusedError) as caught:
        request_json(daemon, "POST", "/projects", {"project_root": str(project)})
    assert caught.value.code == "project_server_running"
    assert discover(project) == own
    stop_server(resolve_state_dir(project))
    assert discover(project) is None
    assert discover_or_start(project).instance_id == daemon.instance_id


def test_unregistered_project_registers_again(project):
    state = discover_or_start(project)
    request_json(state, "DELETE", f"/projects/{state.project_id}")
    assert discover(project) is None
    assert discover_or_start(project) == state


def test_pointer_in_copied_project_is_ignored(project, tmp_path):
    original = discover_or_start(project)
    forget_settings(project)
    copy = tmp_path / "copy"
    shutil.copytree(project, copy)
    assert discover(copy) is None
    write_project_config(resolve_state_dir(copy), mode="shared")
    state = discover_or_start(copy)
    assert state.project_id == generate_project_id(copy) != original.project_id
    assert discover(project) == original


def test_discover_keeps_pointer_of_living_daemon(project):
    state = discover_or_start(project)
    assert cleanup_stale(resolve_state_dir(project))
    assert not stop_server(resolve_state_dir(project)).stopped
    assert discover(project) == state
    assert find_processes(brain_home()) == [state.pid]


def test_discover_silent_daemon_keeps_its_files(project):
    state = discover_or_start(project)
    os.kill(state.pid, signal.SIGSTOP)
    assert discover(project) is None
    with pytest.raises(DeadlineError, match="shared daemon is running"):
        start_daemon(timeout_s=1)
    assert read_pointer(resolve_state_dir(project)) is not None
    assert find_processes(brain_home()) == [state.pid]
    os.kill(state.pid, signal.SIGCONT)
    assert discover(project) == state


def test_daemon_stop_removes_every_pointer(projects):
    for root in projects:
        discover_or_start(root)
    assert stop_daemon().stopped
    assert find_processes(brain_home()) == []
    assert [path.name for root in projects for path in (runtime_path(resolve_state_dir(root)),) if path.exists()] == []
    assert not any(path(brain_home()).exists() for path in (runtime_path, lock_path, pid_path))
    assert find_daemon() is None
    assert not stop_daemon().stopped


def test_restarted_daemon_serves_known_projects(project):
    discover_or_start(project)
    stop_daemon()
    state = start_daemon().state
    found = discover(project)
    assert found is not None
    assert (found.instance_id, found.project_id) == (state.instance_id, generate_project_id(project))


def test_environment_of_one_caller_is_not_shared(projects, tmp_path, monkeypatch):
    place = tmp_path / "state of one"
    monkeypatch.setenv("DOC_SERVE_STATE_DIR", str(place))
    write_project_config(place, mode="shared")
    state = discover_or_start(projects[0])  # the daemon inherits the variable
    pointer = read_pointer(place)
    assert pointer is not None
    assert pointer.project_id == state.project_id
    assert not runtime_path(default_state_dir(projects[0])).exists()
    monkeypatch.delenv("DOC_SERVE_STATE_DIR")
    assert discover(projects[0]) == state
    discover_or_start(projects[1])
    assert read_pointer(default_state_dir(projects[1])) is not None
    assert read_pointer(place) == pointer
    stop_daemon()
    assert not runtime_path(place).exists()


def test_external_state_dir_belongs_to_one_project(projects, tmp_path):
    project, other, _ = projects
    shutil.rmtree(project / ".claude")
    place = (tmp_path / "Zustand ü").resolve()
    write_project_config(place, mode="shared")
    state = discover_or_start(project, state_dir=place)
    assert discover(project, state_dir=place) == state
    assert not (project / ".claude").exists()
    (info,) = list_projects(state)
    assert (info["project_root"], info["state_dir"]) == (str(project), str(place))
    assert register_project(state, project, default_state_dir(project)) == state  # nothing is said of the place
    assert read_pointer(place) is not None

    (place / "config.json").write_text('{"mode": "shared", "chunk_size": 3}')
    with pytest.raises(ServerRefusedError, match="chunk_size"):
        request_json(state, "POST", "/query", {"query": "x", "project_id": state.project_id})
    write_project_config(place, mode="shared", force=True)
    with pytest.raises(ServerRefusedError, match="belongs to") as caught:
        discover_or_start(other, state_dir=place)
    assert caught.value.code == "state_dir_in_use"
    assert "unset DOC_SERVE_STATE_DIR" in caught.value.hint

    stop_daemon()
    assert read_pointer(place) is None
    assert start_daemon().started
    wait_until(lambda: read_pointer(place))
    moved = (tmp_path / "moved").resolve()
    register_project(require_daemon(), project, moved)
    assert (read_pointer(place), read_pointer(moved) is None) == (None, False)


@pytest.mark.parametrize("written", ["http://localhost:{port}", "http://127.0.0.1:{port}/", "http://[::1]:{port}"])
def test_shared_server_url_of_daemon_is_accepted(project, written):
    daemon = start_daemon().state
    name_address(project, written.format(port=daemon.port))
    state = discover_or_start(project)
    assert (state.instance_id, discover(project)) == (daemon.instance_id, state)


def test_shared_server_url_of_other_address_finds_none(project):
    state = discover_or_start(project)
    for address in (f"http://127.0.0.1:{state.port + 1}", f"http://example.org:{state.port}", "http://localhost:99999"):
        name_address(project, address)
        assert discover(project) is None
        with pytest.raises(ConfigError, match=r"config\.json: shared_server_url is http://.*answers at") as caught:
            discover_or_start(project)
        assert "shared_config.json" in caught.value.hint
    name_address(project, "ftp://127.0.0.1")
    with pytest.raises(ConfigError, match="shared_server_url 'ftp://127.0.0.1' is not allowed"):
        discover_or_start(project)
    name_address(project, None)
    assert discover(project) == state


class Killer(threading.Thread):
    """Ends the first servers of a state directory before they have published anything, as a lack of memory would."""

    def __init__(self, state_dir, number):
        super().__init__(daemon=True)
        self.state_dir, self.number, self.killed, self._ending = state_dir, number, [], threading.Event()

    def run(self):
        while len(self.killed) < self.number and not self._ending.wait(0.005):
            holder = read_holder(self.state_dir)
            if holder and holder[0] not in self.killed and not runtime_path(self.state_dir).exists():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(holder[0], signal.SIGKILL)
                self.killed.append(holder[0])

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._ending.set()
        self.join(PROCESS_LIMIT_S)


@pytest.mark.parametrize("mode", ["project", "shared"])
def test_start_killed_before_ready_is_retried(project, mode):
    write_project_config(resolve_state_dir(project), mode=mode, force=True)
    place = brain_home() if mode == "shared" else resolve_state_dir(project)
    with Killer(place, MAX_STARTS - 1) as killer:
        state = discover_or_start(project)
    assert len(killer.killed) == MAX_STARTS - 1
    assert (state.mode, discover(project)) == (mode, state)


def test_waiting_caller_after_kill_gets_next_server(project):
    write_project_config(resolve_state_dir(project), mode="project", force=True)
    with Killer(resolve_state_dir(project), 1) as killer, ThreadPoolExecutor(4) as pool:
        states = list(pool.map(discover_or_start, [project] * 4))
    assert len(killer.killed) == 1
    assert {state.instance_id for state in states} == {discover(project).instance_id}


def test_start_killed_every_time_reports_and_cleans_up(project):
    write_project_config(resolve_state_dir(project), mode="project", force=True)
    with Killer(resolve_state_dir(project), 100) as killer, pytest.raises(StartError, match="before it was ready"):
        discover_or_start(project)
    assert len(killer.killed) == MAX_STARTS
    wait_until(lambda: is_stale(resolve_state_dir(project)))
    assert not runtime_path(resolve_state_dir(project)).exists()


@pytest.mark.parametrize("name", ['it\'s "quoted" twice', "line\nbreak", "größe 日本", "-C", "$(id) %20"])
def test_project_of_any_name_is_served(tmp_path, name):
    root = (tmp_path / name).resolve()
    (root / "src").mkdir(parents=True)
    (root / "src" / "gate.py").write_text("def turnstile():\n    return 'open'\n")
    try:
        for mode in ("project", "shared"):
            write_project_config(resolve_state_dir(root), mode=mode, force=True)
            state = discover_or_start(root)
            assert (state.mode, state.project_root, discover(root)) == (mode, str(root), state)
            body = {"folder_path": str(root), "project_id": state.project_id}
            path = f"/index/jobs/{request_json(state, 'POST', '/index', body)['job_id']}?project_id={state.project_id}"
            wait_until(lambda state=state, path=path: request_json(state, "GET", path)["progress"]["keywords_ready"])
            question = {"query": "turnstile", "project_id": state.project_id}
            assert request_json(state, "POST", "/query", question)["results"][0]["source"] == "src/gate.py"
            stop_server(resolve_state_dir(root))
    finally:
        stop_server(resolve_state_dir(root), force=True)


def test_relative_home_resolves_to_callers_directory(project, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AGENT_BRAIN_HOME", "Heim ü")
    state = discover_or_start(project)
    assert json.loads(runtime_path(tmp_path / "Heim ü").read_text())["instance_id"] == state.instance_id
    assert discover(project) == state


def test_discover_torn_or_foreign_pointer_finds_none(project):
    start_daemon()
    state_dir = resolve_state_dir(project)
    for text in ("", "{", "[]", '{"mode": "shared"}', '{"mode": "shared", "project_root": 3, "project_id": "../.."}'):
        runtime_path(state_dir).write_text(text)
        assert discover(project) is None
    (state_dir / "config.json").write_text('{"mode": "shard"}')
    assert discover(project) is None
    with pytest.raises(ConfigError, match="mode"):
        discover_or_start(project)


def test_start_in_non_utf8_path_is_refused(tmp_path):
    root = tmp_path / os.fsdecode(b"raw \xff")
    root.mkdir()
    assert discover(root) is None
    with pytest.raises(ConfigError, match="not UTF-8"):
        discover_or_start(root)
    write_project_config(resolve_state_dir(root), mode="shared")
    with pytest.raises(ConfigError, match="not UTF-8"):
        discover_or_start(root)
