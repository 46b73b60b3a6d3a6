"""Add the skill and the plugins for agents to the package.

Their source is outside of this directory. A source distribution holds a copy at the place where the wheel has them, so
that a wheel can be built from either.
"""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = Path("..", "agent-brain-skill")
PACKAGE = Path("agent_brain_cli")
TARGETS = {
    Path("Agent Brain", "SKILL.md"): PACKAGE / "skill" / "SKILL.md",
    Path("claude-plugin"): PACKAGE / "plugins" / "claude-plugin",
    Path("agent-plugin"): PACKAGE / "plugins" / "agent-plugin",
}


class SkillHook(BuildHookInterface[Any]):
    """Include the files from the repository unless the package holds them."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the files to what is built; hatchling calls this before a build."""
        root = Path(self.root)
        for source, target in TARGETS.items():
            if version != "editable" and not (root / target).exists():
                build_data["force_include"][str(root / SOURCE / source)] = str(target)
