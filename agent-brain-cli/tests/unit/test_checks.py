"""Each check reports its fault with the step that corrects it."""

import json
import os
import shlex
import subprocess
from types import SimpleNamespace

import pytest

from agent_brain_cli import checks
from agent_brain_cli.checks import CHECKS, run_check
from agent_brain_cli.commands.doctor import make_context
from agent_brain_cli.options import Target
from agent_brain_server.locking import acquire_lock, release_lock
from agent_brain_server.project_root import locate_project
from agent_brain_server.storage_paths import (
    brain_home,
    prepare_brain_home,
    prepare_state_dir,
    resolve_state_dir,
    runtime_path,
)


@pytest.fixture
def check(tmp_path, monkeypatch):
    """Return a function that runs one check on the project as it is then."""
    for name in ("DOC_SERVE_STATE_DIR", "AGENT_BRAIN_PORT", "AGENT_BRAIN_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(tmp_path / "home"))
    root = tmp_path / "project"
    root.mkdir()
    target = Target(locate_project(root, exact=True), explicit=True, as_json=False)
    return lambda name: run_check(name, make_context(target))


@pytest.fixture
def state_dir(check, tmp_path):
    path = resolve_state_dir(tmp_path / "project")
    prepare_state_dir(path)
    return path


@pytest.fixture
def locked(state_dir):
    """A state directory whose lock this process holds."""
    assert acquire_lock(state_dir)
    yield state_dir
    release_lock(state_dir)


def write_runtime(state_dir, **fields):
    document = {
        "schema_version": 1,
        "mode": "project",
        "project_root": "/p",
        "instance_id": "ds_000000",
        "base_url": "http://127.0.0.1:9",
        "bind_host": "127.0.0.1",
        "port": 9,
        "pid": os.getpid(),
        "started_at": "2026-01-01T00:00:00+00:00",
    }
    runtime_path(state_dir).write_text(json.dumps(document | fields))


@pytest.mark.parametrize("name", CHECKS)
def test_check_of_new_project_passes_and_creates_nothing(check, name, tmp_path):
    assert check(name).status in ("ok", "warning")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["project"]


@pytest.mark.parametrize("name", ["settings", "state directory", "locks", "version control"])
def test_check_of_prepared_state_dir_passes(check, name, state_dir):
    prepare_brain_home()
    before = sorted(state_dir.iterdir())
    assert check(name).status == "ok"
    assert sorted(state_dir.iterdir()) == before


def test_git_check_without_git_warns(check, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert check("git").status == "warning"


@pytest.mark.parametrize(("free", "status"), [(10**7, "failed"), (10**8, "warning"), (10**9, "ok")])
def test_disk_check_depends_on_free_space(check, monkeypatch, free, status):
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    assert check("disk").status == status


@pytest.mark.parametrize(
    ("file", "document"),
    [("config.json", {"prot": 1}), ("config.json", {"port": "x"}), ("shared_config.json", {"port": -1})],
)
def test_settings_check_names_the_invalid_file(check, state_dir, file, document):
    prepare_brain_home()
    path = (state_dir if file == "config.json" else brain_home()) / file
    path.write_text(json.dumps(document))
    result = check("settings")
    assert result.status == "failed"
    assert str(path) in result.message
    assert result.next_step


@pytest.mark.parametrize("is_home", [True, False])
def test_state_dir_check_step_makes_it_private(check, state_dir, is_home):
    path = prepare_brain_home() if is_home else state_dir
    path.chmod(0o755)
    result = check("state directory")
    assert result.status == "failed"
    assert result.next_step == f"chmod 700 {shlex.quote(str(path))}"
    subprocess.run(result.next_step, shell=True, check=True)
    assert check("state directory").status == "ok"


def test_state_dir_check_reports_a_file_in_the_way(check, tmp_path):
    path = resolve_state_dir(tmp_path / "project")
    path.parent.mkdir()
    path.write_text("")
    result = check("state directory")
    assert (result.status, result.next_step) == ("failed", "Move the file out of the way.")


def test_gitignore_check_asks_git(check, state_dir, tmp_path):
    subprocess.run(["git", "init", "-q", str(tmp_path / "project")], check=True)
    assert check("version control").status == "ok"
    (state_dir / ".gitignore").write_text("# nothing\n")
    result = check("version control")
    assert result.status == "failed"
    assert "runtime.json" in result.message


def test_gitignore_check_without_git_reads_the_rules(check, state_dir, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert check("version control").status == "ok"
    (state_dir / ".gitignore").unlink()
    assert check("version control").status == "warning"


def test_server_check_passes_after_a_server_was_killed(check, state_dir):
    write_runtime(state_dir)
    assert check("server").status == "ok"


def test_server_check_without_runtime_file_names_the_pid(check, locked):
    result = check("server")
    assert result.status == "failed"
    assert str(os.getpid()) in result.message
    assert "stop --force" in str(result.next_step)


def test_server_check_of_silent_server_names_its_address(check, locked):
    write_runtime(locked)
    result = check("server")
    assert result.status == "failed"
    assert "http://127.0.0.1:9" in result.message
    assert "agent-brain logs" in str(result.next_step)


@pytest.mark.parametrize("name", ["server", "watching", "index"])
def test_check_of_unknown_runtime_schema_fails(check, locked, name):
    write_runtime(locked, schema_version=99)
    assert check(name).status == "failed"


def test_server_check_of_missing_daemon_shows_how_to_start_it(check, state_dir):
    prepare_brain_home()
    (state_dir / "config.json").write_text('{"mode": "shared"}')
    result = check("server")
    assert (result.status, result.next_step) == ("failed", "agent-brain start --mode shared")
