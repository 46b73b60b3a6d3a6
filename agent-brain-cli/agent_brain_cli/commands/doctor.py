"""`agent-brain doctor`: find problems, and show how to correct them."""

from collections import Counter
from dataclasses import asdict

import click

from agent_brain_cli.checks import CHECKS, CheckContext, run_check
from agent_brain_cli.options import Target, target_options
from agent_brain_cli.output import Json, colours_wanted, show, visible
from agent_brain_cli.servers import resolve_mode
from agent_brain_server.config.settings import ProjectConfig, load_settings
from agent_brain_server.errors import ConfigError
from agent_brain_server.storage_paths import brain_home
from agent_brain_server.support.text import pluralize

EXIT_FAILED = 1
COLOURS = {"ok": "green", "warning": "yellow", "failed": "red"}


@click.command()
@target_options
def doctor(target: Target) -> None:
    """Find problems, and show how to correct them.

    Prints one line for each check: ok, warning or failed, what was found, and the next step. Changes nothing and starts
    no server. Exits with code 1 if a check failed.
    """
    context = make_context(target)
    results = {name: run_check(name, context) for name in CHECKS}
    counts = Counter(result.status for result in results.values())
    document: Json = {
        "project_root": str(target.project_root),
        "state_dir": str(context.state_dir),
        "mode": "shared" if context.is_shared else "project",
        "checks": [{"check": name, **asdict(result)} for name, result in results.items()],
        "failed": counts["failed"],
        "warnings": counts["warning"],
    }
    show(document, render_results, as_json=target.as_json)
    if counts["failed"]:
        raise click.exceptions.Exit(EXIT_FAILED)


def make_context(target: Target) -> CheckContext:
    """Return the context of the checks of a project."""
    is_shared = resolve_mode(target).is_shared
    try:
        config = load_settings(target.state_dir).config
    except ConfigError:  # reported by the check of the settings
        config = ProjectConfig()
    return CheckContext(target, config, is_shared, brain_home() if is_shared else target.state_dir)


def render_results(document: Json) -> str:
    """Return one line for each check, and a summary."""
    width = max(map(len, CHECKS))
    lines = []
    for each in document["checks"]:
        status = f"{each['status']:<7}"
        shown = click.style(status, fg=COLOURS[each["status"]]) if colours_wanted() else status
        step = f" → {each['next_step']}" if each["next_step"] else ""
        lines.append(f"{shown}  {each['check']:<{width}}  {visible(each['message'] + step)}")
    lines.append(f"{document['failed']} failed, {pluralize(document['warnings'], 'warning')}")
    return "\n".join(lines)
