"""Generate the skill and the plugins for agents from `agent-brain-skill/Agent Brain/SKILL.md`.

Usage: write_plugins.py [--check]; with --check, nothing is written: stale and invalid files are reported.

Formats: Agent Skills, https://agentskills.io/specification; Agent Plugins 1.0.0, https://agent-plugins.org/specification
and its schemas; plugins and marketplaces of Claude Code, https://code.claude.com/docs/en/plugins-reference.
"""

import json
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SKILLS = ROOT / "agent-brain-skill"
SOURCE = SKILLS / "Agent Brain" / "SKILL.md"
NAME = "agent-brain"
SERVER = {"type": "stdio", "command": NAME, "args": ["mcp"]}
SCHEMAS = "https://agent-plugins.org/schemas/1.0.0"

Json = dict[str, Any]

FRONT_MATTER = re.compile(r"---\n(.*?)\n---\n", re.DOTALL)
SKILL_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
PLUGIN_NAME = re.compile(r"(?!.*(--|\.\.))[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
MAX_NAME = 64
MAX_DESCRIPTION = 1024
SKILL_FIELDS = {"name", "description", "license", "compatibility", "metadata", "allowed-tools"}
TEXT_FIELDS = {"$schema", "name", "version", "description", "homepage", "repository", "license"}
PLUGIN_FIELDS = TEXT_FIELDS | {"author", "keywords", "extensions"}


def generate() -> dict[str, str]:
    """Return the text of each generated file by its path in `agent-brain-skill`."""
    skill = SOURCE.read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "agent-brain-cli" / "pyproject.toml").read_text())["project"]
    about: Json = {"name": NAME, "version": project["version"], "description": project["description"]}
    licensed: Json = about | {"license": project["license"], "keywords": project["keywords"]}
    documents: dict[str, Json] = {
        "agent-plugin/plugin.json": {"$schema": f"{SCHEMAS}/plugin.schema.json"} | licensed,
        "agent-plugin/mcp.json": {"$schema": f"{SCHEMAS}/mcp.schema.json", "mcpServers": {NAME: SERVER}},
        "claude-plugin/.claude-plugin/plugin.json": licensed,
        "claude-plugin/.claude-plugin/marketplace.json": {
            "name": NAME,
            "owner": {"name": "Agent Brain"},
            "plugins": [about | {"source": "./"}],
        },
        "claude-plugin/.mcp.json": {"mcpServers": {NAME: SERVER}},
    }
    texts = {path: json.dumps(document, indent=2, ensure_ascii=False) + "\n" for path, document in documents.items()}
    for directory in ("", "agent-plugin/skills/", "claude-plugin/skills/"):
        texts[f"{directory}{NAME}/SKILL.md"] = skill
    return texts


def find_faults(texts: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each file that its format does not allow."""
    for path, text in texts.items():
        if path.endswith("SKILL.md"):
            faults = check_skill(text, Path(path).parent.name)
        elif path.endswith("marketplace.json"):
            faults = check_marketplace(json.loads(text))
        elif path.endswith("plugin.json"):
            faults = check_plugin(json.loads(text), with_schema=path.startswith("agent-plugin"))
        else:
            faults = check_servers(json.loads(text))
        yield from (f"{path}: {fault}" for fault in faults)


def check_skill(text: str, directory: str) -> Iterator[str]:
    """Yield what the Agent Skills format does not allow."""
    found = FRONT_MATTER.match(text)
    if found is None:
        yield "there is no front matter"
        return
    fields = dict(line.split(": ", 1) for line in found[1].splitlines() if ": " in line)
    name, description = fields.get("name", ""), fields.get("description", "")
    if unknown := fields.keys() - SKILL_FIELDS:
        yield f"unknown fields: {', '.join(sorted(unknown))}"
    if not SKILL_NAME.fullmatch(name) or len(name) > MAX_NAME or name != directory:
        yield "the name is not that of the directory, in lower-case letters, digits and hyphens"
    if not 0 < len(description) <= MAX_DESCRIPTION or ": " in description:
        yield f"the description is missing, longer than {MAX_DESCRIPTION} characters, or contains a colon"


def check_plugin(document: Json, *, with_schema: bool) -> Iterator[str]:
    """Yield what the manifest of a plugin does not allow."""
    if unknown := document.keys() - PLUGIN_FIELDS:
        yield f"unknown fields: {', '.join(sorted(unknown))}"
    if with_schema and document.get("$schema") != f"{SCHEMAS}/plugin.schema.json":
        yield "$schema is not that of version 1.0.0"
    name = document.get("name", "")
    if not PLUGIN_NAME.fullmatch(name) or len(name) > MAX_NAME:
        yield "the name has other characters than lower-case letters, digits, hyphens and periods"
    if wrong := [field for field in TEXT_FIELDS & document.keys() if not isinstance(document[field], str)]:
        yield f"not text: {', '.join(sorted(wrong))}"
    if not all(isinstance(word, str) for word in document.get("keywords", [])):
        yield "a keyword is not text"


def check_marketplace(document: Json) -> Iterator[str]:
    """Yield what the marketplace of Claude Code does not allow."""
    if not SKILL_NAME.fullmatch(document.get("name", "")) or not document.get("owner", {}).get("name"):
        yield "the name is not in lower-case letters, digits and hyphens, or there is no owner"
    for plugin in document.get("plugins", []):
        if not SKILL_NAME.fullmatch(plugin.get("name", "")) or not str(plugin.get("source", "")).startswith("./"):
            yield "a plugin has no name or no relative source"


def check_servers(document: Json) -> Iterator[str]:
    """Yield what the file of MCP servers does not allow."""
    if document.keys() - {"$schema", "mcpServers"}:
        yield "unknown fields"
    for server in document.get("mcpServers", {}).values():
        if server.get("type") != "stdio" or not server.get("command") or server.keys() - {"type", "command", "args"}:
            yield "a server is not of type stdio with a command"


def main() -> int:
    """Write the files, or check them."""
    texts = generate()
    faults = list(find_faults(texts))
    stale = [path for path, text in texts.items() if not _has_text(SKILLS / path, text)]
    if "--check" in sys.argv[1:]:
        faults += [f"{path}: stale; write it with scripts/write_plugins.py" for path in stale]
    else:
        for path in stale:
            (SKILLS / path).parent.mkdir(parents=True, exist_ok=True)
            (SKILLS / path).write_text(texts[path], encoding="utf-8")
    print("\n".join(faults) or f"{len(texts)} files of the skill and the plugins are valid")
    return 1 if faults else 0


def _has_text(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    sys.exit(main())
