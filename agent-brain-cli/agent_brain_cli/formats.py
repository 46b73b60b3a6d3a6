"""Formats of an answer: text for people, compact text for agents, and JSON."""

import itertools
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import click

Format = Literal["text", "compact", "json"]
FORMATS: tuple[Format, ...] = get_args(Format)

AGENT_VARIABLES = ("CLAUDECODE", "CURSOR_AGENT", "GEMINI_CLI", "AGENT")
"""Environment variables that coding agents set for the commands they run."""

SCORES = frozenset({"score", "vector_score", "bm25_score", "value", "contribution"})
SCORE_DIGITS = 4
NEW_DEFAULTS: Mapping[str, object] = {"merged": [], "copies": [], "answers": [], "context": [], "part": 1, "parts": 1}
"""Values of a result that say nothing, and that JSON leaves out."""


def choose_format(chosen: Format | None, *, as_json: bool, budget: int | None, full: bool, explain: bool) -> Format:
    """Return the format of an answer: compact for agents, unless an option asks for another one.

    Args:
        chosen: The option `--format`.
        as_json: The option `--json`.
        budget: The option `--budget`.
        full: The option `--full`.
        explain: The option `--explain`.

    Raises:
        click.UsageError: Options contradict each other.
    """
    if as_json and chosen not in (None, "json"):
        raise click.UsageError(f"--json and --format {chosen} contradict each other.")
    if full and budget is not None:
        raise click.UsageError("--full shows every line, so it cannot have a budget.")
    chosen = "json" if as_json else chosen
    if chosen is None:
        for_agent = is_run_by_agent() and not (full or explain)
        chosen = "compact" if for_agent or budget is not None else "text"
    if chosen == "text" and budget is not None:
        raise click.UsageError("The format text has no budget. Use --format compact, or json.")
    if chosen == "compact" and (full or explain):
        option = "--full" if full else "--explain"
        raise click.UsageError(f"{option} is not possible in the format compact. Use --format json, or text.")
    return chosen


def is_run_by_agent() -> bool:
    """Return whether a coding agent reads the output: it is no terminal, and a variable of an agent is set."""
    return not sys.stdout.isatty() and any(os.environ.get(name) for name in AGENT_VARIABLES)


def asks_for_json(arguments: Sequence[str]) -> bool:
    """Return whether a command line that could not be parsed asks for JSON."""
    follows_format = (second for first, second in itertools.pairwise(arguments) if first == "--format")
    return "--json" in arguments or "--format=json" in arguments or "json" in follows_format


def find_paths_from(project_root: Path) -> str:
    """Return `paths_from` of a request, so that paths in a compact answer open from the current directory."""
    current = Path.cwd().resolve()
    if not current.is_relative_to(project_root):
        return "/"
    relative = current.relative_to(project_root).as_posix()
    return "" if relative == "." else relative


def shorten_answer(value: Any) -> Any:  # noqa: ANN401 - any part of a JSON document
    """Return a JSON document without nulls and values that say nothing, and with scores of four digits."""
    if isinstance(value, list):
        return [shorten_answer(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {name: item for name, item in value.items() if item is not None and NEW_DEFAULTS.get(name, ...) != item}
    return {
        name: float(f"{item:.{SCORE_DIGITS}g}") if name in SCORES and isinstance(item, float) else shorten_answer(item)
        for name, item in kept.items()
    }
