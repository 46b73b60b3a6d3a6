"""The outcome of a loop, and its report."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.report import format_table


class BrokenPromiseError(Exception):
    """A round broke a promise; the message describes how."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One line of the report.

    Attributes:
        promise: Number in docs/RELIABILITY.md.
        done: The action, with its numbers.
        found: The result, with its numbers.
        kept: Whether the promise was kept.
    """

    promise: int
    done: str
    found: str
    kept: bool = True

    def to_json(self) -> dict[str, Any]:
        """Return the line as JSON."""
        return {"promise": self.promise, "done": self.done, "found": self.found, "kept": self.kept}

    def to_line(self) -> str:
        """Return the line for the terminal."""
        return f"{'ok    ' if self.kept else 'BROKEN'} {self.promise:>2}  {self.done}: {self.found}"


def require(condition: object, message: str) -> None:
    """Raise `BrokenPromiseError` with the message unless the condition holds."""
    if not condition:
        raise BrokenPromiseError(message)


def percentile(values: list[float], share: float) -> float:
    """Return the given percentile of the values; `share` is between 0 and 1."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def format_results(results: Path) -> str:
    """Return the table of docs/RELIABILITY.md.

    Args:
        results: One JSON object per line, as the loops wrote them. The latest run of each case counts.
    """
    latest = {line["case"]: line for line in map(json.loads, results.read_text(encoding="utf-8").splitlines())}
    rows = [
        [str(line["promise"]), line["done"], line["found"] if line["kept"] else f"**broken**: {line['found']}"]
        for line in sorted(latest.values(), key=lambda line: line["promise"])
    ]
    machine, dates = next(iter(latest.values()))["machine"], sorted({line["date"] for line in latest.values()})
    where = (
        f"Run {' and '.join(dates)} on {machine['cores']} cores of {machine['processor']}, {machine['system']}, "
        f"Python {machine['python']}."
    )
    return f"{where}\n\n{format_table([['promise', 'action', 'result'], *rows])}"
