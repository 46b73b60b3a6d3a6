"""`start`, `status`, `stop` and `list` through the lifetime of a server and of the daemon."""

import pytest

from agent_brain_cli.commands.stop import render_stop
from agent_brain_server.lifecycle import registry
from agent_brain_server.storage_paths import brain_home


@pytest.fixture
def stopped_afterwards(run):
    yield
    run("stop", "--force", "--timeout", "5")
    run("stop", "--mode", "shared", "--force", "--timeout", "5")


@pytest.mark.process
def test_commands_through_the_lifetime_of_a_server(run, project, stopped_afterwards):
    assert (run("status").code, run("stop").code) == (3, 3)
    assert run("status", "--json").json["state"] == "stopped"
    assert "No projects yet" in run("list").out
    started = run("start", "--json")
    assert started.code == 0, started.err
    assert started.json["token"]
    again = run("start")
    assert str(started.json["pid"]) in again.out
    assert "already running" in again.err
    status = run("status", "--json").json
    assert (status["pid"], status["index"]["total_documents"]) == (started.json["pid"], 0)
    assert "token" not in status
    assert "never; index it with" in run("status").out
    assert run("status", "--mode", "shared").code == 7
    assert run("status", "--mode", "project").code == 0
    (listed,) = run("list", "--json").json["projects"]
    assert (listed["state"], listed["project_root"]) == ("running", str(project))
    assert "running" in run("list").out
    stopped = run("stop", "--json").json
    assert (stopped["stopped"], stopped["forced"], stopped["pid"]) == (True, False, started.json["pid"])
    assert run("list", "--json").json["projects"][0]["state"] == "stopped"


@pytest.mark.process
def test_commands_through_the_lifetime_of_the_daemon(run, project, stopped_afterwards):
    brain_home().mkdir(parents=True)
    (brain_home() / "shared_config.json").write_text('{"port": 0}')
    assert run("init", "--mode", "shared").code == 0
    for arguments in (["start"], ["status"], ["query", "x"], ["stop"], ["status", "--mode", "shared"]):
        missing = run(*arguments)
        assert missing.code == 7, arguments
        assert "agent-brain start --mode shared" in missing.err
    started = run("start", "--mode", "shared")
    assert started.code == 0, started.err
    assert "(shared)" in started.out
    assert "1 active project" in started.out
    assert run("start", "--json").json["project_root"] == str(project)
    assert "(shared), 1 active project" in run("status").out
    daemon = run("status", "--mode", "shared", "--json").json
    assert [each["project_root"] for each in daemon["projects"]] == [str(project)]
    assert str(project) in run("status", "--mode", "shared").out
    listed = run("list", "--json").json
    assert (listed["daemon"]["state"], listed["projects"][0]["mode"]) == ("running", "shared")
    assert "shared daemon" in run("list").out
    refused = run("stop")
    assert refused.code == 4
    assert "agent-brain stop --mode shared" in refused.err
    assert "Stopped the shared daemon" in run("stop", "--mode", "shared").out
    assert run("stop", "--mode", "shared").code == 7


def test_list_forgets_a_moved_project(run, project, tmp_path, monkeypatch):
    run("init")
    assert [entry.project_root for entry in registry.entries()] == [project]
    monkeypatch.chdir(tmp_path)
    project.rename(tmp_path / "moved")
    assert run("list", "--json").json["projects"] == []
    assert registry.entries() == []


def test_render_stop_reports_a_killed_server():
    assert render_stop({"forced": True, "pid": 7, "mode": "shared"}) == "Killed the shared daemon (pid 7)."
    assert render_stop({"forced": False, "pid": 7}) == "Stopped the server (pid 7)."
