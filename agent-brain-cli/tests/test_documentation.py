"""The documents list every command, option and exit code."""

import re
from pathlib import Path

import click
import pytest

from agent_brain_cli.cli import COMMANDS, EXIT_INTERRUPTED, EXIT_OK, EXIT_UNEXPECTED, group
from agent_brain_cli.output import EXIT_BROKEN_PIPE
from agent_brain_server.errors import AgentBrainError

README = Path(__file__).parents[2] / "README.md"
NOTES = Path(__file__).parents[2] / "CLAUDE.md"
API = Path(__file__).parents[2] / "docs" / "API.md"
SHARED_OPTIONS = {"--project-root", "--state-dir", "--json"}


def test_readme_lists_every_command() -> None:
    documented = re.findall(r"^\| `agent-brain ([a-z]+)", README.read_text(), flags=re.MULTILINE)
    assert sorted(documented) == sorted(COMMANDS)


def test_notes_for_agents_list_every_command() -> None:
    sentence = NOTES.read_text().partition("The commands are ")[2].partition(";")[0]
    assert re.findall(r"`([a-z]+)`", sentence) == list(COMMANDS)


def test_api_document_lists_every_option() -> None:
    rows = re.findall(r"^\| `agent-brain ([a-z]+).*?` \| ?(.*) \|$", API.read_text(), flags=re.MULTILINE)
    documented = {name: set(re.findall(r"`(--[a-z-]+)`", options)) for name, options in rows}
    assert documented == {name: find_options(name) - SHARED_OPTIONS for name in COMMANDS}


@pytest.mark.parametrize("option", sorted(SHARED_OPTIONS))
def test_api_document_lists_the_shared_options(option: str) -> None:
    assert f"`{option}`" in API.read_text().partition("## The command")[2]


def test_api_document_lists_every_exit_code() -> None:
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", API.read_text(), flags=re.MULTILINE)}
    fixed = {EXIT_OK, EXIT_UNEXPECTED, EXIT_INTERRUPTED, EXIT_BROKEN_PIPE}
    assert documented == fixed | {error.exit_code for error in list_errors(AgentBrainError)}


def find_options(name: str) -> set[str]:
    """Return the long options of a command."""
    command = group.get_command(click.Context(group), name)
    assert command is not None
    options = [each for each in command.params if isinstance(each, click.Option)]
    return {name for each in options for name in (*each.opts, *each.secondary_opts) if name.startswith("--")}


def list_errors(base: type[AgentBrainError]) -> list[type[AgentBrainError]]:
    """Return an error and all that are derived from it."""
    return [base, *(error for child in base.__subclasses__() for error in list_errors(child))]
