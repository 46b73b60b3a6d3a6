"""`agent-brain uninstall`: remove Agent Brain from the configuration of coding agents."""

from collections.abc import Sequence

import click

from agent_brain_cli.commands.install import (
    describe_steps,
    dry_run_option,
    find_base,
    host_argument,
    render_steps,
    scope_option,
)
from agent_brain_cli.hosts.catalog import HOSTS, Scope, find_host
from agent_brain_cli.hosts.plans import carry_out, plan_uninstall
from agent_brain_cli.hosts.selection import list_edits
from agent_brain_cli.options import Target, target_options
from agent_brain_cli.output import Json, show


@click.command()
@host_argument
@scope_option
@dry_run_option
@target_options
def uninstall(target: Target, names: Sequence[str], scope: Scope, dry_run: bool) -> None:
    """Remove Agent Brain from the configuration of coding agents.

    Without a host, it is removed from all of them. Files that were not changed since `install` are restored byte for
    byte; from others, only the entry is removed. Indexes and servers stay.
    """
    base = find_base(scope, target)
    hosts = [find_host(name) for name in dict.fromkeys(names)] or list(HOSTS)
    edits = [edit for host in hosts for edit in list_edits(host, base, scope)]
    steps = plan_uninstall(edits, hosts, base)
    if not dry_run:
        carry_out(steps)
    touched = [step for step in steps if step.action != "unchanged"]
    show(describe_steps(touched, dry_run=dry_run), render_removed, as_json=target.as_json)


def render_removed(document: Json) -> str:
    """Return one line for each file, or that there was none."""
    return render_steps(document) or "Agent Brain was not installed in any host."
