"""The edits of hosts' files: an MCP entry, a block of instructions, and a skill. They are functions of text."""

import json
import os
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent_brain_cli.hosts import jsonc
from agent_brain_cli.hosts.catalog import ARGUMENTS, NAME, Host, Kind, server_keys

BEGIN, END = "<!-- agent-brain:begin -->", "<!-- agent-brain:end -->"
BLOCK = f"""{BEGIN}
Agent Brain searches this project by meaning and by name, faster than reading files one by one.
In the MCP server `agent-brain`: `search` for questions and names, `symbols` for definitions and uses, `read` for lines.
In a shell, and for sub-agents without MCP: `agent-brain query "…"`, `def NAME`, `refs NAME`, `read PATH:FROM-TO`.
For a fixed string or a regular expression, `rg` is the better tool.
{END}
"""
BLOCK_PATTERN = re.compile(rf"{re.escape(BEGIN)}.*?{re.escape(END)}\r?\n?", re.DOTALL)
TOML_TABLE = re.compile(
    rf'^[ \t]*\[mcp_servers\.(?:{NAME}|"{NAME}")[\].][^\n]*(?:\n|\Z)(?:[ \t]*[\w"-]+[ \t]*=[^\n]*(?:\n|\Z))*',
    re.MULTILINE,
)
"""A table of the entry with its keys; comments and blank lines behind it may belong to the next table."""


class EditError(ValueError):
    """A file cannot be parsed or edited; the message completes the sentence "FILE cannot be edited: …"."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One change in one file.

    Attributes:
        path: The file.
        kind: What is added.
        host: The host that reads the file.
        content: The entry of the MCP server, or the text of the block or the skill.
    """

    path: Path
    kind: Kind
    host: Host
    content: Any


def find_content(edit: Edit, text: str) -> Any:  # noqa: ANN401 - what the file holds in the place of `content`
    """Return what the file contains in the place of the edit, or `None`.

    Raises:
        EditError: The file cannot be parsed.
    """
    if edit.kind == "text":
        found = BLOCK_PATTERN.search(text)
        return found[0].replace("\r\n", "\n") if found else None
    if edit.kind == "skill":
        return text
    document = read_document(edit.kind, text)
    return jsonc.find(document, (*server_keys(edit.host, document), NAME))


def add(edit: Edit, text: str) -> str:
    """Return the text of the file with the content of the edit, which it does not contain.

    Raises:
        EditError: The file cannot be parsed or edited.
    """
    try:
        if edit.kind == "json":
            keys = server_keys(edit.host, read_document("json", text))
            return jsonc.insert(text, (*keys, NAME), edit.content)
    except jsonc.InvalidJsonError as error:
        raise EditError(str(error)) from error
    if edit.kind == "toml":
        return add_table(text, edit.content)
    return add_block(text, edit.content) if edit.kind == "text" else str(edit.content)


def take_out(edit: Edit, text: str) -> str:
    """Return the text of the file without the content of the edit.

    Raises:
        EditError: The file cannot be parsed or edited.
    """
    if edit.kind == "text":
        return BLOCK_PATTERN.sub("", text, count=1)
    if edit.kind == "skill":
        return ""
    document = read_document(edit.kind, text)
    try:
        if edit.kind == "json":
            return jsonc.remove(text, (*server_keys(edit.host, document), NAME))
    except jsonc.InvalidJsonError as error:
        raise EditError(str(error)) from error
    shorter = TOML_TABLE.sub("", text)
    document.get("mcp_servers", {}).pop(NAME, None)
    if (read_document("toml", shorter).get("mcp_servers") or {}) != (document.get("mcp_servers") or {}):
        raise EditError("the entry is not a table that can be removed safely")
    return shorter


def read_document(kind: Kind, text: str) -> Any:  # noqa: ANN401 - any document
    """Return the parsed document of a settings file; an empty one for an empty JSON file.

    Raises:
        EditError: The text cannot be parsed.
    """
    try:
        if kind == "toml":
            return tomllib.loads(text)
        document = jsonc.parse(text) if text.strip("\ufeff \t\r\n") else {}
    except (jsonc.InvalidJsonError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise EditError(str(error)) from error
    if not isinstance(document, dict):
        raise EditError("it is not a JSON object")
    return document


def add_table(text: str, entry: dict[str, Any]) -> str:
    """Return a TOML text with a table for the MCP server at its end.

    Raises:
        EditError: The text is not TOML, or its tables cannot be extended at the end.
    """
    newline = "\r\n" if "\r\n" in text else "\n"
    gap = "" if not text else newline if text.endswith("\n") else newline * 2
    edited = text + gap + render_table(entry).replace("\n", newline)
    expected = read_document("toml", text)
    servers = expected.setdefault("mcp_servers", {})
    if not isinstance(servers, dict):
        raise EditError("mcp_servers is not a table")
    servers[NAME] = entry
    if read_document("toml", edited) != expected:
        raise EditError("mcp_servers cannot be extended at the end of the file")
    return edited


def render_table(entry: dict[str, Any]) -> str:
    """Return the TOML table of an MCP server; JSON strings and arrays of strings are valid TOML."""
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in entry.items()]
    return f"[mcp_servers.{NAME}]\n{''.join(lines)}"


def add_block(text: str, block: str) -> str:
    """Return a Markdown text with the block, which replaces an earlier version or is added at the end."""
    newline = "\r\n" if "\r\n" in text else "\n"
    block = block.replace("\n", newline)
    if BLOCK_PATTERN.search(text):
        return BLOCK_PATTERN.sub(lambda _: block, text, count=1)
    gap = "" if not text else newline if text.endswith("\n") else newline * 2
    return text + gap + block


def is_ours(content: object) -> bool:
    """Return whether an entry of a host's file starts the relay of Agent Brain."""
    if not isinstance(content, dict):
        return False
    command, arguments = content.get("command"), content.get("args")
    words: Sequence[object] = command if isinstance(command, list) else [command, *(arguments or [])]
    return bool(words) and os.path.basename(str(words[0])) == NAME and list(words[1:2]) == ARGUMENTS


def is_empty(kind: Kind, text: str) -> bool:
    """Return whether nothing is left in a file that was created for an edit."""
    if kind == "json" and text.strip():
        return not _has_values(read_document(kind, text))
    return not text.strip()


def _has_values(value: object) -> bool:
    return any(map(_has_values, value.values())) if isinstance(value, dict) else value not in ([], {})
