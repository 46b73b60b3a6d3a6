"""Format results as tables, for the terminal and for docs/PERFORMANCE.md between its two markers.

Usage: python -m benchmarks.report RESULTS.json DOCUMENT.md rewrites the section in the document.
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

BEGIN = "<!-- begin: written by benchmarks/report.py -->"
END = "<!-- end -->"
LARGEST = 10


def format_table(rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table; the first row is the heading."""
    heading, *body = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([heading, "|" + "---|" * (heading.count(" | ") + 1), *body])


def format_figure(figure: dict[str, Any]) -> list[str]:
    """Return one row: figure, value, goal, reference, ratio."""
    unit = figure["unit"]
    bound = "at least" if unit == "/s" else "at most"
    goal = "" if figure["goal"] is None else f"{bound} {format_number(figure['goal'])} {unit}"
    missed = "" if figure["met"] else " **missed**"
    reference = figure["reference_value"]
    shown = f"{format_number(reference)} {unit}: {figure['reference']}" if reference is not None else ""
    ratio = "" if figure["ratio"] is None else format_number(figure["ratio"])
    return [figure["title"], f"{format_number(figure['value'])} {unit}{missed}", goal, shown, ratio]


def format_number(value: float) -> str:
    """Return a number with three significant digits."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def format_alone(alone: Iterable[dict[str, Any]], hybrid_p50: float | None) -> str:
    """Return the table of parts: latency, and a hybrid query over HTTP as a multiple of it."""
    rows = [
        [
            part["title"],
            f"{format_number(part['p50'])} / {format_number(part['p95'])}",
            format_number(hybrid_p50 / part["p50"]) if hybrid_p50 else "",
        ]
        for part in alone
    ]
    return format_table([["part alone, without HTTP", "p50 / p95, ms", "hybrid query, p50, as a multiple"], *rows])


def format_report(results: dict[str, Any]) -> str:
    """Return the complete section."""
    machine, corpus = results["machine"], results["corpus"]
    figures = [format_figure(figure) for figure in results["figures"]]
    parts = [
        f"Measured {results['date']} on {machine['cores']} cores of {machine['processor']}, {machine['system']}, "
        f"Python {machine['python']}; medians of {results['runs']} runs.",
    ]
    if corpus:
        parts.append(f"Corpus: {corpus['name']}, {corpus['files']:,} files in {corpus['chunks']:,} chunks.")
    parts.append(format_table([["figure", "measured", "target", "reference", "ratio"], *figures]))
    if alone := results.get("alone"):
        hybrid = [figure["value"] for figure in results["figures"] if figure["id"] == "query_p50"]
        parts.append("The parts of a query, with queries of the same kind in the same run:")
        parts.append(format_alone(alone, hybrid[0] if hybrid else None))
    if packages := results["packages"]:
        total = sum(package["megabytes"] for package in packages)
        largest = [
            [package["name"], f"{package['megabytes']:.1f}", package["purpose"]] for package in packages[:LARGEST]
        ]
        parts.append(f"Installed: {total:.0f} MB in {len(packages)} packages; the {LARGEST} largest:")
        parts.append(format_table([["package", "MB", "purpose"], *largest]))
    return "\n\n".join(parts)


def update_document(document: Path, section: str, *, begin: str = BEGIN) -> None:
    """Replace the text between the markers.

    Args:
        document: A Markdown file.
        section: The new text.
        begin: The first marker; the next `END` is the other.

    Raises:
        ValueError: The document lacks a marker.
    """
    head, found, rest = document.read_text(encoding="utf-8").partition(begin)
    _, end, tail = rest.partition(END)
    if not (found and end):
        raise ValueError(f"{document} lacks {begin} … {END}")
    document.write_text(f"{head}{begin}\n\n{section}\n\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    update_document(Path(sys.argv[2]), format_report(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
