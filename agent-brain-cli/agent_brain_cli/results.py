"""Print the results of a query: plain text for pipes and editors, highlighted on a terminal."""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent_brain_cli.output import Json, format_share
from agent_brain_server.support.excerpts import EXCERPT_LINES, EXTRA_LINES, choose_excerpt
from agent_brain_server.support.text import pluralize, visible, visible_text

MAX_LINE_LENGTH = 300  # characters: one line of a minified file must not fill the screen
MAX_COPIES = 3
MAX_SYMBOLS = 4  # in a heading: a chunk of constants may define hundreds


@dataclass(frozen=True, slots=True)
class ShownResult:
    """One result as it is printed: hidden characters visible, cut to an excerpt.

    Attributes:
        path: Opens from the current directory.
        start_line: First line of the chunk.
        end_line: Last line of the chunk.
        details: Symbols, heading and score, for the result's heading.
        lines: The excerpt.
        first_line: Line number of the excerpt's first line.
        omitted: How many lines of the chunk are not shown; "" if all are.
        copies: Where else the text is found; "" if nowhere.
        above: Lines of the file above the chunk that explain it, with their numbers.
        below: Lines of the file below the chunk, such as the signatures of a class's members.
        language: Of the file, for highlighting.
        explanation: The score breakdown; "" if it was not requested.
    """

    path: str
    start_line: int
    end_line: int
    details: str
    lines: tuple[str, ...]
    first_line: int
    omitted: str
    copies: str
    above: tuple[str, ...]
    below: tuple[str, ...]
    language: str
    explanation: str


def print_results(answer: Json, queries: Sequence[str], project_root: Path, *, full: bool) -> None:
    """Write an answer's results to stdout.

    Args:
        answer: The answer of `POST /query`.
        queries: The queries, which decide the lines of an excerpt.
        project_root: The directory to which the answer's paths are relative.
        full: Show every line.
    """
    results = [
        prepare_result(result, _join_queries(result, queries), project_root, full=full) for result in answer["results"]
    ]
    if sys.stdout.isatty():
        _print_highlighted(results)
    elif results:
        print("\n\n".join(format_plain(result) for result in results))


def _join_queries(result: Json, queries: Sequence[str]) -> str:
    """Return the queries that found a result."""
    return "\n".join(queries[number] for number in result.get("answers", [])) or queries[0]


def prepare_result(result: Json, query: str, project_root: Path, *, full: bool) -> ShownResult:
    """Make a result's hidden characters visible and choose its lines."""
    text = visible_text(result["text"]).rstrip("\n")
    all_lines = text.split("\n")
    start, end = (0, len(all_lines)) if full else choose_excerpt(text, query)
    lines = all_lines[start:end]
    omitted = len(all_lines) - len(lines)
    above, below = _list_context(result, full=full)
    return ShownResult(
        path=visible(locate(result["source"], project_root)),
        start_line=result["start_line"],
        end_line=result["end_line"],
        details=" · ".join(_list_details(result)),
        lines=tuple(lines if full else map(_shorten, lines)),
        first_line=result["start_line"] + start,
        omitted=f"… {pluralize(omitted, 'more line')} (--full shows all)" if omitted else "",
        copies=_list_copies(result),
        above=above,
        below=below,
        language=result["language"],
        explanation=_explain(result),
    )


def _list_context(result: Json, *, full: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the numbered lines outside of the chunk that are shown above and below it."""
    lines = result.get("context", [])  # absent if an older server answers
    numbered = [(line["line"], f"{line['line']}  {visible(line['text'])}") for line in lines]
    above = tuple(text for line, text in numbered if line < result["start_line"])
    below = [text for line, text in numbered if line >= result["start_line"]]
    if not full and len(below) > EXCERPT_LINES + EXTRA_LINES:
        omitted = pluralize(len(below) - EXCERPT_LINES, "more member")
        below = [*below[:EXCERPT_LINES], f"… {omitted} (--full shows all)"]
    return above, tuple(below)


def locate(source: str, project_root: Path) -> str:
    """Return a path that opens from the current directory: relative inside the project, absolute elsewhere."""
    current = Path.cwd().resolve()
    path = project_root / source
    return os.path.relpath(path, current) if current.is_relative_to(project_root) else str(path)


def format_plain(result: ShownResult) -> str:
    """Return a result as text that starts with `path:line`, so that editors and agents can jump to it."""
    width = len(str(result.first_line + len(result.lines)))
    numbered = (f"{number:>{width}}  {line}".rstrip() for number, line in enumerate(result.lines, result.first_line))
    heading = f"{result.path}:{result.start_line}  to line {result.end_line} · {result.details}"
    above, below = (_indent_each(lines) for lines in (result.above, result.below))
    return "\n".join(
        (
            heading,
            *_indent(result.explanation),
            *above,
            *numbered,
            *_indent(result.omitted),
            *below,
            *_indent(result.copies),
        )
    )


def _list_details(result: Json) -> Iterator[str]:
    """Yield the parts of a result's heading that follow its location."""
    if result["symbols"]:
        yield visible(", ".join(result["symbols"][:MAX_SYMBOLS]))
    if result["heading"]:
        yield visible(result["heading"])
    if result.get("parts", 1) > 1:
        yield f"part {result['part']} of {result['parts']}"
    if result.get("hidden_characters"):  # absent if an older server answers
        yield f"{pluralize(result['hidden_characters'], 'hidden character')} made visible"
    yield f"score {result['score']:.3f}"
    if result.get("answers"):
        yield f"answers {', '.join(str(number + 1) for number in result['answers'])}"


def _list_copies(result: Json) -> str:
    """Return where else the text of a result is found; "" if nowhere."""
    copies = result.get("copies", [])  # absent if an older server answers
    named = ", ".join(f"{visible(copy['source'])}:{copy['start_line']}" for copy in copies[:MAX_COPIES])
    more = f" and {len(copies) - MAX_COPIES} more" if len(copies) > MAX_COPIES else ""
    return f"also at {named}{more}" if copies else ""


def _explain(result: Json) -> str:
    """Return the score breakdown of a result; "" if it was not requested."""
    if not result.get("explanation"):
        return ""
    found_by = [
        f"{name} {score:.3f}"
        for name, score in (("vector", result["vector_score"]), ("bm25", result["bm25_score"]))
        if score is not None
    ]
    signals = [f"{visible(s['name'])} {s['value']:.3f} ({s['contribution']:+.3f})" for s in result["explanation"]]
    return "; ".join((" · ".join(found_by), " · ".join(signals)))


def _indent(text: str) -> list[str]:
    """Return an indented line, or nothing for an empty text."""
    return [f"  {text}"] if text else []


def _indent_each(lines: Sequence[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _shorten(line: str) -> str:
    return line if len(line) <= MAX_LINE_LENGTH else f"{line[:MAX_LINE_LENGTH]}…"


def _print_highlighted(results: list[ShownResult]) -> None:
    """Write results to the terminal, in colour unless `NO_COLOR` is set."""
    # late: rich costs 45 ms and only a terminal needs it
    from rich.console import Console  # noqa: PLC0415
    from rich.syntax import Syntax  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(highlight=False)
    for result in results:
        location = f"{result.path}:{result.start_line}-{result.end_line}"
        console.print(Text.assemble((location, "bold cyan"), "  ", (result.details, "dim")), soft_wrap=True)
        for line in (*_indent(result.explanation), *_indent_each(result.above)):
            console.print(Text(line, "dim"), soft_wrap=True)
        console.print(
            Syntax(
                "\n".join(result.lines),
                result.language,
                theme="ansi_dark",
                background_color="default",
                line_numbers=True,
                start_line=result.first_line,
                word_wrap=True,  # a truncated line cannot be read
            )
        )
        for line in (*_indent(result.omitted), *_indent_each(result.below), *_indent(result.copies)):
            console.print(Text(line, "dim"), soft_wrap=True)
        console.print()


def describe_match(answer: Json) -> str | None:
    """Return a warning if no result contains a word of the query, else `None`: such results may be far off."""
    if answer["mode"] != "hybrid" or any(result["bm25_score"] is not None for result in answer["results"]):
        return None
    return "No result contains a word of the query; these are the nearest in meaning."


def describe_freshness(answer: Json) -> str | None:
    """Return what the index behind an answer lacks, or `None` if it is complete."""
    index = answer.get("index", {})  # an answer within a budget has only what is missing
    missing = []
    if index.get("checking"):
        missing.append("files are still being compared with it")
    elif index.get("files_pending"):
        missing.append(f"{pluralize(index['files_pending'], 'changed file')} not indexed yet")
    if answer.get("mode") != "bm25" and index.get("vector_coverage", 1) < 1:
        missing.append(f"{format_share(index['vector_coverage'])} of it has vectors")
    remarks = [f"The index is incomplete: {', and '.join(missing)}."] if missing else []
    if unwatched := index.get("unwatched_directories"):
        count = "1 directory" if unwatched == 1 else f"{unwatched:,} directories"
        remarks.append(f"{count} cannot be watched; list them with: agent-brain status")
    return " ".join(remarks) or None
