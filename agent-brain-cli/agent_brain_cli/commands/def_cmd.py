"""`agent-brain def`: show where a name is defined."""

from pathlib import Path

import click

from agent_brain_cli.asking import ask_about
from agent_brain_cli.options import (
    Target,
    budget_option,
    limit_option,
    offset_option,
    path_option,
    resolve_languages,
    target_options,
    wait_option,
)
from agent_brain_cli.path_globs import resolve_globs


@click.command("def")
@click.argument("name")
@click.option(
    "--kind", "kinds", multiple=True, metavar="KIND", help="Only this kind: class, def, fn, interface, … Repeatable."
)
@path_option
@click.option(
    "--language",
    "languages",
    multiple=True,
    metavar="NAME",
    callback=resolve_languages,
    help="Only this language, by name or alias. Repeatable.",
)
@click.option("--type", "source_types", multiple=True, type=click.Choice(["code", "test"]), help="Only these files.")
@limit_option
@offset_option
@budget_option
@wait_option
@target_options
def find_definition(
    target: Target,
    name: str,
    kinds: tuple[str, ...],
    paths: tuple[str, ...],
    languages: tuple[str, ...],
    source_types: tuple[str, ...],
    limit: int,
    offset: int,
    wait_ms: int,
    budget: int | None,
) -> None:
    """Show where a name is defined.

    NAME can be qualified as in any language: A::B, a.b, A#b, A->b, a/b. If nothing has this name, similar names are
    shown. Starts the server if needed, and indexes a project that was never indexed.
    """
    parameters = {
        "name": name,
        "kind": kinds,
        "path": resolve_globs(paths, target.project_root, Path.cwd().resolve()),
        "language": languages,
        "source_type": source_types,
        "limit": limit,
        "offset": offset,
        "wait_ms": wait_ms,
    }
    ask_about(target, "/symbols", parameters, budget)
