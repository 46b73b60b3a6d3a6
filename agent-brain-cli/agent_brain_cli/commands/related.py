"""`agent-brain related`: show what belongs to the code at a line."""

from pathlib import Path

import click

from agent_brain_cli.asking import ask_about
from agent_brain_cli.options import Target, budget_option, target_options, wait_option
from agent_brain_cli.paths import parse_location


@click.command()
@click.argument("location", metavar="PATH:LINE")
@budget_option
@wait_option
@target_options
def related(target: Target, location: str, wait_ms: int, budget: int | None) -> None:
    """Show what belongs to the code at a line.

    That is its definition and what encloses it, the code that uses it, the definitions that it uses, and the tests and
    documents that mention it.
    """
    found = parse_location(location, target.project_root, Path.cwd().resolve())
    if found.first is None:
        raise click.UsageError(f"Name a line too: {location}:1")
    ask_about(target, "/related", {"path": found.path, "line": found.first, "wait_ms": wait_ms}, budget)
