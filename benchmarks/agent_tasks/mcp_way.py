"""The same commands as `query and structure`, sent as calls of the tools of `agent-brain mcp`.

A host sends several tool calls in one message, as a shell runs several commands in one line. Tokens are those of the
calls as JSON and of the texts of the answers; the tools' descriptions are part of every session, and reported apart.
"""

import json
import shlex
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.agent_tasks.brain_way import STRUCTURE_BUDGET
from benchmarks.agent_tasks.scoring import SEPARATOR

WAY = "mcp"
END_TIMEOUT_S = 60.0
CHANGELOGS = "**/*[Cc][Hh][Aa][Nn][Gg][Ee]*"
"""The only glob of a changelog: the tool takes one."""

Call = dict[str, Any]


def translate(command: str) -> list[Call]:
    """Return the tool calls for commands of `agent-brain`."""
    return [_translate_one(shlex.split(part)[1:]) for part in command.split(SEPARATOR)]


def _translate_one(words: list[str]) -> Call:
    name, *rest = words
    options = {word: rest[index + 1] for index, word in enumerate(rest[:-1]) if word.startswith("-")}
    subject = rest[-1]
    if name == "query":
        return _call("search", query=subject, **_filter(options), **_limit(options))
    if name == "read":
        path, _, lines = subject.rpartition(":")
        first, _, last = lines.partition("-")
        return _call("read", path=path, first=int(first), **({"last": int(last)} if last else {}))
    find = {"refs": "references", "def": "definitions"}[name]
    return _call("symbols", name=subject, find=find, max_tokens=STRUCTURE_BUDGET)


def _filter(options: Mapping[str, str]) -> dict[str, str]:
    if "--path" in options:
        return {"path": CHANGELOGS}
    return {"type": options["--type"]} if "--type" in options else {}


def _limit(options: Mapping[str, str]) -> dict[str, int]:
    return {"max_tokens": int(options["--budget"])}


def _call(tool: str, **arguments: object) -> Call:
    return {"name": tool, "arguments": arguments}


def spell(way: str, command: str) -> str:
    """Return what an agent writes for a command: the command itself, or the tool calls as JSON."""
    return " ".join(map(json.dumps, translate(command))) if way == WAY else command


@contextmanager
def open_session(root: Path, environment: Mapping[str, str]) -> Iterator[Callable[[str], str]]:
    """Start the relay in a package, and yield a function that runs commands through it.

    Args:
        root: The package.
        environment: Variables of the relay.
    """
    command = ["agent-brain", "mcp"]
    relay = subprocess.Popen(
        command, cwd=root, env=dict(environment), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def run(command: str) -> str:
        return "\n--\n".join(_ask(relay, "tools/call", call) for call in translate(command))

    try:
        yield run
    finally:
        relay.communicate(timeout=END_TIMEOUT_S)


def _ask(relay: "subprocess.Popen[str]", method: str, params: Call) -> str:
    assert relay.stdin is not None
    assert relay.stdout is not None
    relay.stdin.write(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}) + "\n")
    relay.stdin.flush()
    answer = json.loads(relay.stdout.readline())
    if "result" not in answer:
        raise SystemExit(f"The relay answered: {answer}")
    return "\n".join(part["text"] for part in answer["result"]["content"])
