"""`agent-brain outline`: show what a file or a directory defines."""

from pathlib import Path

import click

from agent_brain_cli.asking import ask_about
from agent_brain_cli.options import Target, budget_option, offset_option, target_options, wait_option
from agent_brain_cli.paths import parse_location

MAX_LIMIT = 500


@click.command()
@click.argument("path", default=".")
@click.option(
    "--limit",
    type=click.IntRange(1, MAX_LIMIT),
    default=MAX_LIMIT,
    metavar="N",
    help=f"Show at most N definitions, or files of a directory.  [default: {MAX_LIMIT}]",
)
@offset_option
@budget_option
@wait_option
@target_options
def outline(target: Target, path: str, limit: int, offset: int, wait_ms: int, budget: int | None) -> None:
    """Show what a file or a directory defines.

    For a file, every definition with its lines, signature and first sentence of documentation; for a document, its
    headings; for a directory, its subdirectories, and its files with their outermost definitions.
    """
    found = parse_location(path, target.project_root, Path.cwd().resolve())
    parameters = {"path": found.path, "limit": limit, "offset": offset, "wait_ms": wait_ms}
    ask_about(target, "/outline", parameters, budget)
