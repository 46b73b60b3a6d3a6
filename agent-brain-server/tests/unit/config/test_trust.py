"""Settings in a project's file, with and without the user's trust."""

import json
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent_brain_server.config.settings import (
    DaemonSettings,
    ProjectConfig,
    change_project_mode,
    load_settings,
    read_own_file,
)
from agent_brain_server.config.trust import (
    RESTRICTED_KEYS,
    SECRET_ADDRESSES,
    SECRET_KEYS,
    TUNING_KEYS,
    check_trusted,
    find_received,
    list_trusted,
    may_need_trust,
    revoke_trust,
    trust_file,
)
from agent_brain_server.errors import ConfigError, StateDirError
from agent_brain_server.storage_paths import config_path, global_config_path, prepare_brain_home, trusted_path
from agent_brain_server.support.http_client import is_loopback

HOSTILE = {
    "bind_host": "0.0.0.0",
    "data_dir": "/tmp/elsewhere",
    "log_dir": "../../..",
    "shared_server_url": "http://evil.example:80",
    "embedding_model": "openai:text-embedding-3-small",
    "index_secrets": True,
    "idle_stop_seconds": 0,
    "log_level": "debug",
    "chroma_url": "http://127.0.0.1:9",
}
TUNING = {
    "mode": "shared",
    "port": 4711,
    "chunk_size": 256,
    "chunk_overlap": 20,
    "max_file_bytes": 5000,
    "watch": False,
}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(tmp_path / "home"))
    for key in ProjectConfig.model_fields:
        monkeypatch.delenv(f"AGENT_BRAIN_{key.upper()}", raising=False)
    return prepare_brain_home()


@pytest.fixture
def state_dir(tmp_path):
    directory = tmp_path / "Zustand ü"
    directory.mkdir()
    return directory


def write(state_dir: Path, **values: object) -> Path:
    path = config_path(state_dir)
    path.write_text(json.dumps(values))
    return path


def trust(state_dir: Path, *secrets: str) -> None:
    file = read_own_file(config_path(state_dir))
    assert file is not None
    trust_file(replace(file, secrets=secrets), state_dir.parent)


def test_settings_are_classified_each_exactly_once():
    classified = [*TUNING_KEYS, *RESTRICTED_KEYS, *SECRET_KEYS]
    assert sorted(classified) == sorted(ProjectConfig.model_fields)
    assert set(SECRET_ADDRESSES) <= set(SECRET_KEYS)
    assert set(SECRET_ADDRESSES.values()) <= set(RESTRICTED_KEYS)


def test_project_file_sets_what_tunes_indexing(state_dir):
    path = write(state_dir, **TUNING)
    loaded = load_settings(state_dir)
    assert loaded.config.model_dump(include=set(TUNING)) == TUNING
    assert {loaded.origins[key] for key in TUNING} == {str(path)}
    assert loaded.ignored is None
    assert not may_need_trust(path)


@pytest.mark.parametrize("key", HOSTILE)
def test_project_file_untrusted_setting_is_ignored(state_dir, key):
    path = write(state_dir, chunk_size=256, **{key: HOSTILE[key]})
    loaded = load_settings(state_dir)
    assert loaded.config == ProjectConfig(chunk_size=256)
    assert loaded.origins[key] == "default"
    assert loaded.ignored is not None
    assert dict(loaded.ignored.values) == {key: HOSTILE[key]}
    assert str(path) in loaded.ignored.describe()
    assert "agent-brain trust" in loaded.ignored.hint
    assert may_need_trust(path)


def test_project_file_untrusted_values_do_not_replace_the_users(state_dir):
    global_config_path().write_text(json.dumps({"embedding_model": "ollama:mine", "log_level": "error"}))
    write(state_dir, **HOSTILE)
    config = load_settings(state_dir).config
    assert (config.embedding_model, config.log_level) == ("ollama:mine", "error")


@pytest.mark.parametrize(
    "values",
    [
        {key: ProjectConfig.model_fields[key].default for key in RESTRICTED_KEYS},
        {"data_dir": "index/new", "log_dir": "./my logs"},
        {"bind_host": "::1"},
        {"bind_host": "localhost"},
    ],
)
def test_project_file_defaults_and_local_values_need_no_trust(state_dir, values):
    write(state_dir, **values)
    loaded = load_settings(state_dir)
    assert loaded.ignored is None
    assert loaded.config.model_dump(include=set(values)) == values


@pytest.mark.parametrize(("key", "value"), [("data_dir", "a/../../b"), ("data_dir", "/"), ("index_secrets", 1)])
def test_project_file_seemingly_harmless_values_are_ignored(state_dir, key, value):
    write(state_dir, **{key: value})
    try:
        assert getattr(load_settings(state_dir).config, key) == ProjectConfig.model_fields[key].default
    except ConfigError as error:
        assert key in str(error)


@pytest.mark.parametrize("values", [{"embedding_model": 5}, {"index_secrets": "yes"}, {"log_level": "loud"}])
def test_project_file_ignored_value_of_wrong_type_is_refused(state_dir, values):
    write(state_dir, **values)
    with pytest.raises(ConfigError, match=next(iter(values))):
        load_settings(state_dir)


ODD_TEXT = st.sampled_from(["..", "a/..", "/", "~", "./data", "localhost", "openai:x", "0.0.0.0", "http://127.0.0.1:9"])
ODD_VALUES = st.none() | st.booleans() | st.integers(0, 9000) | st.floats() | st.text(max_size=9) | ODD_TEXT


@pytest.mark.slow
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(values=st.dictionaries(st.sampled_from(list(ProjectConfig.model_fields)), ODD_VALUES, max_size=6))
def test_project_file_untrusted_sets_only_tuning_keys(state_dir, values):
    write(state_dir, **values)
    try:
        config = load_settings(state_dir).config
    except ConfigError:
        return
    default = ProjectConfig()
    changed = {key for key in ProjectConfig.model_fields if getattr(config, key) != getattr(default, key)}
    assert changed <= {*TUNING_KEYS, "bind_host", "data_dir", "log_dir"}
    assert is_loopback(config.bind_host)
    for directory in (config.data_dir, config.log_dir):
        assert (state_dir / directory).resolve().is_relative_to(state_dir.resolve())


def test_project_file_overridden_setting_is_not_reported(state_dir, monkeypatch):
    write(state_dir, embedding_model="openai:x", log_level="debug")
    monkeypatch.setenv("AGENT_BRAIN_EMBEDDING_MODEL", "ollama:mine")
    ignored = load_settings(state_dir, {"log_level": "error"}).ignored
    assert ignored is None


def test_trusted_file_sets_everything_until_it_changes(state_dir):
    values = {"embedding_model": "openai:x", "data_dir": "/tmp/elsewhere", "index_secrets": True}
    path = write(state_dir, **values)
    trust(state_dir)
    loaded = load_settings(state_dir)
    assert loaded.config.model_dump(include=set(values)) == values
    assert loaded.origins["data_dir"] == str(path)
    assert loaded.ignored is None

    path.write_text(path.read_text() + "\n")
    ignored = load_settings(state_dir).ignored
    assert ignored is not None
    assert ignored.reason == "changed since it was trusted"
    assert [check_trusted(entry) for entry in list_trusted()] == ["changed"]
    trust(state_dir)
    assert load_settings(state_dir).ignored is None
    assert len(list_trusted()) == 1


def test_trust_records_the_bytes_that_were_read(state_dir):
    path = write(state_dir, embedding_model="openai:x")
    file = read_own_file(path)
    write(state_dir, embedding_model="openai:x", bind_host="0.0.0.0")  # between showing and recording
    assert file is not None
    trust_file(file, state_dir.parent)
    assert load_settings(state_dir).config == ProjectConfig()


def test_trust_does_not_extend_to_a_copy(state_dir, tmp_path):
    write(state_dir, embedding_model="openai:x")
    trust(state_dir)
    copy = tmp_path / "copy"
    copy.mkdir()
    write(copy, embedding_model="openai:x")
    assert load_settings(copy).ignored is not None


def test_trusted_file_stays_trusted_when_init_changes_its_mode(state_dir):
    path = write(state_dir, embedding_model="openai:x")
    trust(state_dir)
    assert change_project_mode(state_dir, "shared")
    assert json.loads(path.read_text()) == {"embedding_model": "openai:x", "mode": "shared"}
    assert load_settings(state_dir).config.embedding_model == "openai:x"
    write(state_dir, embedding_model="openai:other")
    assert change_project_mode(state_dir, "shared")
    assert load_settings(state_dir).ignored is not None


def test_revoked_file_is_ignored_again(state_dir):
    path = write(state_dir, embedding_model="openai:x")
    assert not revoke_trust(path)
    trust(state_dir)
    assert revoke_trust(path)
    assert load_settings(state_dir).ignored is not None
    assert list_trusted() == []


def test_trusted_list_is_private_and_names_root_and_hash(state_dir):
    write(state_dir, embedding_model="openai:x")
    trust(state_dir)
    assert stat.S_IMODE(trusted_path().stat().st_mode) == 0o600
    (entry,) = json.loads(trusted_path().read_text())["trusted"]
    assert entry["project_root"] == str(state_dir.parent)
    assert len(entry["sha256"]) == 64
    config_path(state_dir).unlink()
    assert [check_trusted(each) for each in list_trusted()] == ["missing"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"trusted": [7, {}, {"config_file": "/x"}]}', '{"trusted": 3}'])
def test_damaged_list_trusts_nothing(state_dir, content):
    write(state_dir, embedding_model="openai:x")
    trust(state_dir)
    trusted_path().write_text(content)
    assert list_trusted() == []
    assert load_settings(state_dir).ignored is not None


def test_list_that_others_can_write_trusts_nothing(state_dir):
    write(state_dir, embedding_model="openai:x")
    trust(state_dir)
    trusted_path().chmod(0o620)
    assert load_settings(state_dir).ignored is not None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_list_of_another_user_trusts_nothing(state_dir):
    write(state_dir, embedding_model="openai:x")
    trust(state_dir)
    os.chown(trusted_path(), 12345, -1)
    assert load_settings(state_dir).ignored is not None


def test_list_that_cannot_be_written_is_an_error(state_dir, tmp_path, monkeypatch):
    write(state_dir, embedding_model="openai:x")
    (tmp_path / "file").touch()
    file = read_own_file(config_path(state_dir))
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(tmp_path / "file" / "home"))
    assert file is not None
    with pytest.raises(StateDirError):
        trust_file(file, state_dir.parent)


@pytest.mark.process
def test_simultaneous_trust_loses_no_entry(tmp_path):
    code = (
        "import sys; from pathlib import Path; from agent_brain_server.config.trust import ProjectFile, trust_file;"
        "trust_file(ProjectFile(Path(sys.argv[1]), 'a' * 64, {}, {}), Path('/'))"
    )
    paths = [str(tmp_path / f"{number}.json") for number in range(6)]
    running = [subprocess.Popen([sys.executable, "-c", code, path]) for path in paths]
    assert [process.wait() for process in running] == [0] * len(paths)
    assert [entry.config_file for entry in list_trusted()] == paths


def test_secret_goes_to_a_trusted_address_only_if_shown(state_dir, monkeypatch):
    write(state_dir, chroma_url="https://chroma.example.com")
    trust(state_dir)
    assert load_settings(state_dir).config.chroma_url == "https://chroma.example.com"
    monkeypatch.setenv("AGENT_BRAIN_CHROMA_TOKEN", "open sesame")  # set later, for another server
    loaded = load_settings(state_dir)
    assert loaded.config.chroma_token is None
    assert loaded.ignored is not None
    assert "chroma_token" in loaded.ignored.describe()
    assert "sesame" not in loaded.ignored.describe()
    trust(state_dir, "chroma_token")
    assert load_settings(state_dir).config.chroma_token == "open sesame"


def test_secret_goes_to_the_users_own_address(state_dir, monkeypatch):
    global_config_path().write_text(json.dumps({"chroma_url": "https://mine.example.com", "chroma_token": "sesame"}))
    write(state_dir, chroma_url="https://evil.example.com")
    config = load_settings(state_dir).config
    assert (config.chroma_url, config.chroma_token) == ("https://mine.example.com", "sesame")
    trust(state_dir)
    assert load_settings(state_dir).config.chroma_token is None
    monkeypatch.setenv("AGENT_BRAIN_CHROMA_URL", "https://other.example.com")
    config = load_settings(state_dir).config
    assert (config.chroma_url, config.chroma_token) == ("https://other.example.com", "sesame")


def test_received_secrets_are_those_of_addresses_in_the_file(state_dir):
    file = read_own_file(write(state_dir, chroma_url=None, log_level="debug"))
    assert file is not None
    assert find_received(file, {"token", "chroma_token"}) == ()
    file = read_own_file(write(state_dir, chroma_url="http://localhost:1"))
    assert file is not None
    assert find_received(file, {"token", "chroma_token"}) == ("chroma_token",)


def test_daemon_gates_the_files_of_its_projects(state_dir):
    write(state_dir, **{**HOSTILE, "chunk_size": 256})
    loaded = DaemonSettings.load().load_project(state_dir)
    assert (loaded.config.chunk_size, loaded.config.index_secrets) == (256, False)
    assert loaded.ignored is not None
    assert set(loaded.ignored.values) == {"index_secrets", "shared_server_url"}  # the daemon decides the others
    trust(state_dir)
    loaded = DaemonSettings.load().load_project(state_dir)
    assert loaded.config.index_secrets
    assert loaded.config.embedding_model == ProjectConfig().embedding_model
    assert loaded.ignored is None
