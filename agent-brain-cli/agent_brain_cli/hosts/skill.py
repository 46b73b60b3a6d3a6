"""The skill for agents, which the package carries."""

from pathlib import Path

PACKAGED = Path(__file__).parents[1] / "skill" / "SKILL.md"
IN_REPOSITORY = Path(__file__).parents[3] / "agent-brain-skill" / "Agent Brain" / "SKILL.md"  # an editable install


def read_skill() -> str:
    """Return the text of SKILL.md.

    Raises:
        OSError: The package was installed without it.
    """
    path = PACKAGED if PACKAGED.is_file() else IN_REPOSITORY
    return path.read_text(encoding="utf-8")
