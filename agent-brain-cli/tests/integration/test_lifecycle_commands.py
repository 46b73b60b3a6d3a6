"""`init`, `start`, `status`, `list` and `stop` with a project's own server."""

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


def test_start_status_list_and_stop(agent_brain, project):
    started = agent_brain("start", "--json")
    assert started.code == 0, started.err
    assert started.json.keys() >= RUNNING_KEYS
    assert len(started.json["token"]) >= 16

    again = agent_brain("start", "--json")
    assert (again.code, again.json) == (0, started.json)
    assert "already running" in again.err

    status = agent_brain("status", "--json", cwd=project / "src").json
    assert (status["running"], status["base_url"]) == (True, started.json["base_url"])
    assert (status["project_root"], status["index"]["total_documents"]) == (str(project), 0)
    assert "token" not in status
    shown = agent_brain("status")
    assert shown.code == 0
    assert started.json["base_url"] in shown.out
    assert str(started.json["pid"]) in shown.out
    assert "never; index it with" in shown.out
    assert agent_brain("status", "--mode", "shared").code == 7
    assert agent_brain("status", "--mode", "project").code == 0

    (listed,) = agent_brain("list", "--json").json["projects"]
    assert (listed["project_root"], listed["state"], listed["pid"]) == (str(project), "running", started.json["pid"])
    assert started.json["base_url"] in agent_brain("list").out

    stopped = agent_brain("stop", "--json")
    assert stopped.code == 0
    assert (stopped.json["stopped"], stopped.json["forced"], stopped.json["pid"]) == (True, False, started.json["pid"])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", started.json["port"])).close()
    assert agent_brain("list", "--json").json["projects"][0]["state"] == "stopped"


def test_status_and_stop_without_server_exit_with_3(agent_brain, project):
    for command in ("status", "stop"):
        outcome = agent_brain(command)
        assert (outcome.code, outcome.out) == (3, "")
        what, next_step = outcome.error_lines
        assert str(project) in what
        assert {"status": "agent-brain start", "stop": "agent-brain list"}[command] in next_step
    status = agent_brain("status", "--json")
    assert status.code == 3
    assert (status.json["running"], status.json["state"]) == (False, "stopped")
    assert status.json["project_root"] == str(project)
    assert status.json["state_dir"]
    assert agent_brain("stop", "--json").json["stopped"] is False
    assert "No projects yet" in agent_brain("list").out
    assert list((project / ".claude").iterdir()) == []


@pytest.mark.parametrize("mode", ["project", "shared"])
def test_commands_report_a_hung_server(agent_brain, brain_home, mode):
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
            assert "agent-brain stop" in outcome.error_lines[-1]
            assert "--force" in outcome.error_lines[-1]
        listed = agent_brain("list", "--json")
        assert (listed.code, listed.json["projects"][0]["state"]) == (0, "not_answering")
    finally:
        os.kill(pid, signal.SIGCONT)


def test_start_resolves_the_project_root_once(agent_brain, project, tmp_path):
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


def test_stop_removes_the_files_of_a_killed_server(agent_brain, project):
    started = agent_brain("start", "--json").json
    state_dir = resolve_state_dir(project)
    agent_brain.kill(started["pid"])
    assert (state_dir / "runtime.json").exists()
    assert agent_brain("stop").code == 3
    assert not (state_dir / "runtime.json").exists()
    assert agent_brain("start").code == 0
    warning = f"the previous server (pid {started['pid']}, started {started['started_at']}"
    assert warning in agent_brain("logs", "--level", "warning").out
    assert agent_brain("stop").code == 0
    assert agent_brain("start").code == 0
    lines = agent_brain("logs", "--json", "--lines", "1000").json["lines"]
    assert [warning in line["message"] for line in lines].count(True) == 1


def test_status_of_silent_server_exits_with_6(agent_brain, project):
    state_dir = resolve_state_dir(project)
    prepare_state_dir(state_dir)
    assert acquire_lock(state_dir)
    try:
        outcome = agent_brain("status")
        assert outcome.code == 6
        assert "stop --force" in outcome.error_lines[1]
        assert agent_brain("status", "--json").json["state"] == "not_answering"
        agent_brain("init")
        assert agent_brain("list", "--json").json["projects"][0]["state"] == "not_answering"
    finally:
        release_lock(state_dir)


def test_start_with_unknown_setting_exits_with_2(agent_brain, project):
    config_file = resolve_state_dir(project) / "config.json"
    prepare_state_dir(config_file.parent)
    config_file.write_text('{"prot": 1}')
    outcome = agent_brain("start", "--json")
    assert outcome.code == 2
    assert outcome.json["error"]["code"] == "unknown_setting"
    assert "prot" in outcome.error_lines[0]
    assert str(config_file) in outcome.error_lines[0]
    assert len(outcome.error_lines) == 2


def test_start_with_unusable_state_dir_exits_with_5(agent_brain, tmp_path):
    (tmp_path / "file").write_text("")
    outcome = agent_brain("start", "--state-dir", str(tmp_path / "file" / "state"))
    assert outcome.code == 5
    assert "file" in outcome.error_lines[0]
    assert "--state-dir" in outcome.error_lines[1]


def test_start_on_a_taken_port_exits_with_1(agent_brain):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        outcome = agent_brain("start", "--port", str(port))
    assert outcome.code == 1
    assert str(port) in outcome.error_lines[0]


def test_options_choose_project_state_dir_and_port(agent_brain, project, tmp_path):
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


def test_foreground_server_runs_until_interrupted(agent_brain, project, environment):
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
        assert os.readlink(f"/proc/{server.pid}/cwd") == "/"  # libraries would read `.env` of a clone
        server.send_signal(signal.SIGINT)
        server.wait(60)
        assert agent_brain("status").code == 3
    finally:
        server.kill()
        server.wait()


def test_state_dir_of_another_project_is_refused(agent_brain, project, tmp_path):
    agent_brain.environment["DOC_SERVE_STATE_DIR"] = str(tmp_path / "for all")
    second = tmp_path / "second"
    second.mkdir()
    first_answer = agent_brain("query", "turnstile")
    assert first_answer.code == 0, first_answer.err
    assert agent_brain("stop", cwd=second).code == 5
    assert agent_brain("stop").code == 0
    for arguments in (["init"], ["start"], ["query", "x"], ["index"], ["reset", "--yes"]):
        refused = agent_brain(*arguments, cwd=second)
        assert refused.code == 5, arguments
        assert str(project) in refused.error_lines[-2]
        assert "unset DOC_SERVE_STATE_DIR" in refused.error_lines[-1]
    assert "src/locking.py" in agent_brain("query", "turnstile").out
    assert agent_brain("reset", "--yes").code == 0
    assert agent_brain("init", cwd=second).code == 0


def test_start_of_running_server_ignores_address_options(agent_brain):
    started = agent_brain("start", "--json").json
    outcome = agent_brain("start", "--json", "--port", "45999", "--host", "127.0.0.2")
    assert outcome.code == 0
    assert outcome.json["instance_id"] == started["instance_id"]
    assert outcome.json["ignored_options"] == ["--host", "--port"]
    assert str(started["port"]) in outcome.err
    assert "agent-brain stop" in outcome.err
    same = agent_brain("start", "--json", "--port", str(started["port"]))
    assert "ignored_options" not in same.json


def test_config_reports_settings_of_the_running_server(agent_brain, project):
    assert agent_brain("start").code == 0
    assert agent_brain("config").err == ""
    (resolve_state_dir(project) / "config.json").write_text(json.dumps({"port": 1}))
    outcome = agent_brain("config")
    assert "started with other settings" in outcome.err
    assert outcome.code == 0
