"""The generated skill and plugins are current and valid, and the validator finds faults."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[4] / "scripts" / "write_plugins.py"


@pytest.fixture(scope="module")
def plugins():
    spec = importlib.util.spec_from_file_location("write_plugins", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_plugins_are_current_and_valid(plugins):
    texts = plugins.generate()
    assert list(plugins.find_faults(texts)) == []
    assert {path: (plugins.SKILLS / path).read_text() for path in texts} == texts


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("agent-brain/SKILL.md", "name: agent-brain", "name: Agent-Brain"),
        ("agent-brain/SKILL.md", "name: agent-brain", "name: other"),
        ("agent-brain/SKILL.md", "description:", "tools: x\ndescription:"),
        ("agent-brain/SKILL.md", "---\n", ""),
        ("agent-plugin/plugin.json", '"version": "', '"versions": "'),
        ("agent-plugin/plugin.json", "/1.0.0/", "/1.1.0/"),
        ("agent-plugin/plugin.json", '"agent-brain"', '"agent--brain"'),
        ("agent-plugin/mcp.json", '"stdio"', '"http"'),
        ("agent-plugin/mcp.json", '"command"', '"cmd"'),
        ("claude-plugin/.claude-plugin/marketplace.json", '"./"', '"../"'),
        ("claude-plugin/.claude-plugin/marketplace.json", '"owner"', '"author"'),
    ],
)
def test_validator_finds_fault(plugins, path, old, new):
    text = plugins.generate()[path]
    assert old in text
    assert list(plugins.find_faults({path: text.replace(old, new)}))


def test_skill_is_half_of_its_first_size(plugins):
    assert plugins.SOURCE.stat().st_size < 6_893 / 2
