"""Answers of a query as text: plain for pipes and editors, highlighted on a terminal."""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agent_brain_cli.excerpt import choose_excerpt
from agent_brain_cli.render import Json, format_share, visible, visible_text
from agent_brain_server.support.text import pluralize

MAX_LINE_LENGTH = 300
"""Characters: a minified file must not fill the screen with one line."""

MAX_SYMBOLS = 4
"""Named in a heading; a chunk of constants may define hundreds."""


@dataclass(frozen=True, slots=True)
class ShownResult:
    """One result, neutralised and cut to what is shown.

    Attributes:
        path: Openable from the current directory.
        start_line: Of the chunk.
        end_line: Of the chunk.
        facts: What stands beside them: symbols, heading, score.
        lines: Text of the excerpt.
        first_line: Number of the excerpt's first line.
        rest: Says how many lines of the chunk are not shown; "" where all are.
        explanation: Where the score comes from; "" where that was not asked for.
    """

    path: str
    start_line: int
    end_line: int
    facts: str
    lines: tuple[str, ...]
    first_line: int
    rest: str
    language: str
    explanation: str


def print_results(answer: Json, query: str, project_root: Path, *, full: bool) -> None:
    """Write the answer to stdout.

    Args:
        answer: Of `POST /query`.
        query: Decides which lines of a long chunk are shown.
        project_root: What the answer's paths are relative to.
        full: Show every line.
    """
    results = [prepare_result(result, query, project_root, full=full) for result in answer["results"]]
    if sys.stdout.isatty():
        _print_highlighted(results)
    elif results:
        print("\n\n".join(format_plain(result) for result in results))


def prepare_result(result: Json, query: str, project_root: Path, *, full: bool) -> ShownResult:
    """Neutralise a result and choose its lines."""
    text = visible_text(result["text"]).rstrip("\n")
    all_lines = text.split("\n")
    start, end = (0, len(all_lines)) if full else choose_excerpt(text, query)
    lines = all_lines[start:end]
    hidden = len(all_lines) - len(lines)
    return ShownResult(
        path=visible(locate(result["source"], project_root)),
        start_line=result["start_line"],
        end_line=result["end_line"],
        facts=" · ".join(_facts(result)),
        lines=tuple(lines if full else map(_shorten, lines)),
        first_line=result["start_line"] + start,
        rest=f"… {pluralize(hidden, 'more line')} (--full shows all)" if hidden else "",
        language=result["language"],
        explanation=_explain(result),
    )


def locate(source: str, project_root: Path) -> str:
    """Return a path that opens from the current directory: relative inside the project, absolute elsewhere."""
    current = Path.cwd().resolve()
    path = project_root / source
    return os.path.relpath(path, current) if current.is_relative_to(project_root) else str(path)


def format_plain(result: ShownResult) -> str:
    """Return a result as text: `path:line` first, so that editors and agents can jump to it."""
    width = len(str(result.first_line + len(result.lines)))
    numbered = (f"{number:>{width}}  {line}".rstrip() for number, line in enumerate(result.lines, result.first_line))
    heading = f"{result.path}:{result.start_line}  to line {result.end_line} · {result.facts}"
    return "\n".join((heading, *_remark(result.explanation), *numbered, *_remark(result.rest)))


def _facts(result: Json) -> Iterator[str]:
    """Yield what stands in a result's heading after its location."""
    if result["symbols"]:
        yield visible(", ".join(result["symbols"][:MAX_SYMBOLS]))
    if result["heading"]:
        yield visible(result["heading"])
    if result.get("hidden_characters"):  # a server of an older version does not count them
        yield f"{pluralize(result['hidden_characters'], 'hidden character')} made visible"
    yield f"score {result['score']:.3f}"


def _explain(result: Json) -> str:
    """Return where a score comes from, "" where that was not asked for."""
    if not result.get("explanation"):
        return ""
    found_by = [
        f"{name} {score:.3f}"
        for name, score in (("vector", result["vector_score"]), ("bm25", result["bm25_score"]))
        if score is not None
    ]
    signals = [f"{visible(s['name'])} {s['value']:.3f} ({s['contribution']:+.3f})" for s in result["explanation"]]
    return "; ".join((" · ".join(found_by), " · ".join(signals)))


def _remark(text: str) -> list[str]:
    """Return a line beside the excerpt, or none for an empty text."""
    return [f"  {text}"] if text else []


def _shorten(line: str) -> str:
    """Cut a line that is far too long."""
    return line if len(line) <= MAX_LINE_LENGTH else f"{line[:MAX_LINE_LENGTH]}…"


def _print_highlighted(results: list[ShownResult]) -> None:
    """Write results to the terminal, in colour unless `NO_COLOR` is set."""
    # late: rich costs 45 ms and is needed on a terminal alone
    from rich.console import Console  # noqa: PLC0415
    from rich.syntax import Syntax  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(highlight=False)
    for result in results:
        location = f"{result.path}:{result.start_line}-{result.end_line}"
        console.print(Text.assemble((location, "bold cyan"), "  ", (result.facts, "dim")), soft_wrap=True)
        for remark in _remark(result.explanation):
            console.print(Text(remark, "dim"), soft_wrap=True)
        console.print(
            Syntax(
                "\n".join(result.lines),
                result.language,
                theme="ansi_dark",
                background_color="default",
                line_numbers=True,
                start_line=result.first_line,
                word_wrap=True,  # a line that is cut at the edge cannot be read
            )
        )
        for remark in _remark(result.rest):
            console.print(Text(remark, "dim"), soft_wrap=True)
        console.print()


def describe_match(answer: Json) -> str | None:
    """Say that no result has a word of the question, where that is so: the nearest in meaning may be far off."""
    if answer["mode"] != "hybrid" or any(result["bm25_score"] is not None for result in answer["results"]):
        return None
    return "No word of the question was found; these are the nearest in meaning."


def describe_freshness(answer: Json) -> str | None:
    """Say what the index behind an answer lacks, None where it lacks nothing."""
    index = answer["index"]
    lacks = []
    if index.get("checking"):
        lacks.append("the tree is being compared with it")
    elif index["files_pending"]:
        lacks.append(f"{pluralize(index['files_pending'], 'changed file')} not in it yet")
    if answer["mode"] != "bm25" and index["vector_coverage"] < 1:
        lacks.append(f"{format_share(index['vector_coverage'])} of it has vectors")
    remarks = [f"The index is not complete: {', and '.join(lacks)}."] if lacks else []
    if unwatched := index.get("unwatched_directories"):
        count = "1 directory" if unwatched == 1 else f"{unwatched:,} directories"
        remarks.append(f"{count} cannot be watched; see which with: agent-brain status")
    return " ".join(remarks) or None
