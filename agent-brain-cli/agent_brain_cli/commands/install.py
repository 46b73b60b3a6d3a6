"""`agent-brain install`: write Agent Brain into the configuration of coding agents."""

import difflib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from agent_brain_cli.hosts.catalog import HOST_NAMES, HOSTS, NAME, Host, Scope, find_host
from agent_brain_cli.hosts.edits import render_table
from agent_brain_cli.hosts.plans import Step, carry_out, plan_install
from agent_brain_cli.hosts.selection import find_command, list_edits
from agent_brain_cli.options import Target, target_options
from agent_brain_cli.output import Json, note, show, visible, visible_text
from agent_brain_server.errors import StateDirError

MAX_DIFF_LINE = 200  # a settings file can be one long line
DONE = {
    "create": "Created",
    "change": "Changed",
    "delete": "Removed",
    "unchanged": "Unchanged:",
    "keep": "Kept, as it has other content or users:",
}
PLANNED = DONE | {"create": "Would create", "change": "Would change", "delete": "Would remove"}

host_argument = click.argument("names", nargs=-1, type=click.Choice(HOST_NAMES), metavar="[HOST]...")
scope_option = click.option(
    "--scope",
    type=click.Choice(["user", "project"]),
    default="user",
    help="The files of the user, for all projects, or those of the current project.  [default: user]",
)
dry_run_option = click.option("--dry-run", is_flag=True, help="Show the changes as a diff, and write nothing.")


@click.command()
@host_argument
@click.option("--all", "every", is_flag=True, help="Every host that seems to be installed.")
@scope_option
@dry_run_option
@click.option("--print-config", is_flag=True, help="Print the MCP entry of each host, and write nothing.")
@target_options
def install(
    target: Target,
    names: Sequence[str],
    every: bool,
    scope: Scope,
    dry_run: bool,
    print_config: bool,
) -> None:
    """Write Agent Brain into the configuration of coding agents.

    Adds an MCP server, a skill, and a marked block in the file of instructions. Comments and formatting of existing
    files are kept. `agent-brain uninstall` restores them. Hosts: claude-code, codex, gemini, cursor, vscode, opencode,
    zed, windsurf.
    """
    if print_config:
        show(list_entries(names, scope), render_entries, as_json=target.as_json)
        return
    base = find_base(scope, target)
    hosts = choose_hosts(names, every=every)
    edits = [edit for host in hosts for edit in list_edits(host, base, scope)]
    steps = plan_install(edits, base)
    if not dry_run:
        carry_out(steps)
    show(describe_steps(steps, dry_run=dry_run), render_steps, as_json=target.as_json)
    if not dry_run and any(step.action != "unchanged" for step in steps):
        note("Restart the host to load the changes. To remove them: agent-brain uninstall")


def find_base(scope: Scope, target: Target) -> Path:
    """Return the home directory or the root of the project.

    Raises:
        ConfigError: The current directory is not in a project.
        StateDirError: The user has no home directory.
    """
    if scope == "project":
        target.require_project()
        return target.project_root
    try:
        return Path.home()
    except RuntimeError as error:
        raise StateDirError("This user has no home directory.", hint="Set HOME, or use --scope project.") from error


def choose_hosts(names: Sequence[str], *, every: bool) -> list[Host]:
    """Return the hosts that the user names, or chooses on a terminal from those that are installed.

    Raises:
        click.UsageError: None is named, and there is no terminal to ask on.
    """
    if names:
        return [find_host(name) for name in dict.fromkeys(names)]
    found = [host for host in HOSTS if host.is_installed(Path.home())]
    if not found:
        raise click.UsageError(f"No host was found. Name one: {', '.join(HOST_NAMES)}.")
    if every:
        return found
    titles = " ".join(host.name for host in found)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError(f"Name a host, or use --all. Found: {titles}.")
    answer = click.prompt(f"Found: {titles}\nWhich of them? (names, or all)", default="all", err=True)
    chosen = answer.replace(",", " ").split()
    if chosen == ["all"]:
        return found
    unknown = [name for name in chosen if name not in HOST_NAMES]
    if unknown:
        raise click.UsageError(f"Unknown host '{unknown[0]}'. Hosts are {', '.join(HOST_NAMES)}.")
    return [find_host(name) for name in chosen]


def list_entries(names: Sequence[str], scope: Scope) -> Json:
    """Return the MCP entry of each host, and a general one if no host is named."""
    command = find_command(scope)
    if not names:
        return {"entries": {"any host": {"mcpServers": {NAME: {"command": command, "args": ["mcp"]}}}}}
    entries: Json = {}
    for host in map(find_host, names):
        document: Json = {NAME: host.entry(command)}
        for key in reversed(host.keys):
            document = {key: document}
        entries[host.name] = document
    return {"entries": entries}


def render_entries(document: Json) -> str:
    """Return the entries as the host's file has them."""
    entries = document["entries"]
    texts = []
    for name, entry in entries.items():
        toml = entry.get("mcp_servers")
        text = render_table(toml[NAME]).rstrip() if toml else json.dumps(entry, indent=2, ensure_ascii=False)
        texts.append(text if len(entries) == 1 else f"# {name}\n{text}")
    return visible_text("\n\n".join(texts))


def describe_steps(steps: Sequence[Step], *, dry_run: bool) -> Json:
    """Return what was or would be done with each file."""
    return {
        "dry_run": dry_run,
        "files": [
            {
                "path": str(step.edit.path),
                "hosts": sorted(step.hosts),
                "content": {"json": "mcp", "toml": "mcp", "text": "instructions"}.get(step.edit.kind, step.edit.kind),
                "action": step.action,
            }
            | ({"diff": make_diff(step)} if dry_run else {})
            for step in steps
        ],
    }


def make_diff(step: Step) -> str:
    """Return a unified diff with one line of context; long lines are cut."""
    old, new = ([] if text is None else text.splitlines() for text in (step.before, step.after))
    path = str(step.edit.path)
    lines = difflib.unified_diff(
        old,
        new,
        path if step.before is not None else "/dev/null",
        path if step.after is not None else "/dev/null",
        lineterm="",
        n=1,
    )
    return "\n".join(line if len(line) <= MAX_DIFF_LINE else f"{line[:MAX_DIFF_LINE]}…" for line in lines)


def render_steps(document: Json) -> str:
    """Return one line for each file, or its diff."""
    words = PLANNED if document["dry_run"] else DONE
    lines = []
    for file in document["files"]:
        lines.append(f"{words[file['action']]} {visible(file['path'])} ({file['content']}: {', '.join(file['hosts'])})")
        if file.get("diff"):
            lines.append(visible_text(file["diff"]))
    return "\n".join(lines)
