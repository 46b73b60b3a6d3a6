"""The figures of questions about documentation, as Markdown."""

from typing import Any

from benchmarks.report import format_table
from benchmarks.retrieval.code_tables import format_alphas, format_reading, show
from benchmarks.retrieval.documents import WAYS

TITLES = {"same": "in the section's words", "other": "in other words"}


def format_documents(figures: dict[str, Any]) -> str:
    """Return all tables."""
    counts = figures["questions"]
    groups = [
        [TITLES[wording], str(counts[wording]), *_row(row)] for wording, row in figures["recall_by_wording"].items()
    ]
    packages = [[name, *_row(row)] for name, row in figures["recall_by_package"].items()]
    parts = [
        f"{counts['all']} questions about the documentation of {', '.join(figures['packages'])}, indexed whole from "
        f"their source distributions: {figures['files']:,} files in {figures['chunks']:,} chunks. Recall@5, the share "
        "of questions whose section is among the first five results:",
        format_table(
            [["questions", "number", *WAYS], *groups, ["**all**", str(counts["all"]), *_row(figures["recall"])]]
        ),
        "By package:",
        format_table([["package", *WAYS], *packages]),
        f"The section is among the candidates of {figures['candidates']:.1%} of the questions. What recall@5 loses "
        "(where negative, gains) without a weight of `search/ranking.py`, one at a time, in hybrid mode:",
        format_table(
            [["weight", "recall@5"], *([f"`{name}`", show(loss)] for name, loss in figures["losses"].items())]
        ),
        "Recall@5 by `alpha`, the weight of meaning:",
        format_alphas(figures["alphas"]),
        "Tokens that are read until the section, all ten results where it is not among them:",
        format_reading(figures["reading"]),
    ]
    return "\n\n".join(parts)


def _row(row: dict[str, float]) -> list[str]:
    return [f"{row[way]:.2f}" for way in WAYS]
