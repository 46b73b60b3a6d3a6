"""One question to several projects of the shared daemon."""

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

FRUIT = "def peel(apple):\n    '''Remove the skin before the release.'''\n    return apple\n"


def search_with_mcp(command, **arguments: object) -> dict:
    """Return the result of the tool `search`."""
    request = {"name": "search", "arguments": {"query": "release", **arguments}}
    with subprocess.Popen(
        [sys.executable, "-m", "agent_brain_cli", "mcp"],
        cwd=command.project,
        env=command.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as relay:
        message = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": request})
        relay.stdin.write(message.encode() + b"\n")
        relay.stdin.flush()
        answer = relay.stdout.readline()
        relay.stdin.close()
    return json.loads(answer)["result"]


@pytest.fixture
def two(agent_brain, brain_home) -> Iterator[tuple]:
    """Return the command in two projects of the daemon, both indexed."""
    other = agent_brain.project.parent / "fruit"
    (other / ".claude").mkdir(parents=True)
    (other / "fruit.py").write_text(FRUIT)
    second = dataclasses.replace(agent_brain, project=other)
    for command in (agent_brain, second):
        assert command("init", "--mode", "shared").code == 0
    assert agent_brain("start", "--mode", "shared").code == 0
    for command in (agent_brain, second):
        assert command("index", "--wait").code == 0
    yield agent_brain, second


def test_query_of_several_projects_labels_results(two):
    first, second = two
    everything = first("query", "--all-projects", "--json", "release").json["projects"]
    found = {each["project_root"]: {result["source"] for result in each["results"]} for each in everything}
    assert set(found) == {str(first.project), str(second.project)}
    assert "src/locking.py" in found[str(first.project)]
    assert found[str(second.project)] == {"fruit.py"}
    for style in ("text", "compact"):
        shown = first("query", "--project", "fruit", "--format", style, "release").out
        assert shown.startswith(f"== {second.project}\n")
        assert "fruit.py" in shown
        assert "locking.py" not in shown


def test_query_of_unknown_project_lists_registered(two):
    first, second = two
    outcome = first("query", "--project", "vegetables", "release")
    assert outcome.code != 0
    assert "vegetables" in outcome.error_lines[-2]
    assert str(second.project) in outcome.error_lines[-1]


def test_mcp_search_of_other_projects_ends_with_their_roots(two):
    first, second = two
    (own,) = search_with_mcp(first)["content"]
    assert "fruit.py" not in own["text"]
    (other,) = search_with_mcp(first, projects=["fruit"])["content"]
    assert "fruit.py" in other["text"]
    assert "locking.py" not in other["text"]
    assert str(second.project) in other["text"].splitlines()[-1]
    (everything,) = search_with_mcp(first, projects=["*"])["content"]
    assert "fruit.py" in everything["text"]
    assert "locking.py" in everything["text"]
    unknown = search_with_mcp(first, projects=["vegetables"])
    assert unknown["isError"]
    assert "vegetables" in unknown["content"][0]["text"]


def test_mcp_projects_of_project_server_is_an_error(indexed):
    result = search_with_mcp(indexed, projects=["*"])
    assert result["isError"]
    assert "one project" in result["content"][0]["text"]
