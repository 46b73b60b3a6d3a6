"""The edits that a host needs in a scope."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from agent_brain_cli.hosts.catalog import NAME, Host, Scope
from agent_brain_cli.hosts.edits import BLOCK, Edit
from agent_brain_cli.hosts.skill import read_skill


def list_edits(host: Host, base: Path, scope: Scope) -> Iterator[Edit]:
    """Yield the edits of a host's files.

    Args:
        host: The host.
        base: The home directory or the project.
        scope: The user's files or those of a project.
    """
    command = find_command(scope)
    config = host.find_config(base, scope)
    if config is not None:
        yield Edit(config, "toml" if config.suffix == ".toml" else "json", host, host.entry(command))
    if scope in host.skills:
        directory = host.resolve(base, host.skills[scope], scope)
        yield Edit(directory / NAME / "SKILL.md", "skill", host, read_skill())
    if scope in host.instructions:
        yield Edit(host.resolve(base, host.instructions[scope], scope), "text", host, BLOCK)


def find_command(scope: Scope) -> str:
    """Return the command of an entry.

    A project's files are shared, so they name the command. The user's files hold an absolute path, since a host that is
    started from a desktop often has another PATH than a shell.
    """
    found = shutil.which(NAME)
    beside = Path(sys.executable).with_name(NAME)
    if scope == "project":
        return NAME
    if found and (not beside.exists() or os.path.samefile(found, beside)):
        return os.path.abspath(found)
    return str(beside) if beside.exists() else NAME
