"""Tables about solved tasks, calls and tokens."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from benchmarks.agent_tasks.running import REFERENCE, Attempt
from benchmarks.agent_tasks.task_set import CATEGORIES


def summarize(attempts: Sequence[Attempt]) -> dict[str, dict[str, float]]:
    """Return, for each way, the solved tasks and the mean calls and tokens until solved or given up."""
    ways = dict.fromkeys(attempt.way for attempt in attempts)
    return {way: _summarize_way([attempt for attempt in attempts if attempt.way == way]) for way in ways}


def _summarize_way(attempts: Sequence[Attempt]) -> dict[str, float]:
    return {
        "tasks": len(attempts),
        "solved": sum(attempt.is_solved for attempt in attempts),
        "calls": sum(attempt.calls for attempt in attempts),
        "tokens": sum(attempt.tokens for attempt in attempts),
    }


def format_tables(attempts: Sequence[Attempt]) -> str:
    """Return the tables of a set as Markdown."""
    return "\n\n".join((format_ways(summarize(attempts)), format_categories(attempts)))


def format_ways(summary: Mapping[str, Mapping[str, float]]) -> str:
    """Return a table with a row for each way."""
    reference = summary.get(REFERENCE)
    rows = []
    for way, figures in summary.items():
        tasks = figures["tasks"]
        cells = [
            way,
            f"{figures['solved']:.0f} of {tasks:.0f} ({figures['solved'] / tasks:.0%})",
            f"{figures['calls'] / tasks:.2f}",
            f"{figures['tokens'] / tasks:,.0f}",
        ]
        if reference:
            cells += [f"{figures[key] / reference[key]:.2f}" for key in ("calls", "tokens")]
        rows.append(cells)
    head = ["way", "solved", "calls per task", "tokens per task"]
    return format_table(head + (["calls, relative", "tokens, relative"] if reference else []), rows)


def format_categories(attempts: Sequence[Attempt]) -> str:
    """Return a table of solved tasks, calls and tokens by category and way."""
    ways = list(dict.fromkeys(attempt.way for attempt in attempts))
    rows = []
    for category in CATEGORIES:
        of_category = [attempt for attempt in attempts if attempt.task.category == category]
        if of_category:
            cells = [_format_cell([each for each in of_category if each.way == way]) for way in ways]
            rows.append([category, str(len(of_category) // len(ways)), *cells])
    return format_table(["solved · calls · tokens per task", "tasks", *ways], rows)


def _format_cell(attempts: Sequence[Attempt]) -> str:
    solved = sum(attempt.is_solved for attempt in attempts)
    calls = fmean(attempt.calls for attempt in attempts)
    return f"{solved} · {calls:.1f} · {fmean(attempt.tokens for attempt in attempts):,.0f}"


def format_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def to_json(attempts: Sequence[Attempt]) -> dict[str, Any]:
    """Return the summary and every attempt."""
    return {
        "ways": summarize(attempts),
        "attempts": [
            {
                "way": each.way,
                "task": each.task.name,
                "category": each.task.category,
                "solved": each.is_solved,
                "calls": each.calls,
                "tokens": each.tokens,
                "missing": list(each.missing),
            }
            for each in attempts
        ],
    }
