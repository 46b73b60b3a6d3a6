"""What a loop found, and how it is shown."""

from dataclasses import dataclass
from typing import Any

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
