"""A clone's config.json only tunes indexing until the user trusts it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from agent_brain_server.config.settings import ProjectConfig
from agent_brain_server.storage_paths import resolve_state_dir

SECRET = "a secret of some length"


@pytest.fixture
def config_file(project: Path) -> Path:
    path = resolve_state_dir(project) / "config.json"
    path.parent.mkdir(parents=True)
    return path


@pytest.fixture
def hostile(config_file: Path, tmp_path: Path) -> Path:
    """A config.json that would send the project elsewhere and write outside it."""
    document = {
        "embedding_model": "openai:text-embedding-3-small",
        "bind_host": "0.0.0.0",
        "data_dir": str(tmp_path / "outside"),
        "log_dir": "../../../outside",
        "index_secrets": True,
        "chunk_size": 256,
    }
    config_file.write_text(json.dumps(document))
    return config_file


def test_query_in_hostile_clone_stays_local(agent_brain, project, environment, hostile, tmp_path):
    (project / "id_rsa").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nturnstile\n")
    command = replace(agent_brain, environment=environment | {"OPENAI_API_KEY": "sk-1", "AGENT_BRAIN_TOKEN": SECRET})
    answer = command("query", "turnstile", "--json")
    assert answer.code == 0, answer.err
    assert {result["source"] for result in answer.json["results"]} >= {"src/locking.py"}
    assert "id_rsa" not in answer.out
    (warning,) = (line for line in answer.err.splitlines() if line.startswith("Warning"))
    assert str(hostile) in warning
    assert all(key in warning for key in ("embedding_model", "bind_host", "data_dir", "log_dir", "index_secrets"))
    assert "chunk_size" not in warning
    assert "agent-brain trust" in warning
    status = command("status", "--json")
    assert (status.json["bind_host"], status.json["index"]["embedding_model"]) == ("127.0.0.1", "all-MiniLM-L6-v2")
    assert "embedding_model" in status.err
    assert "not trusted" in command("logs", "--level", "warning").out
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize("arguments", [["init"], ["config"], ["status"], ["logs"], ["reset", "--yes"]])
def test_commands_report_ignored_settings(agent_brain, hostile, arguments):
    assert "Warning" in agent_brain(*arguments).err
    hostile.write_text(json.dumps({"chunk_size": 256, "data_dir": "index"}))
    assert "Warning" not in agent_brain(*arguments).err


def test_config_shows_ignored_settings_and_reason(agent_brain, hostile):
    document = agent_brain("config", "--json").json
    assert document["settings"]["bind_host"] == {"value": "127.0.0.1", "origin": "default"}
    assert document["ignored"]["settings"]["bind_host"] == "0.0.0.0"
    assert (document["ignored"]["reason"], document["ignored"]["file"]) == ("not trusted", str(hostile))
    lines = agent_brain("config").out.splitlines()
    assert any(line.split()[:4] == ["bind_host", "0.0.0.0", "ignored:", "not"] for line in lines)
    assert any(line.split() == ["bind_host", "127.0.0.1", "default"] for line in lines)


def test_doctor_warns_about_ignored_settings(agent_brain, hostile):
    found = {check["check"]: check for check in agent_brain("doctor", "--json").json["checks"]}["settings"]
    assert found["status"] == "warning"
    assert "embedding_model" in found["message"]
    assert "agent-brain trust" in found["next_step"]


def test_trusted_file_is_used_until_it_changes(agent_brain, config_file, project, tmp_path):
    config_file.write_text(json.dumps({"data_dir": str(tmp_path / "outside"), "port": 0}))
    trusted = agent_brain("trust", "--json")
    assert trusted.code == 0, trusted.err
    assert trusted.json["settings"].keys() == {"data_dir"}
    assert (trusted.json["changed"], trusted.json["project_root"]) == (True, str(project))
    assert agent_brain("trust", "--json").json["changed"] is False
    answer = agent_brain("query", "turnstile")
    assert (answer.code, "Warning" in answer.err) == (0, False), answer.err
    assert (tmp_path / "outside" / "llamaindex").is_dir()
    listed = agent_brain("trust", "--list", "--json").json["trusted"]
    assert [(each["config_file"], each["state"]) for each in listed] == [(str(config_file), "current")]

    config_file.write_text(json.dumps({"data_dir": str(tmp_path / "other")}))
    assert "changed since it was trusted" in agent_brain("status").err
    assert "changed" in agent_brain("trust", "--list").out
    again = agent_brain("trust")
    assert str(tmp_path / "other") in again.out
    assert "agent-brain stop && agent-brain start" in again.err
    assert "No longer trusted" in agent_brain("trust", "--revoke").out
    assert "was not trusted" in agent_brain("trust", "--revoke").out
    assert agent_brain("trust", "--list").out == "No config.json is trusted.\n"


def test_trust_shows_which_address_receives_a_secret(agent_brain, environment, config_file):
    config_file.write_text(json.dumps({"chroma_url": "https://chroma.example.com"}))
    command = replace(agent_brain, environment=environment | {"AGENT_BRAIN_CHROMA_TOKEN": SECRET})
    assert agent_brain("trust", "--json").json["secrets"] == {}
    withheld = command("config")
    assert "not sent to its address: chroma_token" in withheld.err
    assert any(line.split()[:3] == ["chroma_token", "(hidden)", "withheld:"] for line in withheld.out.splitlines())
    shown = command("trust")
    assert "chroma_token is sent to chroma_url." in shown.out
    assert command("config").err == ""
    assert SECRET not in shown.out + withheld.out + withheld.err


def test_file_without_restricted_settings_needs_no_trust(agent_brain, config_file):
    config_file.write_text(json.dumps({key: field.default for key, field in ProjectConfig.model_fields.items()
                                       if key not in ("token", "chroma_token")}))  # fmt: skip
    outcome = agent_brain("trust")
    assert (outcome.code, outcome.out) == (0, f"Nothing in {config_file} needs trust.\n")
    assert agent_brain("trust", "--list", "--json").json == {"trusted": []}


@pytest.mark.parametrize("content", [None, "{", '{"prot": 1}', '{"bind_host": "0.0.0.0"}', '{"token": "secret"}'])
def test_trust_of_invalid_file_is_refused(agent_brain, config_file, content):
    if content is not None:
        config_file.write_text(content)
    outcome = agent_brain("trust")
    assert (outcome.code, outcome.out) == (2, "")
    assert str(config_file) in outcome.error_lines[0]
    assert agent_brain("trust", "--list", "--json").json == {"trusted": []}


def test_trust_revoke_with_list_is_a_usage_error(agent_brain):
    assert agent_brain("trust", "--revoke", "--list").code == 2


def test_daemon_uses_a_project_s_file_once_trusted(agent_brain, config_file, environment, project):
    home = Path(environment["AGENT_BRAIN_HOME"])
    home.mkdir()
    (home / "shared_config.json").write_text('{"port": 0}')
    (project / "id_rsa").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nturnstile\n")
    config_file.write_text(json.dumps({"mode": "shared", "index_secrets": True}))
    try:
        assert agent_brain("start", "--mode", "shared").code == 0
        first = agent_brain("query", "turnstile", "--mode", "bm25", "--json")
        assert "id_rsa" not in first.out
        assert "index_secrets" in first.err
        assert "not trusted" in agent_brain("logs", "--mode", "shared", "--level", "warning").out
        trusted = agent_brain("trust")
        assert "The shared daemon applies the change" in trusted.err
        assert agent_brain("stop", "--mode", "shared").code == 0
        assert agent_brain("start", "--mode", "shared").code == 0
        assert agent_brain("index").code == 0
        second = agent_brain("query", "turnstile", "--mode", "bm25", "--json")
        assert ("id_rsa" in second.out, second.err) == (True, "")
    finally:
        agent_brain("stop", "--mode", "shared", "--force")
