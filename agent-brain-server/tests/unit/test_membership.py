"""Whose project it is: settings first, then the registration; a pointer only while a daemon lives."""

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


def test_a_project_of_which_nothing_is_known_has_its_own_server(project):
    assert resolve_mode(project, default_state_dir(project)) == ProjectMode(is_shared=False)


def test_settings_decide_in_either_direction_whatever_else_says(project, home):
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


def test_the_environment_goes_before_the_file(project, monkeypatch):
    write_project_config(default_state_dir(project), mode="shared")
    monkeypatch.setenv("AGENT_BRAIN_MODE", "project")
    assert not is_shared(project)


def test_settings_that_cannot_be_understood_make_it_no_member(project, caplog):
    register(project)
    config_path(default_state_dir(project)).write_text('{"mode": "shard"}')
    with caplog.at_level("INFO"):
        assert not is_shared(project)
    assert "shard" in caplog.text


def test_a_registration_counts_whether_or_not_a_daemon_lives(project):
    path = register(project)
    assert is_shared(project)
    with StateLock(brain_home()):
        assert is_shared(project)
    path.unlink()
    assert not is_shared(project)


def test_other_settings_leave_the_registration_its_say(project):
    register(project)
    config_path(default_state_dir(project)).write_text(json.dumps({"chunk_size": 256, "shared_server_url": None}))
    found = resolve_mode(project, default_state_dir(project))
    assert found == ProjectMode(True, None, str(config_path(default_state_dir(project))), "valid")


def test_a_pointer_counts_only_while_a_daemon_lives(project):
    point(project)
    assert not is_shared(project)
    with StateLock(brain_home()):
        assert is_shared(project)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"mode": "shared"}', '{"schema_version": 7, "mode": "shared"}'])
def test_a_torn_foreign_or_future_pointer_decides_nothing(project, text):
    runtime_path(default_state_dir(project)).write_text(text)
    with StateLock(brain_home()):
        assert not is_shared(project)


def test_the_pointer_of_the_original_does_not_make_a_copy_a_member(project, tmp_path):
    point(project, project_root=str(tmp_path / "original"))
    with StateLock(brain_home()):
        assert not is_shared(project)


def test_a_registration_of_another_project_is_not_believed(project):
    register(project, project_root="/elsewhere")
    assert check_registration(project) == "missing"
    assert list_registrations() == []


@pytest.mark.parametrize("root", [3, None, "with\0zero"])
def test_damaged_registration_counts_and_is_not_valid(project, root):
    register(project, project_root=root)
    assert check_registration(project) == "damaged"
    assert list_registrations() == []


def test_registrations_are_listed_without_what_is_torn_or_strange(project, tmp_path, home):
    other = tmp_path / "other"
    register(project)
    register(other).write_text("{")
    (home / "projects" / "notes").mkdir()
    (home / "projects" / "p_00000000").write_text("a file")
    assert [found.root for found in list_registrations()] == [project]
    assert check_registration(project) == "valid"
    assert check_registration(other) == "damaged"


def test_without_a_directory_of_projects_none_is_registered():
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
def test_the_address_that_is_named_is_the_daemon_s_in_any_spelling(named, answering):
    ProjectMode(True, named, "config.json").require_address(answering)


@pytest.mark.parametrize(
    "named",
    ["http://127.0.0.1:45124", "http://10.0.0.7:45123", "http://127.0.0.1", "http://localhost:99999", "http://x:45123"],
)
def test_another_address_is_refused_with_both_and_what_to_change(named):
    with pytest.raises(ConfigError, match="config.json: shared_server_url is") as caught:
        ProjectMode(True, named, "config.json").require_address(URL)
    assert named in caught.value.message
    assert URL in caught.value.message
    assert "shared_config.json" in caught.value.hint


@pytest.mark.parametrize(
    "value",
    ["https://127.0.0.1:1", "http://", "http://u@h:1", "http://h:1/path", "http://h:1?x", "h:1", "http://h:123456", 7],
)
def test_what_is_no_address_of_a_server_is_refused_as_a_setting(project, value):
    config_path(default_state_dir(project)).write_text(json.dumps({"mode": "shared", "shared_server_url": value}))
    assert not is_shared(project)
