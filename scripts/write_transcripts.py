"""Write the transcripts of docs/AGENTS.md from real sessions with `agent-brain mcp` in docs/sample.

With --check, write nothing and exit with 1 if a transcript is stale. Paths and times are replaced by fixed ones.
"""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from write_readme import REPOSITORY, Sample, open_sample

DOCUMENT = REPOSITORY / "docs" / "AGENTS.md"
BEGIN, END = "<!-- transcripts: scripts/write_transcripts.py -->", "<!-- end of transcripts -->"
LIMIT_S = 120.0
MODERN = "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientInfo": {"name": "transcript", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
CLIENT = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "transcript", "version": "1"}}
TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-][\d:]+)")
COMMIT = {
    "GIT_AUTHOR_NAME": "me", "GIT_AUTHOR_EMAIL": "me@example.com", "GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z",
    "GIT_COMMITTER_NAME": "me", "GIT_COMMITTER_EMAIL": "me@example.com", "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z",
    "GIT_CONFIG_GLOBAL": "/dev/null",
}  # fmt: skip

CALLS: tuple[tuple[str, str, dict[str, object]], ...] = (
    (
        "A question",
        "search",
        {"query": "what happens when the payment provider is down?", "max_tokens": 400},
    ),
    ("The callers of a function", "symbols", {"name": "charge", "find": "references"}),
    ("The outline of a file", "symbols", {"name": "shop/sessions.py", "find": "outline"}),
    ("Lines of a file", "read", {"path": "shop/payments.py", "first": 1, "last": 12}),
    ("The state of the index", "status", {}),
    ("An error", "read", {"path": "shop/payment.py"}),
)
"""Title, tool and arguments of the calls that are shown."""


class Session:
    """One session with the relay, in the sample."""

    def __init__(self, sample: Sample) -> None:
        self._process = subprocess.Popen(
            ["agent-brain", "mcp"],
            cwd=sample.root,
            env=sample.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._last = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate(timeout=LIMIT_S)

    def ask(self, method: str, **params: object) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return a request and its answer."""
        self._last += 1
        request = {"jsonrpc": "2.0", "id": self._last, "method": method, "params": params}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        return request, json.loads(self._process.stdout.readline())


@contextmanager
def open_committed() -> Iterator[Sample]:
    """Open the sample with one commit, whose id is the same in each run, and wait until it has every vector."""
    with open_sample() as sample:
        for command in (["add", "docs", "shop", "tests", "web"], ["commit", "--quiet", "-m", "Sample"]):
            subprocess.run(["git", *command], cwd=sample.root, env=sample.environment | COMMIT, check=True)
        deadline = time.monotonic() + LIMIT_S
        while json.loads(sample.run("agent-brain", "status", "--json"))["index"]["vector_coverage"] < 1:
            if time.monotonic() > deadline:
                raise SystemExit("The sample has no vectors yet.")
            time.sleep(0.2)
        yield sample


def write_sessions(sample: Sample) -> str:
    """Return the transcripts of a session for each handshake, and of the calls."""
    with Session(sample) as session:
        parts = ["### Handshake of revision 2026-07-28", *_show(*session.ask("server/discover", _meta=META))]
    with Session(sample) as session:
        parts += ["### Handshake of older revisions", *_show(*session.ask("initialize", **CLIENT))]
        _, tools = session.ask("tools/list")
        parts += ["### Tools", *_list_tools(tools["result"]["tools"])]
        for title, tool, arguments in CALLS:
            request, answer = session.ask("tools/call", name=tool, arguments=arguments)
            parts += [f"### {title}", *_show_call(request, answer["result"])]
    text = "\n\n".join(parts)
    return TIME.sub("2026-01-01T00:00:00Z", text.replace(str(sample.root), "/home/me/shop"))


def _show(request: dict[str, Any], answer: dict[str, Any]) -> list[str]:
    return [
        _fence("json", json.dumps(request)),
        _fence("json", json.dumps(answer, indent=2, ensure_ascii=False)),
    ]


def _list_tools(tools: list[dict[str, Any]]) -> list[str]:
    rows = [f"| `{tool['name']}` | {tool['description']} |" for tool in tools]
    return ["\n".join(["| Tool | Description, as the model reads it |", "|---|---|", *rows])]


def _show_call(request: dict[str, Any], result: dict[str, Any]) -> list[str]:
    (content,) = result["content"]
    lead = "The answer has `isError` and this text:" if result.get("isError") else "The text of the answer:"
    return [_fence("json", json.dumps(request)), lead, _fence("text", content["text"])]


def _fence(language: str, text: str) -> str:
    marks = "````" if "```" in text else "```"
    return f"{marks}{language}\n{text.rstrip()}\n{marks}"


def replace_transcripts(document: str, transcripts: str) -> str:
    """Return the document with other transcripts.

    Raises:
        SystemExit: The document has no place for them.
    """
    head, begin, rest = document.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{DOCUMENT.name} lacks {BEGIN} or {END}")
    return f"{head}{BEGIN}\n\n{transcripts}\n\n{END}{tail}"


def main(arguments: list[str]) -> int:
    """Write the document, or with --check return 1 if it is stale."""
    known = DOCUMENT.read_text(encoding="utf-8")
    with open_committed() as sample:
        current = replace_transcripts(known, write_sessions(sample))
    if current == known:
        return 0
    if "--check" in arguments:
        print("docs/AGENTS.md is stale: run scripts/write_transcripts.py")
        return 1
    DOCUMENT.write_text(current, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
