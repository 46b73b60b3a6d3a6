"""`agent-brain init` writes no defaults, and changes the mode only if that is given."""

import json
import os
from dataclasses import replace

import pytest

from agent_brain_cli.commands.init import render_init
from agent_brain_server.config.settings import DaemonSettings, load_settings
from agent_brain_server.lifecycle.registry import make_registration, save_registration
from agent_brain_server.storage_paths import (
    config_path,
    global_config_path,
    prepare_brain_home,
    resolve_state_dir,
    shared_config_path,
)


@pytest.fixture
def run(command, monkeypatch):
    """Return a function that runs a command in a new project, with the environment of this process."""
    monkeypatch.setenv("AGENT_BRAIN_HOME", command.environment["AGENT_BRAIN_HOME"])
    return lambda *arguments: replace(command, environment=dict(os.environ))(*arguments)


def test_init_creates_an_empty_file_once(run, project):
    first = run("init", "--json")
    assert (first.code, first.json["created"], first.json["mode"]) == (0, True, "project")
    assert "Next: agent-brain index" in first.err
    path = config_path(resolve_state_dir(project))
    assert json.loads(path.read_text()) == {}
    path.write_text(json.dumps({"chunk_size": 300}))
    again = run("init")
    assert again.code == 0
    assert "already exists" in again.out
    assert again.err == ""
    assert json.loads(path.read_text()) == {"chunk_size": 300}
    assert run("init", "--force").code == 0
    assert "chunk_size" not in json.loads(path.read_text())


def test_init_with_mode_changes_only_the_mode(run, project):
    path = config_path(resolve_state_dir(project))
    run("init")
    path.write_text(json.dumps({"chunk_size": 300}))
    shared = run("init", "--mode", "shared", "--json")
    assert (shared.json["changed"], shared.json["shared_config_created"]) == (True, True)
    assert json.loads(path.read_text()) == {"chunk_size": 300, "mode": "shared"}
    assert shared_config_path().exists()
    assert "Next: agent-brain start --mode shared" in shared.err
    assert run("init", "--json").json["mode"] == "shared"
    back = run("init", "--mode", "project")
    assert "Changed the mode to project" in back.out
    assert "now has its own server" in back.out
    assert run("init", "--mode", "project", "--json").json["changed"] is False


@pytest.mark.parametrize("extra", [[], ["--force"]])
def test_init_without_mode_keeps_the_mode(run, project, extra):
    run("init", "--mode", "shared")
    kept = run("init", *extra, "--json").json
    assert (kept["mode"], kept["previous_mode"]) == ("shared", "shared")
    assert json.loads(config_path(resolve_state_dir(project)).read_text()) == {"mode": "shared"}


def test_init_keeps_a_registered_project_shared(run, project):
    save_registration(make_registration(project))
    kept = run("init", "--json").json
    assert (kept["created"], kept["mode"]) == (True, "shared")
    assert run("init", "--json").json["mode"] == "shared"
    moved = run("init", "--mode", "project")
    assert "now has its own server" in moved.out
    assert run("init", "--json").json["mode"] == "project"


def test_init_keeps_the_global_settings_in_effect(run, project):
    prepare_brain_home()
    global_config_path().write_text(json.dumps({"mode": "shared", "chunk_size": 300, "data_dir": "index"}))
    assert run("init", "--json").json["mode"] == "shared"
    settings = load_settings(resolve_state_dir(project)).config
    assert (settings.mode, settings.chunk_size, settings.data_dir) == ("shared", 300, "index")
    run("init", "--mode", "shared")
    assert DaemonSettings.load().server.chunk_size == 300


def test_init_without_writable_state_dir_exits_with_5(run, tmp_path):
    (tmp_path / "file").touch()
    failed = run("init", "--state-dir", str(tmp_path / "file" / "state"))
    assert (failed.code, failed.out) == (5, "")
    assert str(tmp_path / "file") in failed.err


@pytest.mark.parametrize("mode", ["project", "shared"])
def test_init_refuses_state_dir_of_another_project(run, project, tmp_path, monkeypatch, mode):
    monkeypatch.setenv("DOC_SERVE_STATE_DIR", str(tmp_path / "for all"))
    assert run("init", "--mode", mode).code == 0
    assert run("init", "--mode", mode).code == 0  # the same project may run it again
    second = tmp_path / "second"
    second.mkdir()
    refused = run("init", "--mode", mode, "--project-root", str(second))
    assert (refused.code, refused.out) == (5, "")
    assert (
        refused.err.splitlines()[0]
        == f"Error: The state directory {tmp_path / 'for all'} belongs to the project {project}."
    )
    assert "unset DOC_SERVE_STATE_DIR" in refused.err
    own = run("init", "--mode", mode, "--project-root", str(second), "--state-dir", str(tmp_path / "for second"))
    assert own.code == 0, own.err


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"created": True}, "Created /x"),
        ({"changed": True, "mode": "shared"}, "Changed the mode to shared"),
        ({"created": True, "shared_config_created": True, "shared_config_file": "/y"}, "Created /y"),
    ],
)
def test_render_init_reports_what_was_created(document, words):
    assert words in render_init(
        {
            "config_file": "/x",
            "created": False,
            "changed": False,
            "mode": "project",
            "previous_mode": "project",
            **document,
        }
    )
