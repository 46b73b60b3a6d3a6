"""The hosts of coding agents: their files, and the entry that each of them reads.

Sources, read in November 2026: code.claude.com/docs (mcp, skills, memory), developers.openai.com/codex (mcp,
skills, config), geminicli.com/docs, cursor.com/docs (mcp, skills), code.visualstudio.com/docs (mcp-configuration,
agent-skills), opencode.ai/docs and opencode.ai/v1/docs, zed.dev/docs/ai, docs.windsurf.com.
"""

import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Scope = Literal["user", "project"]
Kind = Literal["json", "toml", "text", "skill"]
Entry = dict[str, Any]

NAME = "agent-brain"
"""Name of the MCP server and of the skill in every host."""

ARGUMENTS = ["mcp"]


@dataclass(frozen=True, slots=True)
class Host:
    """A host of a coding agent; paths are relative to the home directory or to the project.

    Attributes:
        name: Its name on the command line.
        title: Its name in text.
        programs: Names of its command.
        traces: Files and directories in the home directory that it creates.
        config: Its file of MCP servers for each scope, the first existing one or else the first.
        keys: Names from the root of that file to the table of servers.
        entry: Returns the entry for a command.
        skills: Its directory of skills for each scope.
        instructions: Its file of instructions for each scope.
        variable: Environment variable that replaces the first directory of the user's files.
    """

    name: str
    title: str
    programs: Sequence[str]
    traces: Sequence[str]
    config: Mapping[Scope, Sequence[str]]
    keys: tuple[str, ...]
    entry: Callable[[str], Entry]
    skills: Mapping[Scope, str]
    instructions: Mapping[Scope, str]
    variable: str = ""

    def resolve(self, base: Path, relative: str, scope: Scope) -> Path:
        """Return the path of one of its files.

        Args:
            base: The home directory or the project.
            relative: A path of this host.
            scope: The user's files can be moved by an environment variable.
        """
        moved = os.environ.get(self.variable) if self.variable and scope == "user" else None
        first, _, rest = relative.partition("/")
        if moved and first == self.traces[0]:
            return Path(moved, rest)
        if moved and not rest and first in self.traces:
            return Path(moved, first)
        return base / relative

    def find_config(self, base: Path, scope: Scope) -> Path | None:
        """Return the file of MCP servers: the first that exists, or else the first; `None` without one."""
        paths = [self.resolve(base, relative, scope) for relative in self.config.get(scope, ())]
        return next((path for path in paths if os.path.lexists(path)), paths[0] if paths else None)

    def is_installed(self, home: Path) -> bool:
        """Return whether the host seems to be installed for this user."""
        return any(map(shutil.which, self.programs)) or any((home / trace).exists() for trace in self.traces)


def _standard(command: str) -> Entry:
    return {"command": command, "args": ARGUMENTS}


def _typed(command: str) -> Entry:
    return {"type": "stdio", "command": command, "args": ARGUMENTS}


def _opencode(command: str) -> Entry:
    return {"type": "local", "command": [command, *ARGUMENTS]}


VSCODE_USER = "Library/Application Support/Code/User" if sys.platform == "darwin" else ".config/Code/User"

HOSTS: tuple[Host, ...] = (
    Host(
        "claude-code",
        "Claude Code",
        ("claude",),
        (".claude", ".claude.json"),
        {"user": (".claude.json",), "project": (".mcp.json",)},
        ("mcpServers",),
        _typed,
        {"user": ".claude/skills", "project": ".claude/skills"},
        {"user": ".claude/CLAUDE.md", "project": "CLAUDE.md"},
        variable="CLAUDE_CONFIG_DIR",
    ),
    Host(
        "codex",
        "Codex",
        ("codex",),
        (".codex",),
        {"user": (".codex/config.toml",), "project": (".codex/config.toml",)},
        ("mcp_servers",),
        _standard,
        {"user": ".agents/skills", "project": ".agents/skills"},
        {"user": ".codex/AGENTS.md", "project": "AGENTS.md"},
        variable="CODEX_HOME",
    ),
    Host(
        "gemini",
        "Gemini CLI",
        ("gemini",),
        (".gemini/settings.json",),
        {"user": (".gemini/settings.json",), "project": (".gemini/settings.json",)},
        ("mcpServers",),
        _standard,
        {"user": ".gemini/skills", "project": ".gemini/skills"},
        {"user": ".gemini/GEMINI.md", "project": "GEMINI.md"},
    ),
    Host(
        "cursor",
        "Cursor",
        ("cursor", "cursor-agent"),
        (".cursor",),
        {"user": (".cursor/mcp.json",), "project": (".cursor/mcp.json",)},
        ("mcpServers",),
        _typed,
        {"user": ".cursor/skills", "project": ".cursor/skills"},
        {"project": "AGENTS.md"},
    ),
    Host(
        "vscode",
        "VS Code with Copilot",
        ("code",),
        (VSCODE_USER,),
        {"user": (f"{VSCODE_USER}/mcp.json",), "project": (".vscode/mcp.json",)},
        ("servers",),
        _typed,
        {"user": ".copilot/skills", "project": ".github/skills"},
        {"project": "AGENTS.md"},
    ),
    Host(
        "opencode",
        "OpenCode",
        ("opencode",),
        (".config/opencode",),
        {
            "user": (".config/opencode/opencode.json", ".config/opencode/opencode.jsonc"),
            "project": ("opencode.json", "opencode.jsonc", ".opencode/opencode.json", ".opencode/opencode.jsonc"),
        },
        ("mcp", "servers"),
        _opencode,
        {"user": ".config/opencode/skills", "project": ".opencode/skills"},
        {"user": ".config/opencode/AGENTS.md", "project": "AGENTS.md"},
    ),
    Host(
        "zed",
        "Zed",
        ("zed", "zeditor"),
        (".config/zed",),
        {"user": (".config/zed/settings.json",), "project": (".zed/settings.json",)},
        ("context_servers",),
        _standard,
        {"user": ".agents/skills", "project": ".agents/skills"},
        {"user": ".config/zed/AGENTS.md", "project": "AGENTS.md"},
    ),
    Host(
        "windsurf",
        "Windsurf",
        ("windsurf",),
        (".codeium/windsurf",),
        {"user": (".codeium/windsurf/mcp_config.json",)},
        ("mcpServers",),
        _standard,
        {"user": ".codeium/windsurf/skills", "project": ".windsurf/skills"},
        {"project": "AGENTS.md"},
    ),
)

HOST_NAMES = tuple(host.name for host in HOSTS)


def find_host(name: str) -> Host:
    """Return the host of a name in `HOST_NAMES`."""
    return next(host for host in HOSTS if host.name == name)


def server_keys(host: Host, document: object) -> tuple[str, ...]:
    """Return the names from the root of a host's file to the table of MCP servers.

    OpenCode 1 has the servers directly in `mcp`, OpenCode 2 in `mcp.servers`; a file keeps the form that it has.
    """
    servers = document.get("mcp") if host.name == "opencode" and isinstance(document, dict) else None
    if isinstance(servers, dict) and servers and not isinstance(servers.get("servers"), dict):
        return ("mcp",)
    return host.keys
