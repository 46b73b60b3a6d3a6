"""The daemon's settings: precedence, and which ones a project may set."""

import json
from pathlib import Path

import pytest

from agent_brain_server.config.settings import DaemonSettings
from agent_brain_server.errors import ConfigError
from agent_brain_server.storage_paths import config_path, global_config_path, prepare_brain_home, shared_config_path


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(tmp_path / "home"))
    return prepare_brain_home()


def test_daemon_settings_documented_defaults() -> None:
    settings = DaemonSettings.load()
    assert (settings.server.port, settings.server.bind_host, settings.server.mode) == (45123, "127.0.0.1", "shared")
    assert (settings.shared.max_concurrent_indexing, settings.shared.max_open_projects) == (2, 8)


def test_daemon_settings_precedence(monkeypatch: pytest.MonkeyPatch) -> None:
    global_config_path().write_text(json.dumps({"chunk_size": 100, "log_level": "debug", "chunk_overlap": 9}))
    shared_config_path().write_text(json.dumps({"chunk_size": 200, "port": 1111, "max_open_projects": 3}))
    assert DaemonSettings.load().server.chunk_size == 200
    assert DaemonSettings.load().server.log_level == "debug"
    monkeypatch.setenv("AGENT_BRAIN_PORT", "2222")
    monkeypatch.setenv("AGENT_BRAIN_MAX_OPEN_PROJECTS", "4")
    settings = DaemonSettings.load({"port": "3333", "project_idle_seconds": "60"})
    assert (settings.server.port, settings.shared.port) == (3333, 3333)
    assert (settings.shared.max_open_projects, settings.shared.project_idle_seconds) == (4, 60)


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"max_open_projects": 0}, "max_open_projects 0"),
        ({"max_open_project": 1}, "max_open_projects"),
        ({"port": "45123"}, "port"),
        ({"chunk_size": 64, "chunk_overlap": 64}, "chunk_overlap"),
        ({"token": "x" * 20}, "token"),
        ({"bind_host": "0.0.0.0"}, "token"),
    ],
)
def test_daemon_settings_invalid_value_names_the_file(document: dict[str, object], told: str) -> None:
    shared_config_path().write_text(json.dumps(document))
    with pytest.raises(ConfigError) as refused:
        DaemonSettings.load()
    assert told in refused.value.message
    assert "shared_config.json" in refused.value.message


def test_load_project_sets_chunks_but_not_the_daemon(tmp_path: Path) -> None:
    shared_config_path().write_text(json.dumps({"chunk_size": 200, "chunk_overlap": 20}))
    config_path(tmp_path).write_text(
        json.dumps({"chunk_size": 100, "port": 9, "embedding_model": "openai:x", "data_dir": "/elsewhere"})
    )
    project = DaemonSettings.load().load_project(tmp_path).config
    assert (project.chunk_size, project.chunk_overlap) == (100, 20)
    assert (project.port, project.embedding_model, project.data_dir) == (45123, "all-MiniLM-L6-v2", "data")
    config_path(tmp_path).write_text(json.dumps({"chunk_sise": 100}))
    with pytest.raises(ConfigError, match="chunk_size"):
        DaemonSettings.load().load_project(tmp_path)


def test_load_project_chroma_url_is_the_daemons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config_path(tmp_path).write_text(json.dumps({"chroma_url": "http://127.0.0.1:9"}))
    assert DaemonSettings.load().load_project(tmp_path).config.chroma_url is None
    monkeypatch.setenv("AGENT_BRAIN_CHROMA_URL", "https://chroma.example.com")
    assert DaemonSettings.load().load_project(tmp_path).config.chroma_url == "https://chroma.example.com"
