"""Format the results of labelled code queries as Markdown."""

from typing import Any

from benchmarks.report import format_table
from benchmarks.retrieval.answering import MODES
from benchmarks.retrieval.cross_validation import ALPHA_GRID, FACTOR_GRID, SUMMAND_GRID
from benchmarks.retrieval.summary import FLOOR, by_language

PEERS_SHOWN = 2
"""Number of published tools in the table by repository, best first."""

CATEGORY_TITLES = {
    "symbol": "a name",
    "semantic": "a description",
    "architecture": "how something works",
}
COUNT_TITLES = {"questions": "queries"}
COLUMNS = (*MODES, FLOOR)


def format_code(figures: dict[str, Any]) -> str:
    """Return all tables."""
    parts = [
        f"{figures['questions']} queries about {figures['repositories']} repositories in {figures['languages']} "
        f"languages, {figures['files']:,} files in {figures['chunks']:,} chunks. NDCG@10, ten results as returned:",
        _format_totals(figures),
        *_format_lines(figures["lines"]),
        "By kind of query:",
        _format_groups("kind", "questions", figures["by_category"], CATEGORY_TITLES),
        "By language, mean over its repositories:",
        _format_groups("language", "repositories", by_language(figures["by_repository"], COLUMNS), {}),
        "By repository:",
        _format_repositories(figures),
        *_format_ablation(figures),
        *_format_folds(figures["cross_validation"]),
        "Tokens read until the first relevant result (all ten results if none is relevant):",
        format_reading(figures["reading"]),
    ]
    return "\n\n".join(parts)


def _format_lines(figures: dict[str, Any]) -> list[str]:
    """Return a sentence about the queries whose labels have lines."""
    if not figures["questions"]:
        return []
    shares = ", ".join(f"{mode} {figures[mode]:.0%}" for mode in MODES)
    return [
        f"{figures['questions']} queries have lines as labels. One of the ten results shows all these lines, not just "
        f"their file, for: {shares}."
    ]


def format_reading(figures: dict[str, dict[str, float]]) -> str:
    """Return the table of tokens read."""
    rows = [
        [name, f"{row['median']:,.0f}", f"{row['mean']:,.0f}", f"{row['found']:.1%}"] for name, row in figures.items()
    ]
    return format_table([["read in the order of", "median", "mean", "found in the first ten"], *rows])


def format_alphas(scores: dict[float, float]) -> str:
    """Return the table of scores by `alpha`."""
    return format_table([[f"{float(alpha):g}" for alpha in scores], list(map(show, scores.values()))])


def show(score: float | None) -> str:
    """Return a score, or a difference of two, with three digits."""
    return "" if score is None else f"{round(score, 3) + 0:.3f}"  # adding 0 turns -0 into 0


def _format_totals(figures: dict[str, Any]) -> str:
    ours = [[f"**Agent Brain**, {mode}", f"**{show(figures['total'][mode])}**"] for mode in MODES]
    peers = [
        [_name_peer(tool, row["repositories"], figures["repositories"]), show(row["ndcg10"])]
        for tool, row in figures["published"].items()
    ]
    return format_table([["", "NDCG@10"], *ours, *peers, ["files in random order", show(figures["total"][FLOOR])]])


def _name_peer(tool: str, known: int, evaluated: int) -> str:
    return f"{tool}, published" if known == evaluated else f"{tool}, published for {known} of these"


def _format_groups(title: str, count: str, groups: dict[str, Any], titles: dict[str, str]) -> str:
    rows = [
        [titles.get(name, name), str(row[count]), *(show(row[column]) for column in COLUMNS)]
        for name, row in groups.items()
    ]
    return format_table([[title, COUNT_TITLES.get(count, count), *COLUMNS], *rows])


def _format_repositories(figures: dict[str, Any]) -> str:
    peers = list(figures["published"])[:PEERS_SHOWN]
    rows = [
        [name, row["language"], *(show(row[c]) for c in COLUMNS), *(show(row["published"].get(peer)) for peer in peers)]
        for name, row in figures["by_repository"].items()
    ]
    return format_table([["repository", "language", *COLUMNS, *(f"{peer}, published" for peer in peers)], *rows])


def _format_ablation(figures: dict[str, Any]) -> list[str]:
    ablation, weights = figures["ablation"], figures["weights"]
    rows = [
        [f"`{name}`", f"{weights[name]:g}", *map(show, (loss["hybrid"], loss["bm25"]))]
        for name, loss in ablation["losses"].items()
    ]
    names_first = ["definitions of a name first", "", *map(show, ablation["names_first"].values())]
    neutral = [show(figures["total"][mode] - ablation["neutral"][mode]) for mode in ("hybrid", "bm25")]
    return [
        "Loss of NDCG@10 when one weight of `search/ranking.py` is disabled:",
        format_table([["weight", "set to", "hybrid", "bm25"], *rows, names_first, ["all weights", "", *neutral]]),
        "NDCG@10 by `alpha`, the weight of the vectors in hybrid mode (by default chosen for each query):",
        format_alphas(ablation["alphas"]),
    ]


def _format_folds(figures: dict[str, Any] | None) -> list[str]:
    if figures is None:
        return []
    rows = [
        [str(number), str(len(fold["repositories"])), show(fold["training"]), show(fold["fitted"]), show(fold["fixed"])]
        for number, fold in enumerate(figures["folds"], 1)
    ]
    total = ["all", str(sum(len(fold["repositories"]) for fold in figures["folds"])), "", show(figures["fitted"])]
    heading = ["fold", "repositories", "fitted, training", "fitted, held out", "shipped, held out"]
    return [
        "Cross-validation over repositories, hybrid mode. For each fold, weights and `alpha` are fitted to the other "
        f"repositories by coordinate descent, starting from neutral weights, over the values {_list(SUMMAND_GRID)} "
        f"(summands), {_list(FACTOR_GRID)} (factors) and {_list(ALPHA_GRID)} (`alpha`):",
        format_table([heading, *rows, [*total, show(figures["fixed"])]]),
        "Fitted values:",
        _format_fitted(figures["folds"]),
    ]


def _format_fitted(folds: list[dict[str, Any]]) -> str:
    names = list(folds[0]["weights"])
    rows = [[f"`{name}`", *(f"{fold['weights'][name]:g}" for fold in folds)] for name in names]
    return format_table([["weight", *(f"fold {number}" for number in range(1, len(folds) + 1))], *rows])


def _list(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)
