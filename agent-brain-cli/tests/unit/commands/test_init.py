"""Settings are written once, and afterwards only their mode is changed."""

import json

import pytest

from agent_brain_cli.commands.init import render_init
from agent_brain_server.storage_paths import config_path, resolve_state_dir, shared_config_path


def test_the_defaults_are_written_once(run, project):
    first = run("init", "--json")
    assert (first.code, first.json["created"], first.json["mode"]) == (0, True, "project")
    assert "Next: agent-brain index" in first.err
    path = config_path(resolve_state_dir(project))
    path.write_text(json.dumps({"chunk_size": 300}))
    again = run("init")
    assert again.code == 0
    assert "there already" in again.out
    assert again.err == ""
    assert json.loads(path.read_text()) == {"chunk_size": 300}
    assert run("init", "--force").code == 0
    assert "chunk_size" not in json.loads(path.read_text())


def test_the_mode_is_changed_alone_and_the_daemon_s_file_is_made(run, project):
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
    assert run("init", "--mode", "project", "--json").json["changed"] is False


def test_a_state_directory_that_cannot_be_made_is_exit_code_5(run, tmp_path):
    (tmp_path / "file").touch()
    failed = run("init", "--state-dir", str(tmp_path / "file" / "state"))
    assert (failed.code, failed.out) == (5, "")
    assert str(tmp_path / "file") in failed.err


@pytest.mark.parametrize("mode", ["project", "shared"])
def test_a_state_directory_named_for_all_projects_is_refused_to_the_second(run, project, tmp_path, monkeypatch, mode):
    monkeypatch.setenv("DOC_SERVE_STATE_DIR", str(tmp_path / "for all"))
    assert run("init", "--mode", mode).code == 0
    assert run("init", "--mode", mode).code == 0  # the first may come again
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
def test_what_was_made_is_said(document, words):
    assert words in render_init({"config_file": "/x", "created": False, "changed": False, **document})
