"""`install` writes into the files of hosts, and `uninstall` restores them byte for byte."""

import json
import os
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from agent_brain_cli.hosts import jsonc
from agent_brain_cli.hosts.catalog import HOST_NAMES, HOSTS

SAMPLES = {
    ".claude.json": '{\n  "numStartups": 3,\n  "mcpServers": {},\n  "projects": {"/a": {"allowedTools": []}}\n}\n',
    ".claude/CLAUDE.md": "# Mine\n\n- Use tabs",
    ".codex/config.toml": '# my settings\nmodel = "o"  # best\n\n[mcp_servers.docs]\ncommand = "npx"\n',
    ".codex/AGENTS.md": "Be brief.\r\n",
    ".gemini/settings.json": '{"theme": "Dracula", "mcpServers": {"git": {"command": "uvx", "args": ["git"]}}}',
    ".cursor/mcp.json": '{\n\t"mcpServers": {\n\t\t"x": {\n\t\t\t"url": "https://example.com/mcp"\n\t\t}\n\t}\n}',
    ".config/Code/User/mcp.json": '{\r\n    "inputs": [],\r\n    "servers": {\r\n    }\r\n}\r\n',
    ".config/opencode/opencode.jsonc": '{\n  "$schema": "https://opencode.ai/config.json", // schema\n  "mcp": {\n'
    '    "jira": {"type": "remote", "url": "https://x"},\n  },\n}\n',
    ".config/zed/settings.json": '// Zed settings\n//\n{\n  "theme": "One Dark", // dark\n  /* servers */\n'
    '  "context_servers": {\n    "a": {"command": "a", "args": [], "env": {}} // last\n  }\n}\n',
    ".codeium/windsurf/mcp_config.json": "{}",
}


@pytest.fixture
def home(tmp_path, command):
    path = tmp_path / "user"
    path.mkdir()
    command.environment["HOME"] = str(path)
    for name in ("CLAUDE_CONFIG_DIR", "CODEX_HOME"):
        command.environment.pop(name, None)
    return path


@pytest.fixture
def samples(home):
    for name, text in SAMPLES.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_bytes(text.encode())
    return home


def read_tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def list_directories(root: Path) -> set[Path]:
    return {path for path in root.rglob("*") if path.is_dir()}


def test_install_every_host_adds_its_entry(command, samples):
    outcome = command("install", *HOST_NAMES, "--json")
    assert outcome.code == 0, outcome.err
    assert all(file["action"] in ("create", "change") for file in outcome.json["files"])
    keys = {
        ".claude.json": "mcpServers",
        ".gemini/settings.json": "mcpServers",
        ".cursor/mcp.json": "mcpServers",
        ".config/Code/User/mcp.json": "servers",
        ".config/opencode/opencode.jsonc": "mcp",
        ".config/zed/settings.json": "context_servers",
        ".codeium/windsurf/mcp_config.json": "mcpServers",
    }
    for name, key in keys.items():
        text = (samples / name).read_bytes().decode()
        entry = jsonc.parse(text)[key]["agent-brain"]
        words = entry["command"] if isinstance(entry["command"], list) else [entry["command"], *entry["args"]]
        assert os.path.basename(words[0]) == "agent-brain"
        assert words[1:] == ["mcp"]
        for comment in ("// schema", "// Zed settings", "/* servers */", "// last", "// dark"):
            assert (comment in text) == (comment in SAMPLES[name])
    settings = (samples / ".codex/config.toml").read_text()
    assert settings.startswith(SAMPLES[".codex/config.toml"])
    assert tomllib.loads(settings)["mcp_servers"]["agent-brain"]["args"] == ["mcp"]
    assert (samples / ".claude/CLAUDE.md").read_text().count("agent-brain:begin") == 1


def test_install_twice_changes_nothing(command, samples):
    command("install", *HOST_NAMES)
    before = read_tree(samples)
    outcome = command("install", *HOST_NAMES, "--json")
    assert {file["action"] for file in outcome.json["files"]} == {"unchanged"}
    assert read_tree(samples) == before


@pytest.mark.parametrize("scope", ["user", "project"])
def test_uninstall_restores_every_byte(command, samples, scope):
    tree = samples if scope == "user" else command.project
    for name in ("AGENTS.md", "CLAUDE.md"):
        (command.project / name).write_bytes(b"# Notes\r\n\r\nNo newline")
    before, directories = read_tree(tree), list_directories(tree)
    assert command("install", *HOST_NAMES, "--scope", scope).code == 0
    assert read_tree(tree) != before
    outcome = command("uninstall", "--scope", scope)
    assert outcome.code == 0, outcome.err
    assert read_tree(tree) == before
    assert list_directories(tree) == directories


def test_uninstall_without_record_removes_entries(command, samples):
    command("install", *HOST_NAMES)
    (Path(command.environment["AGENT_BRAIN_HOME"]) / "installed.json").unlink()
    assert command("uninstall").code == 0
    assert not any(b"agent-brain" in data for data in read_tree(samples).values())
    for name in SAMPLES:
        text = (samples / name).read_bytes().decode()
        if not name.endswith((".md", ".toml")):
            assert jsonc.parse(text).items() >= {k: v for k, v in jsonc.parse(SAMPLES[name]).items() if v}.items()


def test_uninstall_keeps_later_changes(command, samples):
    command("install", "claude-code", "codex")
    path, settings = samples / ".claude.json", samples / ".codex/config.toml"
    document = json.loads(path.read_text()) | {"numStartups": 4}
    path.write_text(json.dumps(document))
    settings.write_text(settings.read_text() + '\n# colours\n[tui]\ntheme = "dark"\n')
    command("uninstall")
    assert "# colours" in settings.read_text()
    assert json.loads(path.read_text()) == json.loads(SAMPLES[".claude.json"]) | {"numStartups": 4}
    assert tomllib.loads(settings.read_text()) == tomllib.loads(SAMPLES[".codex/config.toml"]) | {
        "tui": {"theme": "dark"}
    }


def test_uninstall_of_one_host_keeps_shared_files(command, home):
    command("install", "codex", "zed")
    skill = home / ".agents/skills/agent-brain/SKILL.md"
    command("uninstall", "codex")
    assert skill.is_file()
    assert not (home / ".codex").exists()
    command("uninstall", "zed")
    assert read_tree(home) == {}


def test_install_dry_run_writes_nothing(command, samples):
    before = read_tree(samples)
    outcome = command("install", *HOST_NAMES, "--dry-run")
    assert "+[mcp_servers.agent-brain]" in outcome.out
    assert read_tree(samples) == before
    assert not (Path(command.environment["AGENT_BRAIN_HOME"]) / "installed.json").exists()


def test_install_keeps_entry_of_the_user(command, home):
    (home / ".cursor").mkdir()
    text = '{"mcpServers": {"agent-brain": {"command": "agent-brain", "args": ["mcp"], "env": {"A": "1"}}}}'
    (home / ".cursor/mcp.json").write_text(text)
    outcome = command("install", "cursor", "--json")
    assert [file["action"] for file in outcome.json["files"]] == ["keep", "create"]
    assert (home / ".cursor/mcp.json").read_text() == text


def test_install_updates_earlier_version(command, home):
    (home / ".claude").mkdir()
    notes = home / ".claude/CLAUDE.md"
    notes.write_text("# Mine\n<!-- agent-brain:begin -->\nold\n<!-- agent-brain:end -->\nmore\n")
    command("install", "claude-code")
    assert "old" not in notes.read_text()
    command("uninstall")
    assert notes.read_text() == "# Mine\nmore\n"


@pytest.mark.parametrize("text", ["{", '{"mcpServers": []}', "[]", '{"a": 1,, }', "\x00", '{"mcpServers": {"a": 1'])
def test_install_refuses_damaged_json(command, home, text):
    (home / ".cursor").mkdir()
    (home / ".cursor/mcp.json").write_text(text)
    outcome = command("install", "claude-code", "cursor")
    assert outcome.code == 2
    assert "mcp.json" in outcome.error_lines[-2]
    assert "--print-config" in outcome.error_lines[-1]
    assert read_tree(home) == {".cursor/mcp.json": text.encode()}


@pytest.mark.parametrize(
    "text", ["a = ", "mcp_servers = 1\n", "mcp_servers = {}\n", "[mcp_servers]\nagent-brain = 1\n[["]
)
def test_install_refuses_damaged_toml(command, home, text):
    (home / ".codex").mkdir()
    (home / ".codex/config.toml").write_text(text)
    assert command("install", "codex").code == 2
    assert (home / ".codex/config.toml").read_text() == text


def make_link(path: Path) -> None:
    (path.parent / "elsewhere").write_text("{}")
    path.symlink_to("elsewhere")


def make_read_only(path: Path) -> None:
    path.write_text("{}")
    path.chmod(0o444)


def make_hard_link(path: Path) -> None:
    path.write_text("{}")
    os.link(path, path.parent / "other")


@pytest.mark.parametrize("make", [make_link, make_read_only, make_hard_link, os.mkfifo, Path.mkdir])
def test_install_refuses_special_file(command, home, make):
    (home / ".cursor").mkdir()
    make(home / ".cursor/mcp.json")
    outcome = command("install", "cursor")
    assert outcome.code == 2
    assert "not edited" in outcome.error_lines[-2]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_install_refuses_file_of_another_user(command, home):
    (home / ".cursor").mkdir()
    (home / ".cursor/mcp.json").write_text("{}")
    os.chown(home / ".cursor/mcp.json", 12345, 12345)
    assert "another user" in command("install", "cursor").err


def test_install_in_project_refuses_linked_directory(command, home, tmp_path):
    (tmp_path / "target").mkdir()
    (command.project / ".cursor").symlink_to(tmp_path / "target")
    assert command("install", "cursor", "--scope", "project").code == 2
    assert not list((tmp_path / "target").iterdir())


def test_install_keeps_permissions(command, home):
    (home / ".cursor").mkdir()
    path = home / ".cursor/mcp.json"
    path.write_text("{}")
    path.chmod(0o600)
    command("install", "cursor")
    assert path.stat().st_mode & 0o777 == 0o600


def test_install_without_host_asks_nobody(command, home):
    (home / ".cursor").mkdir()
    outcome = replace(command, environment=command.environment | {"PATH": str(home)})("install")
    assert outcome.code == 2
    assert "Found: cursor" in outcome.err
    assert not (home / ".cursor/mcp.json").exists()


def test_install_all_takes_found_hosts(command, home):
    (home / ".codeium/windsurf").mkdir(parents=True)
    outcome = replace(command, environment=command.environment | {"PATH": str(home)})("install", "--all", "--json")
    assert {host for file in outcome.json["files"] for host in file["hosts"]} == {"windsurf"}


@pytest.mark.parametrize("host", HOSTS, ids=HOST_NAMES)
def test_print_config_is_what_install_writes(command, home, host):
    printed = command("install", host.name, "--print-config").out
    command("install", host.name)
    path = host.find_config(home, "user")
    parse = tomllib.loads if path.suffix == ".toml" else json.loads
    assert parse(printed) == parse(path.read_text())


def test_install_in_project_names_the_command(command, home):
    command("install", "claude-code", "--scope", "project")
    entry = json.loads((command.project / ".mcp.json").read_text())["mcpServers"]["agent-brain"]
    assert entry == {"type": "stdio", "command": "agent-brain", "args": ["mcp"]}


def test_install_follows_moved_directories(command, home, tmp_path):
    command.environment["CLAUDE_CONFIG_DIR"] = str(tmp_path / "moved")
    (tmp_path / "moved").mkdir()
    command("install", "claude-code")
    assert (tmp_path / "moved/.claude.json").is_file()
    assert (tmp_path / "moved/CLAUDE.md").is_file()
    command("uninstall")
    assert read_tree(tmp_path / "moved") == {}
