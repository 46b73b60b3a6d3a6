"""Agents reach a project over the Model Context Protocol: the relay on stdin and stdout, and `/mcp` of the server.

Tests use the client of the official SDK, and raw lines for messages that it does not send.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from queue import Queue

import pytest
from mcp import Client, StdioServerParameters, stdio_client

LIMIT_S = 120.0
TOOLS = {"search", "symbols", "read", "status"}
MODERN = "2026-07-28"
MAX_INSTRUCTIONS = 2_048
INITIALIZE = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}


class Talk:
    """A relay, and the lines that it writes."""

    def __init__(self, command, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "agent_brain_cli", "mcp", *arguments],
            cwd=command.project,
            env=command.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.lines: Queue[bytes] = Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self.lines.put(line)

    def send(self, text: str) -> None:
        self.process.stdin.write(text.encode() + b"\n")
        self.process.stdin.flush()

    def ask(self, identity: int | str, method: str, **params: object) -> dict:
        self.send(json.dumps({"jsonrpc": "2.0", "id": identity, "method": method, "params": params}))
        return self.receive()

    def call(self, identity: int | str, tool: str, **arguments: object) -> str:
        result = self.ask(identity, "tools/call", name=tool, arguments=arguments)["result"]
        (content,) = result["content"]
        return content["text"]

    def receive(self) -> dict:
        return json.loads(self.lines.get(timeout=LIMIT_S))

    def end(self) -> int:
        self.process.stdin.close()
        return self.process.wait(LIMIT_S)


@contextlib.contextmanager
def talking(command, *arguments: str) -> Iterator[Talk]:
    talk = Talk(command, *arguments)
    try:
        yield talk
    finally:
        talk.process.kill()
        talk.process.wait()
        for stream in (talk.process.stdin, talk.process.stdout, talk.process.stderr):
            with contextlib.suppress(BrokenPipeError):
                stream.close()


def connect(command, transport: str, mode: str) -> Client:
    if transport == "http":
        return Client(f"{command('start', '--json').json['base_url']}/mcp", mode=mode)
    relay = StdioServerParameters(
        command=sys.executable,
        args=["-m", "agent_brain_cli", "mcp"],
        env=command.environment,
        cwd=str(command.project),
    )
    return Client(stdio_client(relay, errlog=open(os.devnull, "w")), mode=mode)


@pytest.mark.parametrize("mode", ["legacy", MODERN, "auto"])
@pytest.mark.parametrize("transport", ["stdio", "http"])
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # of the SDK's client
def test_sdk_client_uses_every_tool(indexed, transport, mode):
    async def use() -> None:
        async with connect(indexed, transport, mode) as client:
            tools = (await client.list_tools()).tools
            assert {tool.name for tool in tools} == TOOLS
            if mode != MODERN:  # a client that names the version asks for nothing else
                assert 0 < len(client.instructions) < MAX_INSTRUCTIONS
            answers = {}
            for tool, arguments in (
                ("search", {"query": "where is the lock released"}),
                ("symbols", {"name": "release"}),
                ("read", {"path": "src/locking.py"}),
                ("status", {}),
            ):
                result = await client.call_tool(tool, arguments)
                assert not result.is_error, result
                assert result.structured_content is None
                (content,) = result.content
                answers[tool] = content.text
        for tool in ("search", "symbols", "read"):
            assert "src/locking.py" in answers[tool]
            assert "def release(self)" in answers[tool]
            assert str(indexed.project) in answers[tool].splitlines()[-1]

    asyncio.run(asyncio.wait_for(use(), LIMIT_S))


def test_schemas_are_plain(indexed):
    with talking(indexed) as talk:
        tools = talk.ask(1, "tools/list")["result"]["tools"]
    text = json.dumps(tools)
    for construct in ("$ref", "$defs", "anyOf", "oneOf", "allOf", "null"):
        assert construct not in text
    for tool in tools:
        for field in tool["inputSchema"]["properties"].values():
            assert isinstance(field["type"], str)
            assert field["description"]


def test_relay_reports_malformed_messages_and_goes_on(indexed):
    with talking(indexed) as talk:
        for line, code in (
            ("{not json", -32700),
            ("[]", -32600),
            ('"text"', -32600),
            ('{"jsonrpc": "1.0", "id": 1, "method": "ping"}', -32600),
            ('{"jsonrpc": "2.0", "id": [], "method": "ping"}', -32600),
            ('{"jsonrpc": "2.0", "id": 1, "method": 7}', -32600),
            ('{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": "' + "x" * 4_000_000 + '"}', -32600),
        ):
            talk.send(line)
            assert talk.receive()["error"]["code"] == code
        talk.send("")
        talk.send('{"jsonrpc": "2.0", "id": 9, "result": {}}')
        talk.send('{"jsonrpc": "2.0", "method": "notifications/whatever", "params": [1]}')
        assert talk.ask(2, "no/such/method")["error"]["code"] == -32601
        assert talk.ask(3, "tools/list")["id"] == 3
        assert talk.end() == 0


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        ("nope", {}, "There is no tool 'nope'"),
        ("search", {}, "query"),
        ("search", {"query": 7}, "query"),
        ("search", {"query": "lock", "max_tokens": 10}, "50"),
        ("search", {"query": "lock", "surprise": 1}, "surprise"),
        ("read", {"path": "../outside"}, "outside"),
        ("read", {"path": "nowhere.py"}, "nowhere.py"),
        ("symbols", {}, "name"),
    ],
)
def test_tool_errors_are_sentences(indexed, tool, arguments, said):
    with talking(indexed) as talk:
        result = talk.ask(1, "tools/call", name=tool, arguments=arguments)["result"]
    assert result["isError"]
    (content,) = result["content"]
    assert said in content["text"]
    assert "Traceback" not in content["text"]


def test_relay_survives_a_restart_of_the_server(agent_brain):
    with talking(agent_brain) as talk:
        assert talk.ask(1, "initialize", **INITIALIZE)["result"]["protocolVersion"] == "2025-06-18"
        assert "locking.py" in talk.call(2, "search", query="release the lock")
        assert agent_brain("stop").code == 0
        assert "locking.py" in talk.call(3, "search", query="release the lock")
        assert talk.end() == 0


def test_first_search_indexes_the_project(agent_brain):
    with talking(agent_brain) as talk:
        assert "locking.py" in talk.call(1, "search", query="release the lock")


def test_relay_without_project_reports_why(command, tmp_path, starts_processes):
    environment = command.environment | {"HOME": str(tmp_path)}
    (tmp_path / ".git").unlink(missing_ok=True)
    process = subprocess.run(
        [sys.executable, "-m", "agent_brain_cli", "mcp"],
        cwd="/",
        env=environment,
        input=json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": INITIALIZE}),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    answer = json.loads(process.stdout)
    assert answer["id"] == 1
    assert "--project-root" in answer["error"]["message"]


def test_cancelled_request_is_not_answered(indexed):
    with talking(indexed) as talk:
        talk.ask(1, "initialize", **INITIALIZE)
        for identity in range(2, 12):
            request = {"name": "search", "arguments": {"query": f"lock number {identity}"}}
            talk.send(json.dumps({"jsonrpc": "2.0", "id": identity, "method": "tools/call", "params": request}))
            cancel = {"requestId": identity}
            talk.send(json.dumps({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancel}))
        talk.send(json.dumps({"jsonrpc": "2.0", "id": "last", "method": "tools/list"}))
        answered = set()
        while "last" not in answered:
            answer = talk.receive()
            assert "result" in answer  # a request that was answered before it was cancelled, but no error
            answered.add(answer["id"])
        assert talk.end() == 0


def test_many_relays_share_one_server(indexed):
    with contextlib.ExitStack() as stack:
        relays = [stack.enter_context(talking(indexed)) for _ in range(8)]
        answers = [relay.call(1, "status") for relay in relays]
        assert len(set(answers)) == 1
        assert len(indexed("list", "--json").json["projects"]) == 1
        assert [relay.end() for relay in relays] == [0] * 8


def test_daemon_answers_for_the_project_of_the_relay(agent_brain, brain_home):
    assert agent_brain("init", "--mode", "shared").code == 0
    with talking(agent_brain) as talk:
        assert "locking.py" in talk.call(1, "search", query="release the lock")
        assert talk.end() == 0
