"""The README says what the command does."""

import re
from pathlib import Path

from agent_brain_cli.cli import COMMANDS

README = Path(__file__).parents[2] / "README.md"


def test_every_command_is_in_the_readme_and_the_other_way_round() -> None:
    documented = re.findall(r"^\| `agent-brain ([a-z]+)", README.read_text(), flags=re.MULTILINE)
    assert sorted(documented) == sorted(COMMANDS)
