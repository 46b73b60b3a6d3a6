"""Options that the subcommands share, and their values."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import click

from agent_brain_server.errors import StateDirError
from agent_brain_server.models import DEFAULT_BUDGET, MAX_BUDGET, MIN_BUDGET, MODES
from agent_brain_server.project_root import Project, locate_project, make_too_wide_error
from agent_brain_server.support.languages import list_languages, resolve_language, suggest_language

LIFECYCLE_TIMEOUT_S = 30.0
"""A server starts in two seconds and stops within five; a busy machine takes several times as long."""

timeout_option = click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=LIFECYCLE_TIMEOUT_S,
    metavar="SECONDS",
    help=f"Wait at most this long.  [default: {LIFECYCLE_TIMEOUT_S:g}]",
)

mode_option = click.option(
    "--mode",
    type=click.Choice(MODES),
    help="The project's own server, or the shared daemon.  [default: from config.json]",
)

MAX_WAIT_MS = 10_000
DEFAULT_WAIT_MS = 500  # a saved file is indexed in about 150 ms; without changes there is no wait

wait_option = click.option(
    "--wait-ms",
    type=click.IntRange(0, MAX_WAIT_MS),
    default=DEFAULT_WAIT_MS,
    metavar="MS",
    help=f"Wait at most this long for changes made before the command to be indexed.  [default: {DEFAULT_WAIT_MS}]",
)

budget_option = click.option(
    "--budget",
    type=click.IntRange(MIN_BUDGET, MAX_BUDGET),
    metavar="N",
    help=f"Print at most N tokens.  [default: {DEFAULT_BUDGET} for coding agents, except for `read`]",
)

MAX_LIMIT = 500
DEFAULT_LIMIT = 30  # some 1,000 tokens

limit_option = click.option(
    "--limit",
    "-k",
    type=click.IntRange(1, MAX_LIMIT),
    default=DEFAULT_LIMIT,
    metavar="N",
    help=f"Show at most N.  [default: {DEFAULT_LIMIT}]",
)

offset_option = click.option("--offset", type=click.IntRange(0), default=0, metavar="N", help="Skip the first N.")

path_option = click.option(
    "--path",
    "paths",
    multiple=True,
    metavar="GLOB",
    help="Only files that match: a path as results show it, or a glob from the project root as in .gitignore. "
    "Repeatable.",
)


@dataclass(frozen=True, slots=True)
class Target:
    """The project that a command concerns, and the format of its output.

    Attributes:
        project: The project: its root and its state directory.
        explicit: The user named the project or its state directory.
        as_json: Print one JSON document on stdout instead of text.
    """

    project: Project
    explicit: bool
    as_json: bool

    @property
    def project_root(self) -> Path:
        """Canonical root of the project."""
        return self.project.root

    @property
    def state_dir(self) -> Path:
        """Absolute path of the state directory, which need not exist."""
        return self.project.state_dir

    def require_project(self) -> None:
        """Refuse `/`, the home directory and the directories above it, unless the user named them.

        Raises:
            ConfigError: The root is one of them.
        """
        if self.project.is_too_wide:
            raise make_too_wide_error(self.project_root)


def target_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give `command` the shared options, and as its first argument the `Target` that they come to."""

    @click.option(
        "--project-root",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="Root directory of the project.  [default: found from the current directory]",
    )
    @click.option(
        "--state-dir",
        type=click.Path(file_okay=False, path_type=Path),
        help="Directory of the server's files.  [default: in the project]",
    )
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
    @functools.wraps(command)
    def with_target(project_root: Path | None, state_dir: Path | None, as_json: bool, **options: object) -> None:
        command(resolve_target(project_root, state_dir, as_json=as_json), **options)

    return with_target


def resolve_target(project_root: Path | None, state_dir: Path | None, *, as_json: bool = False) -> Target:
    """Find the project and its state directory.

    Args:
        project_root: Overrides the search that starts at the current directory.
        state_dir: Overrides the environment and the default; relative to the current directory.
        as_json: Print one JSON document.

    Raises:
        StateDirError: The current directory no longer exists.
    """
    try:
        start = project_root.absolute() if project_root else Path.cwd()
        named = state_dir.absolute() if state_dir else None
        project = locate_project(start, named, exact=project_root is not None)
    except FileNotFoundError as error:
        raise StateDirError(
            "The current directory no longer exists.", hint="Change to another directory, or use --project-root."
        ) from error
    return Target(project, explicit=project_root is not None or state_dir is not None, as_json=as_json)


def refuse_nan(context: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    """Refuse NaN, which passes every range check."""
    if value is not None and value != value:
        raise click.BadParameter("NaN is not in the range.", context, parameter)
    return value


def resolve_languages(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Return the languages for names and aliases; refuse unknown ones."""
    return tuple(_resolve_language(context, parameter, value) for value in values)


def _resolve_language(context: click.Context, parameter: click.Parameter, value: str) -> str:
    language = resolve_language(value)
    if language is None:
        close = suggest_language(value)
        guess = f" Did you mean '{close}'?" if close else ""
        allowed = f"Allowed are {list_languages()}, and aliases such as py, golang, ts and c++."
        raise click.BadParameter(f"unknown language '{value}'.{guess} {allowed}", context, parameter)
    return language


def named_options(options: Mapping[str, object]) -> dict[str, object]:
    """Return the options that the user gave, for a request: the server has the defaults of the others."""
    listed = {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}
    return {name: value for name, value in listed.items() if value not in (None, []) and value is not False}
