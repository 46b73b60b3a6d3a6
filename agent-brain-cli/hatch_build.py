"""Add the skill for agents to the package.

Its source is outside of this directory. A source distribution holds a copy at the place where the wheel has it, so that
a wheel can be built from either.
"""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = Path("..", "agent-brain-skill", "Agent Brain", "SKILL.md")
TARGET = Path("agent_brain_cli", "skill", "SKILL.md")


class SkillHook(BuildHookInterface[Any]):
    """Include SKILL.md from the repository unless the package holds it."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the file to what is built; hatchling calls this before a build."""
        root = Path(self.root)
        if version != "editable" and not (root / TARGET).is_file():
            build_data["force_include"][str(root / SOURCE)] = str(TARGET)
