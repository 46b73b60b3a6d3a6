"""`agent-brain read`: print lines of a file."""

from pathlib import Path
from urllib.parse import quote

import click

from agent_brain_cli.asking import ask_about
from agent_brain_cli.options import Target, budget_option, target_options, wait_option
from agent_brain_cli.paths import parse_location


@click.command()
@click.argument("location", metavar="PATH[:FROM-TO]")
@click.option("--numbers", "-n", is_flag=True, help="Print the number of each line.")
@budget_option
@wait_option
@target_options
def read(target: Target, location: str, numbers: bool, wait_ms: int, budget: int | None) -> None:
    """Print lines of a file.

    The file is shown as it is on disk now, if it is in the index.

    PATH is relative to the current directory or to the project root. Without a range, up to 400 lines are printed.
    Secrets, ignored files and files outside the project are refused.
    """
    found = parse_location(location, target.project_root, Path.cwd().resolve())
    parameters = {"from": found.first, "to": found.last, "numbers": numbers, "wait_ms": wait_ms}
    ask_about(target, f"/files/{quote(found.path)}", parameters, budget)
