"""Format the results of documentation queries as Markdown."""

from typing import Any

from benchmarks.report import format_table
from benchmarks.retrieval.code_tables import format_alphas, format_reading, show
from benchmarks.retrieval.documents import WAYS

TITLES = {"same": "uses the section's words", "other": "paraphrases it"}


def format_documents(figures: dict[str, Any]) -> str:
    """Return all tables."""
    counts = figures["questions"]
    groups = [
        [TITLES[wording], str(counts[wording]), *_row(row)] for wording, row in figures["recall_by_wording"].items()
    ]
    packages = [[name, *_row(row)] for name, row in figures["recall_by_package"].items()]
    parts = [
        f"{counts['all']} queries about the documentation of {', '.join(figures['packages'])}, indexed from their "
        f"source distributions, code and tests included: {figures['files']:,} files in {figures['chunks']:,} chunks. "
        "Recall@5, the share of queries whose section is among the first five results:",
        format_table([["query", "number", *WAYS], *groups, ["**all**", str(counts["all"]), *_row(figures["recall"])]]),
        "By package:",
        format_table([["package", *WAYS], *packages]),
        f"The section is among the candidates of {figures['candidates']:.1%} of the queries. Loss of recall@5 in "
        "hybrid mode when one weight of `search/ranking.py` is disabled (negative: a gain):",
        format_table(
            [["weight", "recall@5"], *([f"`{name}`", show(loss)] for name, loss in figures["losses"].items())]
        ),
        "Recall@5 by `alpha`, the weight of the vectors:",
        format_alphas(figures["alphas"]),
        "Tokens read until the section (all ten results if it is not among them):",
        format_reading(figures["reading"]),
    ]
    return "\n\n".join(parts)


def _row(row: dict[str, float]) -> list[str]:
    return [f"{row[way]:.2f}" for way in WAYS]
