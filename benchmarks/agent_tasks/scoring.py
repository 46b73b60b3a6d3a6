"""Lines that the calls of a way have shown, and whether they solve its task.

A line counts as shown if its text was printed under its path, with its number where a number was printed. Where a task
asks for locations (callers, implementers, tests), its path and number are enough, and the head of a definition counts
if the definition was named as the place of a printed line. The heading of a section counts if it was printed above it.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from benchmarks.agent_tasks.task_set import Goal, SourceLine

COMPARED = 80
"""Characters of a line that must be shown: tools cut long lines."""
MIN_PART = 8
"""Characters of a line that must be shown if the rest of it was left out, such as a comment behind it."""
LOCATIONS_SUFFICE = ("callers", "implementers", "tests")
SED = re.compile(r"sed -n '?(\d+),(\d+)p'? (?:'([^']+)'|(\S+))")
RANGE = re.compile(r":\d+-\d+$")
HEAD_NAME = re.compile(r"\b(?:def|class|fn|func|function|struct|impl) +(\w+)")
HEADINGS = re.compile(r"[>·] ")
NUMBER = re.compile(r"[\s:-]*(\d+)(?:\s*(?:-|to line )\s*(\d+))?(?=\D|$)")

SEPARATOR = "; echo --; "
"""Between commands of one call."""

Encode = Callable[[str], Sequence[int]]


@dataclass(frozen=True, slots=True)
class ShownLine:
    """A printed line.

    Attributes:
        path: The file it belongs to; "" if unknown.
        first: Line number printed before it, or `None`.
        last: End of the printed range; the same as `first` for a single line.
        text: As printed, without path.
    """

    path: str
    first: int | None
    last: int | None
    text: str


def read_output(command: str, output: str, paths: Sequence[str]) -> list[ShownLine]:
    """Return the lines that a command has shown.

    Args:
        command: Shell commands; `sed -n 'FIRST,LASTp' PATH` prints neither path nor numbers, so they come from here.
        output: What it printed.
        paths: Every file of the package.
    """
    parts = command.split(SEPARATOR)
    outputs = output.split("\n--\n") if len(parts) > 1 else [output]
    known = set(paths)
    return [line for part, printed in zip(parts, outputs, strict=False) for line in _read_part(part, printed, known)]


def _read_part(command: str, output: str, known: set[str]) -> Iterable[ShownLine]:
    """Yield the lines of one command."""
    if window := SED.fullmatch(command.strip()):
        path = window[3] or window[4]
        for number, text in enumerate(output.splitlines(), start=int(window[1])):
            yield ShownLine(path, number, number, text)
        return
    words = (RANGE.sub("", word.strip("'\"")) for word in reversed(command.split()))
    current = next((word for word in words if word in known), "")
    for text in output.splitlines():
        path, rest = _split_path(text, known)
        current = path or current
        numbers = NUMBER.match(rest)
        first, last = (int(numbers[1]), int(numbers[2] or numbers[1])) if numbers else (None, None)
        yield ShownLine(current, first, last, rest)


def _split_path(text: str, known: set[str]) -> tuple[str, str]:
    """Return the path at the beginning of a printed line and what follows it; ("", text) if there is none."""
    words = text.split(maxsplit=1)
    if not words:
        return "", text
    begin = text.index(words[0])
    for match in re.finditer(r"[:-](?=\d)|:?$", words[0]):
        if (candidate := words[0][: match.start()].removeprefix("./")) in known:
            return candidate, text[begin + match.start() :]
    return "", text


@dataclass(slots=True)
class Progress:
    """The lines shown so far, compared with those that a task needs."""

    goals: Sequence[Goal]
    category: str
    shown: list[ShownLine] = field(default_factory=list)

    def add(self, lines: Iterable[ShownLine]) -> None:
        """Record further printed lines."""
        self.shown += lines

    def is_solved(self) -> bool:
        """Return whether every needed line has been shown."""
        return all(self.is_reached(goal) for goal in self.goals)

    def is_reached(self, goal: Goal) -> bool:
        """Return whether the lines of a goal have been shown, and the word that must be near them."""
        found = [self._is_shown(line) for line in goal.lines]
        path = goal.lines[0].path
        within = not goal.within or any(goal.within in line.text for line in self.shown if line.path == path)
        return within and (any(found) if goal.is_any else all(found))

    def missing(self) -> list[Goal]:
        """Return the goals that have not been reached."""
        return [goal for goal in self.goals if not self.is_reached(goal)]

    def _is_shown(self, line: SourceLine) -> bool:
        return any(self._shows(shown, line) for shown in self.shown if shown.path == line.path)

    def _shows(self, shown: ShownLine, line: SourceLine) -> bool:
        wanted, printed = _squeeze(line.text)[:COMPARED], _squeeze(shown.text)
        if any(part.strip() == wanted.lstrip("# ") for part in HEADINGS.split(printed)[1:]):
            return True
        head = HEAD_NAME.search(wanted) if self.category in LOCATIONS_SUFFICE else None
        if head and re.search(rf" in (\S+[.#:])?{head[1]}\b", shown.text):
            return True
        if shown.first is not None and shown.last is not None and not printed.startswith(wanted):
            if not shown.first <= line.number <= shown.last:
                return False
            if shown.first == line.number and (self.category in LOCATIONS_SUFFICE or _is_part(printed, wanted)):
                return True
        return wanted in printed


def _is_part(printed: str, wanted: str) -> bool:
    """Return whether a line of the source contains what is printed after its place, such as a shortened definition."""
    part = printed.partition(": ")[2].rstrip("…")
    return len(part) >= MIN_PART and part in wanted


def _squeeze(text: str) -> str:
    return " ".join(text.split())


def count_tokens(encode: Encode, *texts: str) -> int:
    """Return the number of tokens of texts."""
    return sum(len(encode(text)) for text in texts)
