import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

from agent_brain_server.locking import acquire_lock, release_lock
from agent_brain_server.storage_paths import prepare_state_dir, resolve_state_dir

RUNNING_KEYS = {"base_url", "pid", "port", "mode", "instance_id", "project_root", "started_at"}


def test_a_server_from_start_to_stop(agent_brain, project):
    started = agent_brain("start", "--json")
    assert started.code == 0, started.err
    assert started.json.keys() >= RUNNING_KEYS
    assert len(started.json["token"]) >= 16

    again = agent_brain("start", "--json")
    assert again.code == 0
    assert again.json == started.json
    assert "already" in again.err

    subdirectory = agent_brain("status", "--json", cwd=project / "src").json
    assert subdirectory["running"] is True
    assert subdirectory["base_url"] == started.json["base_url"]
    assert subdirectory["project_root"] == str(project)
    assert subdirectory["index"]["total_documents"] == 0

    shown = agent_brain("status")
    assert shown.code == 0
    assert started.json["base_url"] in shown.out
    assert str(started.json["pid"]) in shown.out

    listed = agent_brain("list", "--json").json["projects"]
    assert [(p["project_root"], p["state"], p["pid"]) for p in listed] == [
        (str(project), "running", started.json["pid"])
    ]
    assert started.json["base_url"] in agent_brain("list").out

    stopped = agent_brain("stop", "--json")
    assert stopped.code == 0
    assert stopped.json["stopped"] is True
    assert stopped.json["pid"] == started.json["pid"]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", started.json["port"])).close()

    assert agent_brain("list", "--json").json["projects"][0]["state"] == "stopped"


@pytest.mark.parametrize("mode", ["project", "shared"])
def test_hung_server_is_reported_with_what_to_do(agent_brain, mode, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home/shared_config.json").write_text('{"port": 0}')  # the default port may be taken
    if mode == "shared":
        assert agent_brain("init", "--mode", "shared").code == 0
    pid = agent_brain("start", "--mode", mode, "--json").json["pid"]
    assert agent_brain("index").code == 0
    os.kill(pid, signal.SIGSTOP)
    try:
        for command in (("query", "turnstile"), ("index",), ("status",)):
            outcome = agent_brain(*command)
            assert outcome.code == 6, (command, outcome)
            assert "not answer" in outcome.err or "no server" in outcome.err
            assert "agent-brain stop" in outcome.complaint[-1]
            assert "--force" in outcome.complaint[-1]
        listed = agent_brain("list", "--json")
        assert (listed.code, listed.json["projects"][0]["state"]) == (0, "not_answering")
    finally:
        os.kill(pid, signal.SIGCONT)
        agent_brain("stop", "--mode", mode, "--force")


def test_the_root_is_found_once_from_wherever_and_the_server_is_told(agent_brain, project, tmp_path):
    git, log = shutil.which("git"), tmp_path / "questions"
    subprocess.run([git, "init", "-q", project], check=True)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/git").write_text(f'#!/bin/sh\necho "$@" >>"{log}"\nexec {git} "$@"\n')
    (tmp_path / "bin/git").chmod(0o755)
    agent_brain.environment["PATH"] = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    (tmp_path / "link").symlink_to(project / "src")
    started = agent_brain("start", "--json", cwd=tmp_path / "link")
    assert started.json["project_root"] == str(project)
    assert log.read_text().count("--show-toplevel") == 1
    status = agent_brain("status", "--json", cwd=project / ".claude").json
    assert (status["instance_id"], status["project_root"]) == (started.json["instance_id"], str(project))
    assert agent_brain("stop", cwd=tmp_path / "link").code == 0


def test_without_a_server_status_and_stop_say_so(agent_brain, project):
    for command in ("status", "stop"):
        outcome = agent_brain(command)
        assert outcome.code == 3
        assert outcome.out == ""
        what, next_step = outcome.complaint
        assert str(project) in what
        assert {"status": "agent-brain start", "stop": "agent-brain list"}[command] in next_step

    status = agent_brain("status", "--json")
    assert status.code == 3
    assert status.json["running"] is False
    assert status.json["project_root"] == str(project)
    assert status.json["state_dir"]

    assert agent_brain("stop", "--json").json["stopped"] is False


def test_asking_creates_nothing(agent_brain, project):
    agent_brain("status")
    agent_brain("list")
    assert list((project / ".claude").iterdir()) == []


def test_what_a_killed_server_left_is_gone_after_stop(agent_brain, project):
    started = agent_brain("start", "--json").json
    state_dir = resolve_state_dir(project)
    os.kill(started["pid"], signal.SIGKILL)
    assert (state_dir / "runtime.json").exists()
    assert agent_brain("stop").code == 3
    assert not (state_dir / "runtime.json").exists()


def test_a_server_that_is_silent_is_not_called_missing(agent_brain, project):
    state_dir = resolve_state_dir(project)
    prepare_state_dir(state_dir)
    assert acquire_lock(state_dir)
    try:
        outcome = agent_brain("status")
        assert outcome.code == 6
        assert "stop --force" in outcome.complaint[1]
        assert agent_brain("status", "--json").json["state"] == "not_answering"
        agent_brain("init")
        assert agent_brain("list", "--json").json["projects"][0]["state"] == "not_answering"
    finally:
        release_lock(state_dir)


def test_init_writes_the_settings_once(agent_brain, project):
    first = agent_brain("init", "--json")
    assert first.code == 0
    assert first.json["created"] is True
    config_file = resolve_state_dir(project) / "config.json"
    assert first.json["config_file"] == str(config_file)
    written = json.loads(config_file.read_text())
    assert "port" not in written  # a default is in force anyway

    config_file.write_text('{"port": 4711}')
    second = agent_brain("init")
    assert second.code == 0
    assert "already" in second.out
    assert json.loads(config_file.read_text()) == {"port": 4711}

    assert agent_brain("init", "--force").code == 0
    assert json.loads(config_file.read_text()) == written
    assert [p["project_root"] for p in agent_brain("list", "--json").json["projects"]] == [str(project)]


def test_a_wrong_setting_is_named_and_nothing_starts(agent_brain, project):
    agent_brain("init")
    config_file = resolve_state_dir(project) / "config.json"
    config_file.write_text('{"prot": 1}')
    outcome = agent_brain("start", "--json")
    assert outcome.code == 2
    assert outcome.json["error"]["code"] == "unknown_setting"
    assert "prot" in outcome.complaint[0]
    assert str(config_file) in outcome.complaint[0]
    assert len(outcome.complaint) == 2


def test_a_state_directory_that_cannot_be_made_is_exit_code_5(agent_brain, tmp_path):
    (tmp_path / "file").write_text("")
    outcome = agent_brain("start", "--state-dir", str(tmp_path / "file" / "state"))
    assert outcome.code == 5
    assert "file" in outcome.complaint[0]
    assert "--state-dir" in outcome.complaint[1]


def test_a_port_that_is_taken_is_said_at_once(agent_brain):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        outcome = agent_brain("start", "--port", str(port))
    assert outcome.code == 1
    assert str(port) in outcome.complaint[0]


def test_flags_choose_project_state_directory_and_port(agent_brain, project, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    where = ("--project-root", str(project), "--state-dir", str(tmp_path / "elsewhere"))
    try:
        started = agent_brain("start", "--json", "--port", str(port), *where, cwd=tmp_path)
        assert started.code == 0, started.err
        assert started.json["port"] == port
        assert started.json["project_root"] == str(project)
        assert (tmp_path / "elsewhere" / "runtime.json").exists()
        assert agent_brain("status").code == 3
        assert agent_brain("list", "--json", *where).json["projects"][0]["port"] == port
    finally:
        assert agent_brain("stop", *where).code == 0


def test_foreground_serves_until_it_is_interrupted(agent_brain, project, environment):
    server = subprocess.Popen(
        [sys.executable, "-m", "agent_brain_cli", "start", "--foreground"],
        cwd=project,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 180
        while not (resolve_state_dir(project) / "runtime.json").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert agent_brain("status", "--json").json["pid"] == server.pid
        assert os.readlink(f"/proc/{server.pid}/cwd") == "/"  # no library reads `.env` of a clone
        server.send_signal(signal.SIGINT)
        server.wait(60)
        assert agent_brain("status").code == 3
    finally:
        server.kill()
        server.wait()


def test_silent_servers_do_not_hold_up_the_list(agent_brain, environment, tmp_path):
    """Fifteen projects whose recorded port takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        port = silent.getsockname()[1]
        register_all([make_silent_project(tmp_path / f"silent{n}", port) for n in range(15)], environment)
        listed = agent_brain("list", "--json").json["projects"]
    assert len(listed) == 15
    assert {entry["state"] for entry in listed} == {"stopped"}


def make_silent_project(root, port: int):
    state_dir = resolve_state_dir(root)
    root.mkdir()
    prepare_state_dir(state_dir)
    runtime = {
        "schema_version": 1,
        "mode": "project",
        "project_root": str(root),
        "instance_id": "ds_000000",
        "base_url": f"http://127.0.0.1:{port}",
        "bind_host": "127.0.0.1",
        "port": port,
        "pid": os.getpid(),
        "started_at": "2026-01-01T00:00:00+00:00",
    }
    (state_dir / "runtime.json").write_text(json.dumps(runtime))
    return root


def register_all(roots, environment) -> None:
    """Register projects in the home of the test, in a process whose environment names that."""
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from agent_brain_server.lifecycle.registry import register\n"
        "from agent_brain_server.storage_paths import resolve_state_dir\n"
        "for root in map(Path, sys.argv[1:]):\n"
        "    register(root, resolve_state_dir(root))\n"
    )
    subprocess.run([sys.executable, "-c", code, *map(str, roots)], env=environment, check=True)


def test_state_dir_of_a_stopped_project_is_refused(agent_brain, project, tmp_path):
    agent_brain.environment["DOC_SERVE_STATE_DIR"] = str(tmp_path / "for all")
    second = tmp_path / "second"
    second.mkdir()
    first_answer = agent_brain("query", "turnstile")
    assert first_answer.code == 0, first_answer.err
    kept_running = agent_brain("stop", cwd=second)
    assert kept_running.code == 5
    assert agent_brain("stop").code == 0
    for arguments in (["init"], ["start"], ["query", "x"], ["index"], ["reset", "--yes"]):
        refused = agent_brain(*arguments, cwd=second)
        assert refused.code == 5, arguments
        assert str(project) in refused.complaint[-2]
        assert "unset DOC_SERVE_STATE_DIR" in refused.complaint[-1]
    assert "src/locking.py" in agent_brain("query", "turnstile").out
    assert agent_brain("reset", "--yes").code == 0
    assert agent_brain("init", cwd=second).code == 0
