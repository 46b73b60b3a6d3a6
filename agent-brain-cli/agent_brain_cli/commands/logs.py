"""`agent-brain logs`: what the server has logged, for a person to read."""

import contextlib
from datetime import datetime
from pathlib import Path

import click

from agent_brain_cli.ignored import note_ignored
from agent_brain_cli.log_lines import LineFilter, follow, open_log, read_last
from agent_brain_cli.options import Target, mode_option, target_options
from agent_brain_cli.render import Json, colours_wanted, note, show, visible
from agent_brain_cli.servers import resolve_mode
from agent_brain_server.config.settings import load_settings
from agent_brain_server.errors import NotRunningError, StateDirError
from agent_brain_server.project_root import generate_project_id
from agent_brain_server.storage_paths import LOG_DIR, SERVER_LOG_FILE, brain_home, locate_below

DEFAULT_LINES = 40  # a screen

COLOURS = {"warning": "yellow", "error": "red", "critical": "red"}
SHOWN_APART = ("time", "level", "message", "exception", "logger", "instance_id", "project_id")


@click.command()
@mode_option
@click.option("--follow", "-f", "following", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option(
    "--lines",
    "-n",
    type=click.IntRange(min=0),
    default=DEFAULT_LINES,
    show_default=True,
    metavar="N",
    help="How many of the last.",
)
@click.option(
    "--level", type=click.Choice(["debug", "info", "warning", "error"]), default="debug", help="Only this and worse."
)
@click.option("--previous", is_flag=True, help="Only of the run before the last.")
@target_options
def logs(target: Target, mode: str | None, following: bool, lines: int, level: str, previous: bool) -> None:
    """Show what the server has logged.

    Each line has its time, level and message, then whose work it was: the id of the request and the job. Of the log of
    the daemon that projects share, what concerns this project is shown; with --mode shared, all of it.
    """
    if following and (target.as_json or previous):
        raise click.UsageError("--follow goes with neither --json nor --previous: it does not come to an end.")
    shared = mode == "shared" or (mode is None and resolve_mode(target).is_shared)
    if not shared:
        note_ignored(target)
    log_dir = find_log_dir(target, shared=shared)
    wanted = LineFilter(level, generate_project_id(target.project_root) if shared and mode is None else None)
    path = log_dir / SERVER_LOG_FILE
    try:
        file = open_log(log_dir)
    except FileNotFoundError as error:
        start = "agent-brain start --mode shared" if shared else "agent-brain start"
        raise NotRunningError(f"{path} does not exist: no server has run yet.", hint=f"Start one: {start}") from error
    except OSError as error:
        raise StateDirError(f"{path} cannot be read: {error.strerror}.") from error
    with file:
        found = read_last(log_dir, file, lines, wanted, previous=previous)
        show({"log_file": str(path), "lines": found}, render_lines, as_json=target.as_json)
        if lines and not found and not following:
            note(f"{path} holds nothing {'of an earlier run' if previous else 'of this kind'}.")
        if following:
            with contextlib.suppress(KeyboardInterrupt):  # how following is meant to end
                for entry in follow(log_dir, file, wanted):
                    show(entry, render_line, as_json=False)


def find_log_dir(target: Target, *, shared: bool) -> Path:
    """Return where the log of the project's server, or of the daemon, lies."""
    if shared:
        return brain_home() / LOG_DIR
    return locate_below(target.state_dir, load_settings(target.state_dir).config.log_dir)


def render_lines(document: Json) -> str | None:
    """Return the lines one below the other; None where there is none."""
    return "\n".join(map(render_line, document["lines"])) or None


def render_line(entry: Json) -> str:
    """Return one line of the log as text; an exception follows indented."""
    level = str(entry.get("level", ""))
    context = " ".join(f"{key}={value}" for key, value in entry.items() if key not in SHOWN_APART)
    head = visible(f"{format_time(entry.get('time'))} {level:<7} {entry['message']}")
    if level in COLOURS and colours_wanted():
        head = click.style(head, fg=COLOURS[level])
    lines = [f"{head}  [{visible(context)}]" if context else head]
    lines += [f"    {visible(line)}" for line in str(entry.get("exception", "")).splitlines()]
    return "\n".join(lines)


def format_time(time: object) -> str:
    """Return the time of a line on this machine's clock."""
    try:
        moment = datetime.fromisoformat(str(time)).astimezone()
    except (ValueError, OverflowError):
        return "-" * 23
    return moment.isoformat(sep=" ", timespec="milliseconds")[:23]
