"""`agent-brain refs`: show where a name is used."""

from pathlib import Path

import click

from agent_brain_cli.asking import ask_about
from agent_brain_cli.options import (
    Target,
    budget_option,
    limit_option,
    offset_option,
    path_option,
    target_options,
    wait_option,
)
from agent_brain_cli.path_globs import resolve_globs


@click.command()
@click.argument("name")
@click.option("--by-file", is_flag=True, help="Group the uses by file.")
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice(["call", "import", "inherit", "use"]),
    help="Only this kind of use. Repeatable.",
)
@path_option
@limit_option
@offset_option
@budget_option
@wait_option
@target_options
def refs(
    target: Target,
    name: str,
    by_file: bool,
    kinds: tuple[str, ...],
    paths: tuple[str, ...],
    limit: int,
    offset: int,
    wait_ms: int,
    budget: int | None,
) -> None:
    """Show where a name is used.

    Each use has the definition that it is in. Uses in code come before those in tests. NAME can be qualified (A::B,
    a.b, A#b): the files that mention its qualifier then come first. Uses are found by name, so that those of other
    definitions of the same name are included; an ambiguous name is reported with its definitions.
    """
    parameters = {
        "name": name,
        "kind": kinds,
        "by_file": by_file,
        "path": resolve_globs(paths, target.project_root, Path.cwd().resolve()),
        "limit": limit,
        "offset": offset,
        "wait_ms": wait_ms,
    }
    ask_about(target, "/references", parameters, budget)
