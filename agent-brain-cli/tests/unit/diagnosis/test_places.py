"""Settings, state directory, modes, locks, version control: each fault is found and has its next step."""

import json
import shlex
import subprocess

import pytest

from agent_brain_cli.diagnosis import places
from agent_brain_server.storage_paths import brain_home, prepare_brain_home, prepare_state_dir

EVERY_CHECK = (
    places.check_settings,
    places.check_state_dir,
    places.check_modes,
    places.check_home,
    places.check_locks,
    places.check_gitignore,
)


@pytest.fixture
def state_dir(look):
    """The project's state directory, made."""
    place = look().target.state_dir
    prepare_state_dir(place)
    return place


@pytest.mark.parametrize("check", EVERY_CHECK)
def test_a_new_project_is_well_and_nothing_is_made(check, look, tmp_path):
    assert check(look()).status == "ok"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["project"]


@pytest.mark.parametrize("check", EVERY_CHECK)
def test_a_state_directory_as_the_server_makes_it_is_well(check, look, state_dir):
    prepare_brain_home()
    before = sorted(state_dir.iterdir())
    assert check(look()).status == "ok"
    assert sorted(state_dir.iterdir()) == before


@pytest.mark.parametrize(
    ("file", "document"),
    [("config.json", {"prot": 1}), ("config.json", {"port": "x"}), ("shared_config.json", {"port": -1})],
)
def test_a_wrong_setting_is_named(look, state_dir, file, document):
    prepare_brain_home()
    path = (state_dir if file == "config.json" else brain_home()) / file
    path.write_text(json.dumps(document))
    finding = places.check_settings(look())
    assert finding.status == "failed"
    assert str(path) in finding.message
    assert finding.next_step


def test_a_state_directory_that_is_open_to_others_is_told_with_the_command_that_closes_it(look, state_dir):
    state_dir.chmod(0o755)
    finding = places.check_state_dir(look())
    assert finding.status == "failed"
    assert finding.next_step == f"chmod 700 {shlex.quote(str(state_dir))}"
    subprocess.run(finding.next_step, shell=True, check=True)
    assert places.check_state_dir(look()).status == "ok"


def test_a_file_in_the_way_is_told(look):
    place = look().target.state_dir
    place.parent.mkdir()
    place.write_text("")
    finding = places.check_state_dir(look())
    assert (finding.status, finding.next_step) == ("failed", "Move the file that is in the way.")


def test_a_file_that_others_can_read_is_named_and_settings_are_not(look, state_dir):
    (state_dir / "config.json").write_text("{}")
    (state_dir / "config.json").chmod(0o644)
    assert places.check_modes(look()).status == "ok"
    (state_dir / "logs").mkdir(mode=0o700)
    (state_dir / "logs" / "server.log").write_text("")
    (state_dir / "logs" / "server.log").chmod(0o644)
    finding = places.check_modes(look())
    assert finding.status == "warning"
    assert "server.log" in finding.message
    subprocess.run(str(finding.next_step), shell=True, check=True)
    assert places.check_modes(look()).status == "ok"


def test_a_home_that_is_open_to_others_is_told(look):
    prepare_brain_home().chmod(0o750)
    assert places.check_home(look()).status == "failed"


def test_git_is_asked_whether_the_token_stays_out(look, state_dir):
    root = look().target.project_root
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    assert places.check_gitignore(look()).status == "ok"
    (state_dir / ".gitignore").write_text("# nothing\n")
    finding = places.check_gitignore(look())
    assert finding.status == "failed"
    assert "runtime.json" in finding.message


def test_without_git_the_rules_themselves_are_looked_at(look, state_dir, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert places.check_gitignore(look()).status == "ok"
    (state_dir / ".gitignore").unlink()
    assert places.check_gitignore(look()).status == "warning"
