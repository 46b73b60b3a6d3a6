"""From a project to the shared daemon, with real processes: one call, one daemon, and never another one's answer."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agent_brain_server.config.settings import write_project_config
from agent_brain_server.daemon import count_projects, find_daemon, list_projects, read_registrations
from agent_brain_server.discovery import (
    discover,
    discover_async,
    discover_or_start,
    discover_or_start_async,
    request_json,
)
from agent_brain_server.errors import ConfigError, DeadlineError, ServerRefusedError
from agent_brain_server.lifecycle import start_daemon, start_server, stop_daemon, stop_server
from agent_brain_server.locking import cleanup_stale, is_stale
from agent_brain_server.project_root import generate_project_id
from agent_brain_server.runtime import read_pointer
from agent_brain_server.storage_paths import brain_home, lock_path, pid_path, resolve_state_dir, runtime_path

FINDER = """
import sys
from pathlib import Path
from agent_brain_server.discovery import discover_or_start
state = discover_or_start(Path(sys.argv[1]))
print(state.instance_id, state.project_id, state.mode)
"""
PROMPT_S = 5.0  # what comes at once; the machine that tests may be busy
PROCESS_LIMIT_S = 60.0


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home whose daemon listens where the system chooses; the daemon is gone afterwards."""
    for name in [name for name in os.environ if name.startswith(("AGENT_BRAIN_", "DOC_SERVE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(tmp_path / "Heim ü"))
    brain_home().mkdir()
    (brain_home() / "shared_config.json").write_text('{"port": 0}')
    yield brain_home()
    with contextlib.suppress(DeadlineError):
        for pid in find_processes(brain_home()):
            os.kill(pid, signal.SIGCONT)
        stop_daemon(force=True, timeout_s=10)
    for pid in find_processes(brain_home()):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def projects(tmp_path):
    """Three projects that are meant for the daemon; servers of their own are gone afterwards."""
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
    """Pids of the daemons of a home, those that only start too."""
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
    """Leave nothing but the pointer to say that the project is the daemon's."""
    (resolve_state_dir(root) / "config.json").unlink()


def kill(pid):
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + PROMPT_S
    while not is_stale(brain_home()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_without_a_daemon_there_is_none_to_find_and_nothing_is_made(project):
    before = sorted(project.rglob("*"))
    assert discover(project) is None
    assert sorted(project.rglob("*")) == before
    assert sorted(path.name for path in brain_home().iterdir()) == ["shared_config.json"]


def test_one_call_starts_the_daemon_tells_it_of_the_project_and_leaves_a_pointer(projects):
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
    assert set(read_registrations().values()) == set(projects[:2])


def test_many_processes_at_once_get_one_daemon_and_each_its_project(projects):
    roots = projects * 4
    finders = [
        subprocess.Popen([sys.executable, "-c", FINDER, root], stdout=subprocess.PIPE, text=True) for root in roots
    ]
    answers = [finder.communicate(timeout=PROCESS_LIMIT_S)[0].split() for finder in finders]
    assert [finder.returncode for finder in finders] == [0] * len(roots)
    assert len({instance_id for instance_id, _, _ in answers}) == 1
    assert [project_id for _, project_id, _ in answers] == [generate_project_id(root) for root in roots]
    assert len(find_processes(brain_home())) == 1


def test_many_threads_at_once_get_one_daemon(projects):
    with ThreadPoolExecutor(12) as pool:
        states = list(pool.map(discover_or_start, projects * 4))
    assert len({state.instance_id for state in states}) == 1
    assert [state.project_root for state in states] == [str(root) for root in projects * 4]
    assert find_processes(brain_home()) == [states[0].pid]


def test_the_async_twins_answer_the_same_and_leave_the_loop_free(projects):
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


def test_after_kill_9_the_pointer_is_cleaned_up_and_the_next_call_starts_again(project):
    first = discover_or_start(project)
    kill(first.pid)
    assert discover(project) is None
    assert not runtime_path(resolve_state_dir(project)).exists()
    assert not runtime_path(brain_home()).exists()
    second = discover_or_start(project)
    assert second.instance_id != first.instance_id
    assert discover(project) == second


def test_a_pointer_alone_makes_it_the_daemon_s_project(project):
    first = discover_or_start(project)
    forget_settings(project)
    assert discover(project) == first
    kill(first.pid)
    second = discover_or_start(project)
    assert (second.mode, second.project_id) == ("shared", first.project_id)


def test_settings_that_say_project_go_before_a_pointer(project):
    shared = discover_or_start(project)
    write_project_config(resolve_state_dir(project), mode="project", force=True)
    assert discover(project) is None
    own = discover_or_start(project)
    assert (own.mode, own.instance_id != shared.instance_id) == ("project", True)
    assert discover(project) == own


def test_a_server_of_its_own_that_runs_goes_before_the_daemon_and_is_not_overwritten(project):
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


def test_a_project_that_was_unregistered_is_not_found_and_registers_again(project):
    state = discover_or_start(project)
    request_json(state, "DELETE", f"/projects/{state.project_id}")
    assert discover(project) is None
    assert discover_or_start(project) == state


def test_the_pointer_of_the_original_does_not_lead_a_copy_to_it(project, tmp_path):
    original = discover_or_start(project)
    forget_settings(project)
    copy = tmp_path / "copy"
    shutil.copytree(project, copy)
    assert discover(copy) is None
    write_project_config(resolve_state_dir(copy), mode="shared")
    state = discover_or_start(copy)
    assert state.project_id == generate_project_id(copy) != original.project_id
    assert discover(project) == original


def test_looking_never_removes_the_pointer_of_a_daemon_that_lives(project):
    state = discover_or_start(project)
    assert cleanup_stale(resolve_state_dir(project))
    assert not stop_server(resolve_state_dir(project)).stopped
    assert discover(project) == state
    assert find_processes(brain_home()) == [state.pid]


def test_a_silent_daemon_is_not_a_dead_one(project):
    state = discover_or_start(project)
    os.kill(state.pid, signal.SIGSTOP)
    began = time.monotonic()
    assert discover(project) is None
    with pytest.raises(DeadlineError, match="shared daemon is there"):
        start_daemon(timeout_s=1)
    assert time.monotonic() - began < PROMPT_S
    assert read_pointer(resolve_state_dir(project)) is not None
    assert find_processes(brain_home()) == [state.pid]
    os.kill(state.pid, signal.SIGCONT)
    assert discover(project) == state


def test_stopping_withdraws_every_pointer_and_leaves_nothing_that_runs(projects):
    for root in projects:
        discover_or_start(root)
    assert stop_daemon().stopped
    assert find_processes(brain_home()) == []
    assert [path.name for root in projects for path in (runtime_path(resolve_state_dir(root)),) if path.exists()] == []
    assert not any(path(brain_home()).exists() for path in (runtime_path, lock_path, pid_path))
    assert find_daemon() is None
    assert not stop_daemon().stopped


def test_a_daemon_that_starts_again_serves_the_projects_of_before(project):
    discover_or_start(project)
    stop_daemon()
    state = start_daemon().state
    found = discover(project)
    assert found is not None
    assert (found.instance_id, found.project_id) == (state.instance_id, generate_project_id(project))


def test_what_one_caller_has_set_is_not_taken_for_all_projects(project, tmp_path, monkeypatch):
    monkeypatch.setenv("DOC_SERVE_STATE_DIR", str(tmp_path / "state"))
    write_project_config(tmp_path / "state", mode="shared")
    state = discover_or_start(project)
    monkeypatch.delenv("DOC_SERVE_STATE_DIR")
    assert read_pointer(resolve_state_dir(project)) is not None
    assert not runtime_path(tmp_path / "state").exists()
    assert discover(project) == state


def test_a_relative_home_is_the_caller_s(project, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AGENT_BRAIN_HOME", "Heim ü")
    state = discover_or_start(project)
    assert json.loads(runtime_path(tmp_path / "Heim ü").read_text())["instance_id"] == state.instance_id
    assert discover(project) == state


def test_a_torn_or_foreign_pointer_and_bad_settings_are_no_server(project):
    start_daemon()
    state_dir = resolve_state_dir(project)
    for text in ("", "{", "[]", '{"mode": "shared"}', '{"mode": "shared", "project_root": 3, "project_id": "../.."}'):
        runtime_path(state_dir).write_text(text)
        assert discover(project) is None
    (state_dir / "config.json").write_text('{"mode": "shard"}')
    assert discover(project) is None
    with pytest.raises(ConfigError, match="mode"):
        discover_or_start(project)


def test_a_path_that_no_json_can_name_is_refused_in_either_mode(tmp_path):
    root = tmp_path / os.fsdecode(b"raw \xff")
    root.mkdir()
    assert discover(root) is None
    with pytest.raises(ConfigError, match="not UTF-8"):
        discover_or_start(root)
    write_project_config(resolve_state_dir(root), mode="shared")
    with pytest.raises(ConfigError, match="not UTF-8"):
        discover_or_start(root)
