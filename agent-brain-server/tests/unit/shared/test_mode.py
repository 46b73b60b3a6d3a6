"""The mode of a project: settings, then the registration, then a pointer while a daemon runs."""

import json
import os

import pytest

from agent_brain_server.config.settings import write_project_config
from agent_brain_server.errors import ConfigError
from agent_brain_server.lifecycle.registry import check_registration, list_registrations
from agent_brain_server.locking import StateLock
from agent_brain_server.project_root import generate_project_id
from agent_brain_server.runtime import SharedPointer, write_pointer
from agent_brain_server.shared.mode import ProjectMode, resolve_mode
from agent_brain_server.storage_paths import (
    brain_home,
    config_path,
    default_state_dir,
    prepare_state_dir,
    runtime_path,
    shared_project_file,
)

URL = "http://127.0.0.1:45123"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith(("AGENT_BRAIN_", "DOC_SERVE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(tmp_path / "Heim"))
    prepare_state_dir(brain_home())
    return brain_home()


@pytest.fixture
def project(tmp_path):
    root = (tmp_path / "Projekt ä").resolve()
    prepare_state_dir(default_state_dir(root))
    return root


def register(root, **changes):
    path = shared_project_file(generate_project_id(root))
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"schema_version": 1, "project_root": str(root)} | changes))
    return path


def point(root, **changes):
    values = {"project_root": str(root), "project_id": generate_project_id(root), "base_url": URL}
    write_pointer(default_state_dir(root), SharedPointer(**(values | changes)))


def is_shared(root):
    return resolve_mode(root, default_state_dir(root)).is_shared


def test_resolve_mode_default_is_project(project):
    assert resolve_mode(project, default_state_dir(project)) == ProjectMode(is_shared=False)


def test_resolve_mode_settings_override_registration(project, home):
    register(project)
    point(project)
    write_project_config(default_state_dir(project), mode="project")
    assert not is_shared(project)
    write_project_config(default_state_dir(project), mode="shared", force=True)
    shared_project_file(generate_project_id(project)).unlink()
    runtime_path(default_state_dir(project)).unlink()
    assert is_shared(project)
    config_path(default_state_dir(project)).unlink()
    (home / "config.json").write_text('{"mode": "shared"}')
    assert is_shared(project)


def test_resolve_mode_environment_overrides_file(project, monkeypatch):
    write_project_config(default_state_dir(project), mode="shared")
    monkeypatch.setenv("AGENT_BRAIN_MODE", "project")
    assert not is_shared(project)


def test_resolve_mode_invalid_settings_mean_project(project, caplog):
    register(project)
    config_path(default_state_dir(project)).write_text('{"mode": "shard"}')
    with caplog.at_level("INFO"):
        assert not is_shared(project)
    assert "shard" in caplog.text


def test_resolve_mode_registration_counts_without_daemon(project):
    path = register(project)
    assert is_shared(project)
    with StateLock(brain_home()):
        assert is_shared(project)
    path.unlink()
    assert not is_shared(project)


def test_resolve_mode_other_settings_keep_registration(project):
    register(project)
    config_path(default_state_dir(project)).write_text(json.dumps({"chunk_size": 256, "shared_server_url": None}))
    found = resolve_mode(project, default_state_dir(project))
    assert found == ProjectMode(True, None, str(config_path(default_state_dir(project))), "valid")


def test_resolve_mode_pointer_counts_with_daemon_only(project):
    point(project)
    assert not is_shared(project)
    with StateLock(brain_home()):
        assert is_shared(project)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"mode": "shared"}', '{"schema_version": 7, "mode": "shared"}'])
def test_resolve_mode_invalid_pointer_is_ignored(project, text):
    runtime_path(default_state_dir(project)).write_text(text)
    with StateLock(brain_home()):
        assert not is_shared(project)


def test_resolve_mode_pointer_of_a_copy_is_ignored(project, tmp_path):
    point(project, project_root=str(tmp_path / "original"))
    with StateLock(brain_home()):
        assert not is_shared(project)


def test_check_registration_of_another_project(project):
    register(project, project_root="/elsewhere")
    assert check_registration(project) == "missing"
    assert list_registrations() == []


@pytest.mark.parametrize("root", [3, None, "with\0zero"])
def test_check_registration_damaged(project, root):
    register(project, project_root=root)
    assert check_registration(project) == "damaged"
    assert list_registrations() == []


def test_list_registrations_skips_invalid_files(project, tmp_path, home):
    other = tmp_path / "other"
    register(project)
    register(other).write_text("{")
    (home / "projects" / "notes").mkdir()
    (home / "projects" / "p_00000000").write_text("a file")
    assert [found.root for found in list_registrations()] == [project]
    assert check_registration(project) == "valid"
    assert check_registration(other) == "damaged"


def test_list_registrations_without_directory_is_empty():
    assert list_registrations() == []


@pytest.mark.parametrize(
    ("named", "answering"),
    [
        (None, "http://10.0.0.7:1"),
        (URL, URL),
        (f"{URL}/", URL),
        ("http://localhost:45123", URL),
        ("http://LOCALHOST:45123", "http://[::1]:45123"),
        ("http://[::1]:45123", URL),
        ("http://Build-Host:45123", "http://build-host:45123"),
        ("http://127.0.0.1", "http://127.0.0.1:80"),
    ],
)
def test_require_address_accepts_equivalent_addresses(named, answering):
    ProjectMode(True, named, "config.json").require_address(answering)


@pytest.mark.parametrize(
    "named",
    ["http://127.0.0.1:45124", "http://10.0.0.7:45123", "http://127.0.0.1", "http://localhost:99999", "http://x:45123"],
)
def test_require_address_other_address_is_refused(named):
    with pytest.raises(ConfigError, match="config.json: shared_server_url is") as caught:
        ProjectMode(True, named, "config.json").require_address(URL)
    assert named in caught.value.message
    assert URL in caught.value.message
    assert "shared_config.json" in caught.value.hint


@pytest.mark.parametrize(
    "value",
    ["https://127.0.0.1:1", "http://", "http://u@h:1", "http://h:1/path", "http://h:1?x", "h:1", "http://h:123456", 7],
)
def test_resolve_mode_invalid_server_url_means_project(project, value):
    config_path(default_state_dir(project)).write_text(json.dumps({"mode": "shared", "shared_server_url": value}))
    assert not is_shared(project)
