import re
from pathlib import Path

import pytest

from agent_brain_server.support.text import pluralize

REPOSITORY = Path(__file__).resolve().parents[4]
PACKAGES = [REPOSITORY / "agent-brain-server/agent_brain_server", REPOSITORY / "agent-brain-cli/agent_brain_cli"]
COUNTED = "files|chunks|vectors|projects|jobs|texts|results|lines|changes|connections|seconds"
NUMBER_BEFORE_PLURAL = re.compile(rf"(?:\{{[^{{}}]+\}}) (?:[a-z]+ )?(?:{COUNTED})\b|\w\(e?s\)")


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 files"), (1, "1 file"), (2, "2 files"), (1234, "1,234 files"), (None, "? files")],
)
def test_pluralize(count: int | None, text: str) -> None:
    assert pluralize(count, "file") == text


def test_messages_use_pluralize() -> None:
    found = [
        f"{path.relative_to(REPOSITORY)}:{number}: {line.strip()}"
        for package in PACKAGES
        for path in sorted(package.rglob("*.py"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if NUMBER_BEFORE_PLURAL.search(line) and "logger." not in line  # a log's words stay, so that they can be found
    ]
    assert found == []
