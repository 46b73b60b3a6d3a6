"""`agent-brain read`: print lines of a file."""

from pathlib import Path
from urllib.parse import quote

import click

from agent_brain_cli.asking import ask_about
from agent_brain_cli.options import Target, target_options, wait_option
from agent_brain_cli.output import Json, visible, visible_text
from agent_brain_cli.paths import parse_location
from agent_brain_cli.results import locate
from agent_brain_server.support.text import pluralize


@click.command()
@click.argument("location", metavar="PATH[:FROM-TO]")
@click.option("--numbers", "-n", is_flag=True, help="Print the number of each line.")
@wait_option
@target_options
def read(target: Target, location: str, numbers: bool, wait_ms: int) -> None:
    """Print lines of a file.

    The file is shown as it is on disk now, if it is in the index.

    PATH is relative to the current directory or to the project root. Without a range, up to 400 lines are printed.
    Secrets, ignored files and files outside the project are refused.
    """
    found = parse_location(location, target.project_root, Path.cwd().resolve())
    ask_about(
        target,
        f"/files/{quote(found.path)}",
        {"from": found.first, "to": found.last, "wait_ms": wait_ms},
        lambda answer: format_lines(answer, target.project_root, numbers=numbers),
        lambda answer: (describe_limits(answer, found.last),),
    )


def format_lines(answer: Json, project_root: Path, *, numbers: bool) -> str:
    """Return the lines of an answer below a heading with their location."""
    path = visible(locate(answer["source"], project_root))
    first, last, total = answer["start_line"], answer["end_line"], answer["total_lines"]
    rows = visible_text(answer["text"]).split("\n")
    if numbers:
        width = len(str(last))
        rows = [f"{number:>{width}}  {row}".rstrip() for number, row in enumerate(rows, first)]
    rest = [f"… {pluralize(total - last, 'more line')}: agent-brain read {path}:{last + 1}-"] if last < total else []
    return "\n".join((f"{path}:{first}-{last} of {pluralize(total, 'line')}", *rows, *rest))


def describe_limits(answer: Json, last: int | None) -> str | None:
    """Return what the answer lacks of the request, or `None` if it is complete."""
    remarks = []
    if last is not None and last > answer["total_lines"]:
        remarks.append(f"The file ends at line {answer['total_lines']}.")
    if answer["cut_lines"]:
        remarks.append(f"{pluralize(answer['cut_lines'], 'line')} cut after 2,000 characters.")
    return " ".join(remarks) or None
