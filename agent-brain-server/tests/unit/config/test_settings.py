"""Precedence of settings, and errors for invalid ones."""

import json
import stat

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent_brain_server.config.settings import (
    ProjectConfig,
    load_project_config,
    load_settings,
    write_project_config,
)
from agent_brain_server.errors import ConfigError
from agent_brain_server.storage_paths import config_path, global_config_path


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    directory = tmp_path / "home"
    directory.mkdir()
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(directory))
    for key in ProjectConfig.model_fields:
        monkeypatch.delenv(f"AGENT_BRAIN_{key.upper()}", raising=False)
    return directory


@pytest.fixture
def state_dir(tmp_path):
    directory = tmp_path / "Zustand ü"
    directory.mkdir()
    return directory


def write_config(path, **values):
    path.write_text(json.dumps(values))


def test_project_config_documented_defaults(state_dir):
    config = load_project_config(state_dir)
    assert config.model_dump() == {
        "mode": "project",
        "bind_host": "127.0.0.1",
        "port": 0,
        "data_dir": "data",
        "log_dir": "logs",
        "shared_server_url": None,
        "embedding_model": "all-MiniLM-L6-v2",
        "chunk_size": 512,
        "chunk_overlap": 50,
        "max_file_bytes": 1_000_000,
        "index_secrets": False,
        "index_generated": False,
        "idle_stop_seconds": 10_800,
        "watch": True,
        "log_level": "info",
        "vector_engine": None,
        "chroma_url": None,
        "chroma_token": None,
        "token": None,
    }


def test_load_settings_precedence(state_dir, monkeypatch):
    def ask():
        loaded = load_settings(state_dir, {"port": flag})
        return loaded.config.port, loaded.origins["port"]

    flag = None
    assert ask() == (0, "default")
    write_config(global_config_path(), port=1001)
    assert ask() == (1001, str(global_config_path()))
    write_config(config_path(state_dir), port=1002)
    assert ask() == (1002, str(config_path(state_dir)))
    monkeypatch.setenv("AGENT_BRAIN_PORT", "1003")
    assert ask() == (1003, "AGENT_BRAIN_PORT")
    flag = "1004"
    assert ask() == (1004, "flag")


def test_load_settings_empty_variable_counts_as_unset(state_dir, monkeypatch):
    monkeypatch.setenv("AGENT_BRAIN_PORT", "")
    assert load_settings(state_dir).origins["port"] == "default"


def test_write_project_config_writes_no_defaults(state_dir):
    assert write_project_config(state_dir)
    path = config_path(state_dir)
    assert json.loads(path.read_text()) == {}
    assert load_project_config(state_dir) == ProjectConfig()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    write_config(path, port=77)
    assert not write_project_config(state_dir)
    assert load_project_config(state_dir).port == 77
    assert write_project_config(state_dir, force=True)
    assert load_project_config(state_dir).port == 0
    write_config(path, port=77, mode="shared")
    assert write_project_config(state_dir, force=True)
    assert json.loads(path.read_text()) == {"mode": "shared"}
    assert write_project_config(state_dir, mode="project", force=True)
    assert json.loads(path.read_text()) == {"mode": "project"}


@pytest.mark.parametrize("content", ["{", "[]", '{"mode": 7}'])
def test_write_project_config_force_repairs_a_damaged_file(state_dir, content):
    config_path(state_dir).write_text(content)
    assert write_project_config(state_dir, force=True)
    assert json.loads(config_path(state_dir).read_text()) == {}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"prot": 1}, ["config.json", '"prot"', 'Did you mean "port"']),
        ({"port": "8080"}, ["config.json", "port '8080'", "from 0", "65535"]),
        ({"port": True}, ["port True"]),
        ({"port": 70_000}, ["port 70000"]),
        ({"port": 1.5}, ["port 1.5"]),
        ({"mode": "both"}, ["mode 'both'", '"project" or "shared"']),
        ({"log_level": "loud"}, ["log_level", "debug, info, warning, error"]),
        ({"chunk_size": 100, "chunk_overlap": 100}, ["config.json", "chunk_overlap (100)", "chunk_size (100)"]),
        ({"data_dir": ""}, ["data_dir"]),
    ],
)
def test_load_settings_invalid_value_names_file_and_key(state_dir, values, words):
    write_config(config_path(state_dir), **values)
    with pytest.raises(ConfigError) as caught:
        load_project_config(state_dir)
    for word in words:
        assert word in str(caught.value)
    assert caught.value.exit_code == 2


def test_load_settings_invalid_variable_is_named(state_dir, monkeypatch):
    monkeypatch.setenv("AGENT_BRAIN_CHUNK_SIZE", "many")
    with pytest.raises(ConfigError, match="AGENT_BRAIN_CHUNK_SIZE: chunk_size 'many'"):
        load_project_config(state_dir)


def test_load_settings_public_address_needs_token(state_dir):
    write_config(global_config_path(), bind_host="0.0.0.0")
    with pytest.raises(ConfigError, match="config.json: bind_host '0.0.0.0' .* AGENT_BRAIN_TOKEN"):
        load_project_config(state_dir)


def test_load_settings_unknown_flag_is_named(state_dir):
    with pytest.raises(ConfigError, match='flag: "colour" is not a setting'):
        load_project_config(state_dir, {"colour": "blue"})


@pytest.mark.parametrize("content", ["", "{", "[1]", "nothing"])
def test_load_settings_bad_json_names_the_file(state_dir, content):
    config_path(state_dir).write_text(content)
    with pytest.raises(ConfigError, match="config.json"):
        load_project_config(state_dir)


def test_load_settings_public_address_with_token(state_dir, monkeypatch):
    monkeypatch.setenv("AGENT_BRAIN_TOKEN", "a secret of some length")
    config = load_project_config(state_dir, {"bind_host": "0.0.0.0"})
    assert config.token == "a secret of some length"
    assert "a secret" not in repr(config)


def test_load_settings_short_token_is_refused(state_dir, monkeypatch):
    monkeypatch.setenv("AGENT_BRAIN_TOKEN", "hunter2")
    with pytest.raises(ConfigError) as caught:
        load_project_config(state_dir)
    assert "AGENT_BRAIN_TOKEN" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_load_settings_token_in_project_file_is_refused(state_dir):
    write_config(config_path(state_dir), token="a secret of some length")
    with pytest.raises(ConfigError, match="version control") as caught:
        load_project_config(state_dir)
    assert "secret of" not in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_load_settings_loopback_needs_no_token(state_dir, host):
    assert load_project_config(state_dir, {"bind_host": host}).bind_host == host


def test_project_config_every_setting_has_description():
    assert all(field.description for field in ProjectConfig.model_fields.values())


@pytest.mark.slow
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    content=st.binary(max_size=200)
    | st.dictionaries(
        st.sampled_from(list(ProjectConfig.model_fields)) | st.text(max_size=5),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.lists(st.none()),
    ).map(lambda values: json.dumps(values).encode())
)
def test_load_settings_survives_any_content(state_dir, content):
    config_path(state_dir).write_bytes(content)
    try:
        load_project_config(state_dir)
    except ConfigError as error:
        assert str(config_path(state_dir)) in str(error)


def test_load_settings_chroma_token_in_project_file(state_dir, monkeypatch):
    write_config(config_path(state_dir), chroma_token="open sesame")
    with pytest.raises(ConfigError, match="version control") as caught:
        load_project_config(state_dir)
    assert "sesame" not in str(caught.value)
    write_config(config_path(state_dir))
    monkeypatch.setenv("AGENT_BRAIN_CHROMA_TOKEN", "open sesame")
    assert "sesame" not in repr(load_project_config(state_dir))


@pytest.mark.parametrize(
    ("url", "token", "words"),
    [
        ("localhost:8000", None, "http://"),
        ("ftp://localhost", None, "http://"),
        ("http://", None, "host"),
        ("http://localhost:99999", None, "URL"),
        ("https://me:sesame@chroma.example.com", None, "password"),
        ("http://localhost:8000?token=sesame", None, "a query or a fragment"),
        ("http://localhost:8000/team", None, "/TENANT/DATABASE"),
        ("http://chroma.example.com", "sesame", "https://"),
    ],
)
def test_load_settings_invalid_chroma_url_hides_secrets(state_dir, monkeypatch, url, token, words):
    monkeypatch.setenv("AGENT_BRAIN_CHROMA_URL", url)
    if token:
        monkeypatch.setenv("AGENT_BRAIN_CHROMA_TOKEN", token)
    with pytest.raises(ConfigError) as caught:
        load_project_config(state_dir)
    assert "AGENT_BRAIN_CHROMA_URL" in str(caught.value)
    assert words in str(caught.value)
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://localhost:8000", "http://[::1]:8000/", "http://127.0.0.1/team/brain"])
def test_load_settings_chroma_token_over_http_to_loopback(state_dir, monkeypatch, url):
    monkeypatch.setenv("AGENT_BRAIN_CHROMA_TOKEN", "sesame")
    assert load_project_config(state_dir, {"chroma_url": url}).chroma_url == url
