"""`sudo agent-brain` in the project of another user leaves no file that this user cannot use."""

import os
from pathlib import Path

import pytest

USER = 12345

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def user_home(agent_brain, project, tmp_path):
    """Give the project to another user, whose home is in HOME, as under sudo."""
    home = tmp_path / "user"
    home.mkdir()
    (project / ".claude").rmdir()
    for path in (home, project, *project.rglob("*")):
        os.chown(path, USER, USER)
    del agent_brain.environment["AGENT_BRAIN_HOME"]
    agent_brain.environment["HOME"] = str(home)
    return home


def find_root_files(*directories: Path) -> list[Path]:
    paths = (path for directory in directories for path in (directory, *directory.rglob("*")))
    return [path for path in paths if path.lstat().st_uid != USER]


@pytest.mark.parametrize(
    "arguments", [["init"], ["start"], ["query", "turnstile"], ["index"], ["start", "--mode", "shared"]]
)
def test_root_in_project_of_a_user_is_refused(agent_brain, user_home, project, arguments):
    outcome = agent_brain(*arguments)
    assert outcome.code == 5, outcome.err
    assert f"uid {USER}" in outcome.err
    assert "sudo" in outcome.error_lines[-1]
    assert find_root_files(project, user_home) == []


def test_root_with_marker_of_a_user_is_refused(agent_brain, user_home, project):
    (project / ".claude").mkdir()
    os.chown(project / ".claude", USER, USER)
    outcome = agent_brain("query", "turnstile")
    assert outcome.code == 5, outcome.err
    assert "belongs to another user" in outcome.err
    assert find_root_files(project, user_home) == []


@pytest.mark.parametrize("arguments", [["status"], ["list"], ["stop"], ["config"], ["doctor"], ["reset", "--yes"]])
def test_root_with_read_only_command_leaves_no_file(agent_brain, user_home, project, arguments):
    agent_brain(*arguments)
    assert find_root_files(project, user_home) == []


def test_root_may_use_another_state_dir(agent_brain, user_home, project, tmp_path):
    paths = ("--project-root", str(project), "--state-dir", str(tmp_path / "state of root"))
    try:
        outcome = agent_brain("query", "turnstile", *paths)
        assert outcome.code == 0, outcome.err
        assert "locking.py" in outcome.out
        assert find_root_files(project, user_home) == []
    finally:
        agent_brain("stop", "--force", *paths)
