"""What a loop found, and how it is shown."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.report import format_table

MILLISECONDS = 1000


class BrokenPromiseError(Exception):
    """A round did not end as promised; the message says how."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One line of the report.

    Attributes:
        promise: Number in docs/RELIABILITY.md.
        done: What was done, with its numbers.
        found: What came out, with its numbers.
        kept: Whether that is what was promised.
    """

    promise: int
    done: str
    found: str
    kept: bool = True

    def to_json(self) -> dict[str, Any]:
        """Return the line as JSON."""
        return {"promise": self.promise, "done": self.done, "found": self.found, "kept": self.kept}

    def to_line(self) -> str:
        """Return the line as it is printed."""
        return f"{'ok    ' if self.kept else 'BROKEN'} {self.promise:>2}  {self.done}: {self.found}"


def require(condition: object, message: str) -> None:
    """Raise `BrokenPromiseError` with the message unless the condition holds."""
    if not condition:
        raise BrokenPromiseError(message)


def percentile(values: list[float], share: float) -> float:
    """Return the value below which a share of the values lies."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def format_results(results: Path) -> str:
    """Return the table of docs/RELIABILITY.md.

    Args:
        results: One JSON object a line, as the loops wrote them; of a case that was run twice the later run counts.
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
    return f"{where}\n\n{format_table([['promise', 'what was done', 'what came out'], *rows])}"
