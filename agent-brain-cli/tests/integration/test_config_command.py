"""`agent-brain config`: every setting with its value, and where that came from."""

import json
from dataclasses import replace
from pathlib import Path

from agent_brain_server.config.settings import ProjectConfig
from agent_brain_server.runtime import SharedConfig
from agent_brain_server.storage_paths import resolve_state_dir

SECRET = "a secret of some length"


def write(path: Path, document) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def test_each_value_names_where_it_came_from(agent_brain, project, environment):
    project_file = write(resolve_state_dir(project) / "config.json", {"chunk_size": 256, "watch": False})
    user_file = write(Path(environment["AGENT_BRAIN_HOME"]) / "config.json", {"chunk_size": 128, "log_level": "debug"})
    named = {"AGENT_BRAIN_MAX_FILE_BYTES": "5000", "AGENT_BRAIN_TOKEN": SECRET}
    command = replace(agent_brain, environment=environment | named)
    outcome = command("config", "--json")
    assert outcome.code == 0, outcome.err
    settings = outcome.json["settings"]
    assert settings.keys() == ProjectConfig.model_fields.keys()
    assert settings["chunk_size"] == {"value": 256, "origin": str(project_file)}
    assert settings["watch"] == {"value": False, "origin": str(project_file)}
    assert settings["log_level"] == {"value": "debug", "origin": str(user_file)}
    assert settings["max_file_bytes"] == {"value": 5000, "origin": "AGENT_BRAIN_MAX_FILE_BYTES"}
    assert settings["token"] == {"value": "(hidden)", "origin": "AGENT_BRAIN_TOKEN"}
    assert settings["port"] == {"value": 0, "origin": "default"}
    shown = command("config")
    assert SECRET not in shown.out + outcome.out
    assert any(line.split() == ["watch", "false", *str(project_file).split()] for line in shown.out.splitlines())


def test_the_daemon_has_settings_of_its_own(agent_brain, environment):
    shared_file = write(Path(environment["AGENT_BRAIN_HOME"]) / "shared_config.json", {"max_open_projects": 3})
    settings = agent_brain("config", "--mode", "shared", "--json").json["settings"]
    assert settings.keys() == ProjectConfig.model_fields.keys() | SharedConfig.model_fields.keys()
    assert settings["max_open_projects"] == {"value": 3, "origin": str(shared_file)}
    assert settings["port"] == {"value": 45123, "origin": "default"}
    assert settings["mode"]["value"] == "shared"


def test_a_project_that_is_meant_for_the_daemon_is_told_where_to_look(agent_brain):
    agent_brain("init", "--mode", "shared")
    outcome = agent_brain("config")
    assert outcome.code == 0
    assert "--mode shared" in outcome.err


def test_a_server_that_was_started_with_other_settings_is_told_of(agent_brain, project):
    assert agent_brain("start").code == 0
    assert agent_brain("config").err == ""
    write(resolve_state_dir(project) / "config.json", {"port": 1})
    outcome = agent_brain("config")
    assert "started with other settings" in outcome.err
    assert outcome.code == 0


def test_a_value_that_is_not_allowed_is_named_with_its_file(agent_brain, project):
    path = write(resolve_state_dir(project) / "config.json", {"chunk_size": "large"})
    outcome = agent_brain("config")
    assert outcome.code == 2
    assert str(path) in outcome.complaint[0]
