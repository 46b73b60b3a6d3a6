"""`agent-brain config` shows every setting with its value and origin."""

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


def test_config_shows_the_origin_of_each_value(agent_brain, project, environment):
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


def test_config_shared_shows_settings_of_the_daemon(agent_brain, environment):
    shared_file = write(Path(environment["AGENT_BRAIN_HOME"]) / "shared_config.json", {"max_open_projects": 3})
    settings = agent_brain("config", "--mode", "shared", "--json").json["settings"]
    assert settings.keys() == ProjectConfig.model_fields.keys() | SharedConfig.model_fields.keys()
    assert settings["max_open_projects"] == {"value": 3, "origin": str(shared_file)}
    assert settings["port"] == {"value": 45123, "origin": "default"}
    assert settings["mode"]["value"] == "shared"


def test_config_with_invalid_value_names_its_file(agent_brain, project):
    path = write(resolve_state_dir(project) / "config.json", {"chunk_size": "large"})
    outcome = agent_brain("config")
    assert outcome.code == 2
    assert str(path) in outcome.error_lines[0]
