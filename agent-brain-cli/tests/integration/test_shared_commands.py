"""The commands with the shared daemon: init, start, status, list, index, query, stop."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from agent_brain_server.project_root import generate_project_id
from agent_brain_server.storage_paths import prepare_state_dir, resolve_state_dir

START_COMMAND = "agent-brain start --mode shared"

HOLD_LOCKS = """
import os, sys, time
from pathlib import Path
from agent_brain_server.locking import acquire_lock
assert all(acquire_lock(Path(line)) for line in sys.argv[1:])
print(flush=True)
sys.stdin.read()
"""


@pytest.fixture
def shared(agent_brain, brain_home):
    """Run commands in a project that uses the daemon."""
    assert agent_brain("init", "--mode", "shared").code == 0
    return agent_brain


@pytest.fixture
def other_project(tmp_path) -> Path:
    """A second project, with another answer to the same query."""
    root = tmp_path / "other"
    (root / ".claude").mkdir(parents=True)
    (root / "other.py").write_text("def turnstile():\n    '''The turnstile of the other project.'''\n")
    return root


def read_config(project: Path) -> dict:
    return json.loads((resolve_state_dir(project) / "config.json").read_text())


def test_init_shared_creates_both_files(agent_brain, project, environment):
    first = agent_brain("init", "--mode", "shared", "--json")
    assert first.code == 0, first.err
    shared_config = Path(environment["AGENT_BRAIN_HOME"]) / "shared_config.json"
    assert first.json["shared_config_file"] == str(shared_config)
    assert json.loads(shared_config.read_text()) == {}
    assert read_config(project)["mode"] == "shared"
    assert START_COMMAND in first.err
    shared_config.write_text('{"port": 4711}')
    assert "--mode shared" in agent_brain("config").err
    agent_brain("init", "--mode", "shared")
    assert json.loads(shared_config.read_text()) == {"port": 4711}


def test_shared_state_dir_of_two_projects_is_refused(shared, other_project, tmp_path):
    assert shared("start", "--mode", "shared").code == 0
    everywhere = replace(shared, environment=shared.environment | {"DOC_SERVE_STATE_DIR": str(tmp_path / "for all")})
    assert everywhere("init", "--mode", "shared").code == 0
    assert everywhere("query", "turnstile").code == 0
    refused = everywhere("query", "turnstile", cwd=other_project)
    assert refused.code == 4
    assert str(shared.project) in refused.error_lines[0]
    assert "unset DOC_SERVE_STATE_DIR" in refused.error_lines[1]
    assert shared("init", "--mode", "shared", cwd=other_project).code == 0
    assert "other.py:1" in shared("query", "turnstile", cwd=other_project).out


def test_commands_without_daemon_exit_with_7(shared, project):
    commands = (["status"], ["index"], ["query", "turnstile"], ["start"], ["stop"], ["status", "--mode", "shared"])
    for arguments in commands:
        outcome = shared(*arguments)
        assert (outcome.code, outcome.out) == (7, ""), arguments
        assert len(outcome.error_lines) == 2
        assert START_COMMAND in outcome.error_lines[1]
    created = sorted(path.name for path in resolve_state_dir(project).iterdir())
    assert created == [".gitignore", "config.json", "owner.json"]
    outcome = shared("stop", "--mode", "shared", "--json")
    assert (outcome.code, outcome.json["stopped"]) == (7, False)
    absent = shared("status", "--json")
    assert (absent.code, absent.json["running"], absent.json["mode"]) == (7, False, "shared")


def test_daemon_start_status_query_and_stop(shared, project, brain_home):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = shared("start", "--mode", "shared", "--port", str(port))
    assert refused.code == 1
    assert str(port) in refused.error_lines[0]
    assert str(brain_home / "shared_config.json") in refused.error_lines[1]

    started = shared("start", "--mode", "shared", "--json")
    assert started.code == 0, started.err
    assert (started.json["mode"], started.json["active_projects"]) == ("shared", 1)
    assert started.json["project_id"] == generate_project_id(project)
    assert len(started.json["token"]) >= 16
    again = shared("start", "--mode", "shared", "--json")
    assert again.json == started.json
    assert "already running" in again.err
    assert shared("start", "--json").json == started.json
    assert "(shared)" in shared("start").out

    answer = shared("query", "turnstile", "--json")
    assert answer.code == 0, answer.err
    assert answer.json["results"][0]["source"] == "src/locking.py"
    assert shared("index", "--wait", "--json").json["state"] == "done"

    status = shared("status", "--json", cwd=project / "src").json
    assert (status["mode"], status["pid"], status["active_projects"]) == ("shared", started.json["pid"], 1)
    assert status["project_root"] == str(project)
    assert status["index"]["total_documents"] == 3
    shown = shared("status").out
    assert "(shared), 1 active project" in shown
    assert str(project) in shown

    refused = shared("stop")
    assert refused.code == 4
    assert "stop --mode shared" in refused.error_lines[1]
    stopped = shared("stop", "--mode", "shared", "--json")
    assert (stopped.code, stopped.json["pid"]) == (0, started.json["pid"])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", started.json["port"])).close()
    assert shared("status").code == 7
    assert not (resolve_state_dir(project) / "runtime.json").exists()


def test_daemon_keeps_the_answers_of_projects_apart(shared, project, other_project):
    shared("start", "--mode", "shared")
    shared("init", "--mode", "shared", cwd=other_project)
    sources = [
        {result["source"] for result in shared("query", "turnstile", "--json", cwd=root).json["results"]}
        for root in (project, other_project)
    ]
    assert sources[1] == {"other.py"}
    assert "src/locking.py" in sources[0]
    assert "other.py" not in sources[0]

    listed = shared("list", "--json").json
    assert (listed["daemon"]["state"], listed["daemon"]["active_projects"]) == ("running", 2)
    assert {(found["project_root"], found["mode"], found["state"]) for found in listed["projects"]} == {
        (str(project), "shared", "running"),
        (str(other_project), "shared", "running"),
    }
    lines = shared("list").out.splitlines()
    assert lines[1].startswith("shared daemon")
    assert "running, 2 active projects" in lines[1]
    assert all("(shared)" in line for line in lines[1:])
    daemon = shared("status", "--mode", "shared", "--json", cwd="/").json
    assert [found["project_root"] for found in daemon["projects"]] == sorted([str(project), str(other_project)])
    assert str(other_project) in shared("status", "--mode", "shared").out


def test_status_reports_the_mode_in_use(shared, project):
    shared("start", "--mode", "shared")
    shared("index", "--wait")
    in_daemon = shared("status", "--json").json
    assert in_daemon["index"]["total_documents"] == 3

    own = shared("start", "--mode", "project", "--json")
    assert own.code == 0, own.err
    assert own.json["mode"] == "project"
    in_project = shared("status", "--json").json
    assert (in_project["mode"], in_project["index"]["total_documents"]) == ("project", 0)
    assert in_project["index"]["state_dir"] == str(resolve_state_dir(project))
    assert in_project["index"]["state_dir"] != in_daemon["index"]["state_dir"]
    listed = shared("list", "--json").json["projects"]
    assert [(found["project_root"], found["mode"]) for found in listed] == [(str(project), "project")]

    assert shared("stop").code == 0
    assert not (resolve_state_dir(project) / "runtime.json").exists()
    back = shared("query", "turnstile", "--json")
    assert json.loads((resolve_state_dir(project) / "runtime.json").read_text())["mode"] == "shared"
    assert back.json["results"][0]["source"] == "src/locking.py"
    assert "never indexed" not in back.err
    assert shared("status", "--json").json["index"]["state_dir"] == in_daemon["index"]["state_dir"]


def test_daemon_stops_serving_deleted_and_moved_projects(shared, brain_home, project, other_project):
    shared("start", "--mode", "shared")
    shared("init", "--mode", "shared", cwd=other_project)
    assert shared("start", "--json", cwd=other_project).json["active_projects"] == 2
    assert shared("query", "turnstile", cwd=other_project).code == 0
    index = brain_home / "projects" / generate_project_id(other_project.resolve())
    shutil.rmtree(other_project)
    listed = shared("list", "--json")
    assert [each["state"] for each in listed.json["projects"] if each["project_root"] == str(other_project)] == ["gone"]
    assert "agent-brain list --prune" in listed.err
    assert index.is_dir()
    pruned = shared("list", "--prune", "--json")
    assert (pruned.code, pruned.json["daemon"]["active_projects"]) == (0, 1)
    assert str(other_project) not in pruned.out
    assert not index.exists()

    assert shared("init", "--mode", "project").code == 0
    assert shared("list", "--json").json["daemon"]["active_projects"] == 0
    assert not (resolve_state_dir(project) / "runtime.json").exists()
    assert shared("status").code == 3


def test_list_prune_without_daemon_deletes_the_index(shared, brain_home, other_project):
    shared("init", "--mode", "shared", cwd=other_project)
    assert shared("start", "--mode", "shared").code == 0
    assert shared("query", "turnstile", cwd=other_project).code == 0
    index = brain_home / "projects" / generate_project_id(other_project.resolve())
    shared("stop", "--mode", "shared")
    shutil.rmtree(other_project)
    assert shared("list").code == 0
    assert index.is_dir()
    assert shared("list", "--prune").code == 0
    assert not index.exists()
    shared("init", "--mode", "project")
    assert shared("start", "--mode", "shared", "--json").json["active_projects"] == 0


def test_registered_project_reports_a_killed_daemon(shared, project):
    started = shared("start", "--mode", "shared", "--json").json
    assert shared("query", "turnstile").code == 0
    (resolve_state_dir(project) / "config.json").unlink()
    assert shared("status", "--json").json["pid"] == started["pid"]
    shared.kill(started["pid"])
    for arguments in (["status"], ["query", "turnstile"], ["index"], ["start"], ["stop"]) * 2:
        outcome = shared(*arguments)
        assert (outcome.code, outcome.out) == (7, ""), arguments
        assert START_COMMAND in outcome.error_lines[1]
        assert "agent-brain init --mode project" in outcome.error_lines[1]
    assert shared("start", "--mode", "shared", "--json").json["project_id"] == started["project_id"]
    again = shared("query", "turnstile", "--json")
    assert (again.code, again.json["results"][0]["source"]) == (0, "src/locking.py")
    assert "never indexed" not in again.err

    shared.kill(shared("status", "--json").json["pid"])
    assert shared("init", "--mode", "project").code == 0
    assert shared("query", "turnstile").code == 0
    assert shared("status", "--json").json["mode"] == "project"
    assert shared("stop").code == 0


def test_daemon_at_another_address_is_refused(shared, project):
    base_url = shared("start", "--mode", "shared", "--json").json["base_url"]
    config = {"mode": "shared", "shared_server_url": "http://127.0.0.1:9"}
    (resolve_state_dir(project) / "config.json").write_text(json.dumps(config))
    assert shared("trust").code == 0
    for arguments in (["status"], ["index"], ["query", "turnstile"], ["start"], ["stop"]):
        outcome = shared(*arguments)
        assert (outcome.code, outcome.out) == (2, ""), arguments
        assert base_url in outcome.error_lines[0]
        assert "http://127.0.0.1:9" in outcome.error_lines[0]
        assert "shared_server_url" in outcome.error_lines[1]


def test_shared_project_with_state_dir_elsewhere(shared, project, tmp_path):
    shutil.rmtree(project / ".claude")
    elsewhere = ["--project-root", str(project), "--state-dir", str(tmp_path / "state ü")]
    shared("init", "--mode", "shared", *elsewhere)
    started = shared("start", "--mode", "shared", "--json", *elsewhere)
    assert started.json["project_id"] == generate_project_id(project), started.err
    pointer = json.loads((tmp_path / "state ü/runtime.json").read_text())
    assert (pointer["mode"], pointer["project_id"]) == ("shared", started.json["project_id"])
    assert not (project / ".claude").exists()
    assert shared("query", "turnstile", "--json", *elsewhere).json["results"][0]["source"] == "src/locking.py"
    status = shared("status", "--json", *elsewhere).json
    assert (status["mode"], status["state_dir"]) == ("shared", str(tmp_path / "state ü"))


def test_unusable_home_exits_with_5(agent_brain, environment):
    home = Path(environment["AGENT_BRAIN_HOME"])
    home.write_text("in the way")
    outcome = agent_brain("start", "--mode", "shared")
    assert (outcome.code, outcome.out) == (5, "")
    assert str(home) in outcome.error_lines[0]
    home.unlink()


def test_start_shared_leaves_a_project_with_own_server_out(agent_brain, brain_home):
    started = agent_brain("start", "--mode", "shared", "--json")
    assert (started.code, started.json["active_projects"]) == (0, 0)
    assert "project_root" not in started.json
    assert agent_brain("status").code == 3
    assert "0 active projects" in agent_brain("list").out


def test_foreground_daemon_runs_until_interrupted(shared, project, brain_home, environment):
    command = [sys.executable, "-m", "agent_brain_cli", "start", "--mode", "shared", "--foreground"]
    daemon = subprocess.Popen(
        command, cwd=project, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 180
        while not (brain_home / "runtime.json").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert shared("status", "--mode", "shared", "--json").json["pid"] == daemon.pid
        assert shared("query", "turnstile").code == 0
        daemon.send_signal(signal.SIGINT)
        daemon.wait(60)
        assert shared("status").code == 7
    finally:
        daemon.kill()
        daemon.wait()


def test_list_distinguishes_hung_from_stopped_servers(agent_brain, environment, tmp_path):
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        port = silent.getsockname()[1]
        roots = {state: [tmp_path / f"{state}{number}" for number in range(20)] for state in ("hung", "dead")}
        write_silent_daemon(environment, port)
        for root in [*roots["hung"], *roots["dead"]]:
            write_registered_project(root, port)
        write_registry(environment, [*roots["hung"], *roots["dead"]])
        locked = [environment["AGENT_BRAIN_HOME"], *(resolve_state_dir(root) for root in roots["hung"])]
        command = [sys.executable, "-c", HOLD_LOCKS, *locked]
        holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            assert holder.stdout is not None
            holder.stdout.readline()
            listed = agent_brain("list", "--json")
        finally:
            holder.communicate()
    states = {found["project_root"]: found["state"] for found in listed.json["projects"]}
    expected = {str(root): "not_answering" for root in roots["hung"]} | {str(root): "stopped" for root in roots["dead"]}
    assert states == {**expected, str(tmp_path / "gone"): "gone"}
    assert listed.json["daemon"]["state"] == "not_answering"


def test_list_survives_a_torn_registry(agent_brain, environment, project, tmp_path):
    registry = Path(environment["AGENT_BRAIN_HOME"]) / "registry.json"
    gone, kept = tmp_path / "gone", tmp_path / "kept"
    for root in (gone, kept):
        write_registered_project(root, 1)
    write_registry(environment, [gone, kept])
    shutil.rmtree(gone)
    listed = agent_brain("list", "--json").json
    assert [found["project_root"] for found in listed["projects"]] == [str(kept)]
    assert str(gone) not in registry.read_text()

    registry.write_text('{"projects": [{"project_ro')
    outcome = agent_brain("list", "--json")
    assert (outcome.code, outcome.json["projects"]) == (0, [])
    agent_brain("init")
    assert [found["project_root"] for found in agent_brain("list", "--json").json["projects"]] == [str(project)]


@pytest.mark.parametrize(("text", "daemon_runs"), [("{", True), ('{"schema_version": 1}', True), ("", False)])
def test_query_repairs_a_damaged_registration(shared, brain_home, project, other_project, text, daemon_runs):
    started = shared("start", "--mode", "shared", "--json").json
    assert shared("query", "turnstile").code == 0
    (resolve_state_dir(project) / "config.json").unlink()
    registration = brain_home / "projects" / started["project_id"] / "project.json"
    before = json.loads(registration.read_text())
    registration.write_text(text)
    if not daemon_runs:
        shared.kill(started["pid"])
        assert shared("query", "turnstile").code == 7
        assert shared("start", "--mode", "shared", cwd=other_project).code == 0
    answered = shared("query", "turnstile", "--json")
    assert answered.code == 0, answered
    assert answered.json["results"][0]["source"] == "src/locking.py"
    assert json.loads(registration.read_text())["project_root"] == before["project_root"]
    assert shared("status", "--json").json["mode"] == "shared"
    assert not (resolve_state_dir(project) / "data").exists()


def test_daemon_survives_torn_and_foreign_registrations(shared, brain_home):
    for name, text in {"p_00000000": "{", "p_11111111": '{"project_root": "/elsewhere"}', "x": "", "p_2": ""}.items():
        (brain_home / "projects" / name).mkdir(parents=True)
        (brain_home / "projects" / name / "project.json").write_text(text)
    (brain_home / "projects" / "p_33333333").write_text("")
    outcome = shared("list", "--json")
    assert (outcome.code, outcome.json["daemon"]) == (0, None)
    started = shared("start", "--mode", "shared", "--json")
    assert (started.code, started.json["active_projects"]) == (0, 1)


def write_silent_daemon(environment, port: int) -> None:
    """Write the runtime file of a daemon that serves a deleted project."""
    home = Path(environment["AGENT_BRAIN_HOME"])
    gone = home.parent / "gone"
    registration = home / "projects" / generate_project_id(gone) / "project.json"
    registration.parent.mkdir(parents=True)
    registration.write_text(json.dumps({"schema_version": 1, "project_root": str(gone)}))
    (home / "runtime.json").write_text(json.dumps(describe_server(port, mode="shared")))


def write_registered_project(root: Path, port: int) -> None:
    """Create a project whose runtime file names this process and the given port."""
    root.mkdir()
    prepare_state_dir(resolve_state_dir(root))
    runtime = describe_server(port, mode="project", project_root=str(root))
    (resolve_state_dir(root) / "runtime.json").write_text(json.dumps(runtime))


def describe_server(port: int, **fields: str) -> dict:
    """Return the content of a runtime file that names this process."""
    return {
        "schema_version": 1, "instance_id": "ds_000000", "base_url": f"http://127.0.0.1:{port}", "pid": os.getpid(),
        "bind_host": "127.0.0.1", "port": port, "started_at": "2026-01-01T00:00:00+00:00", **fields,
    }  # fmt: skip


def write_registry(environment, roots: list[Path]) -> None:
    """Write the registry in the home of the test."""
    home = Path(environment["AGENT_BRAIN_HOME"])
    home.mkdir(parents=True, exist_ok=True)
    projects = [{"project_root": str(root), "state_dir": str(resolve_state_dir(root))} for root in roots]
    (home / "registry.json").write_text(json.dumps({"schema_version": 1, "projects": projects}))
