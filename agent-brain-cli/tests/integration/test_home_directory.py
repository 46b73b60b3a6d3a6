"""The home directory, its parents and `/` are projects only with `--project-root`."""

from dataclasses import replace
from pathlib import Path

import pytest


@pytest.fixture
def home(agent_brain):
    """Run commands in a home directory that has the markers of a project."""
    root = agent_brain.project
    (root / ".claude").mkdir(exist_ok=True)
    (root / "pyproject.toml").touch()
    command = replace(agent_brain, environment={**agent_brain.environment, "HOME": str(root)})
    yield command
    command("stop", "--force", "--project-root", str(root))


@pytest.mark.parametrize(
    ("arguments", "directory"),
    [
        (["query", "turnstile"], "."),
        (["query", "turnstile"], ".."),
        (["query", "turnstile"], "/"),
        (["index"], "."),
        (["start"], "."),
        (["start", "--foreground"], "."),
        (["init"], "."),
    ],
)
def test_command_in_home_is_refused_with_a_hint(home, arguments, directory):
    path = (home.project / directory).resolve()
    refused = home(*arguments, cwd=path)
    assert refused.code == 2
    assert refused.error_lines[0].startswith(f"Error: {path} is not a project")
    assert "--project-root" in refused.error_lines[1]
    assert not list(home.project.glob(".claude/*"))


def test_command_in_home_as_json_has_a_code(home):
    refused = home("query", "x", "--json")
    assert refused.code == 2
    assert refused.json["error"]["code"] == "not_a_project"


def test_command_below_home_ignores_markers_of_home(home):
    notes = home.project / "notes"
    notes.mkdir()
    created = home("init", "--json", cwd=notes)
    assert created.code == 0
    assert Path(created.json["project_root"]) == notes


def test_project_root_option_accepts_home(home):
    named = ["--project-root", str(home.project)]
    answer = home("query", "turnstile", *named)
    assert answer.code == 0, answer.err
    assert "locking.py" in answer.out
    assert home("status").code == 0
    assert home("query", "turnstile").code == 2
    assert home("stop").code == 0


def test_read_only_commands_work_in_home(home):
    assert home("status").code == 3
    assert home("list").code == 0
    assert home("stop").code == 3
    assert home("status", "--mode", "shared").code == 7
