"""The figures of labelled questions about code, as Markdown."""

from typing import Any

from benchmarks.report import format_table
from benchmarks.retrieval.answering import MODES
from benchmarks.retrieval.cross_validation import ALPHA_GRID, FACTOR_GRID, SUMMAND_GRID
from benchmarks.retrieval.summary import FLOOR, by_language

PEERS_SHOWN = 2
"""Published tools that stand beside each repository: the best ones."""

CATEGORY_TITLES = {
    "symbol": "a name",
    "semantic": "a question in words",
    "architecture": "how something works",
}
COLUMNS = (*MODES, FLOOR)


def format_code(figures: dict[str, Any]) -> str:
    """Return all tables."""
    parts = [
        f"{figures['questions']} questions about {figures['repositories']} repositories in {figures['languages']} "
        f"languages, {figures['files']:,} files in {figures['chunks']:,} chunks. NDCG@10, ten results as returned:",
        _format_totals(figures),
        "By kind of question:",
        _format_groups("kind", "questions", figures["by_category"], CATEGORY_TITLES),
        "By language, the mean over its repositories:",
        _format_groups("language", "repositories", by_language(figures["by_repository"], COLUMNS), {}),
        "By repository:",
        _format_repositories(figures),
        *_format_ablation(figures),
        *_format_folds(figures["cross_validation"]),
        "Tokens that are read until the first right result, all ten where none is right:",
        format_reading(figures["reading"]),
    ]
    return "\n\n".join(parts)


def format_reading(figures: dict[str, dict[str, float]]) -> str:
    """Return the table of tokens that are read."""
    rows = [
        [name, f"{row['median']:,.0f}", f"{row['mean']:,.0f}", f"{row['found']:.1%}"] for name, row in figures.items()
    ]
    return format_table([["read in the order of", "median", "mean", "right one among ten"], *rows])


def format_alphas(scores: dict[float, float]) -> str:
    """Return the table of scores by the weight of meaning."""
    return format_table([[f"{float(alpha):g}" for alpha in scores], list(map(show, scores.values()))])


def show(score: float | None) -> str:
    """Return a score, or a difference of two, with three digits."""
    return "" if score is None else f"{round(score, 3) + 0:.3f}"  # adding 0 takes the sign from -0


def _format_totals(figures: dict[str, Any]) -> str:
    ours = [[f"**Agent Brain**, {mode}", f"**{show(figures['total'][mode])}**"] for mode in MODES]
    peers = [
        [_name_peer(tool, row["repositories"], figures["repositories"]), show(row["ndcg10"])]
        for tool, row in figures["published"].items()
    ]
    return format_table([["", "NDCG@10"], *ours, *peers, ["files in random order", show(figures["total"][FLOOR])]])


def _name_peer(tool: str, known: int, asked: int) -> str:
    return f"{tool}, published" if known == asked else f"{tool}, published for {known} of these"


def _format_groups(title: str, count: str, groups: dict[str, Any], titles: dict[str, str]) -> str:
    rows = [
        [titles.get(name, name), str(row[count]), *(show(row[column]) for column in COLUMNS)]
        for name, row in groups.items()
    ]
    return format_table([[title, count, *COLUMNS], *rows])


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
    neutral = [show(figures["total"][mode] - ablation["neutral"][mode]) for mode in ("hybrid", "bm25")]
    return [
        "What NDCG@10 loses without a weight of `search/ranking.py`, one at a time:",
        format_table([["weight", "set to", "hybrid", "bm25"], *rows, ["all of them", "", *neutral]]),
        f"By `alpha`, the weight of meaning in hybrid mode ({weights['alpha']:g} is the default):",
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
    heading = ["fold", "repositories", "fitted, on the others", "fitted, on the fold", "as shipped, on the fold"]
    return [
        "Cross-validation over repositories, hybrid mode: weights and `alpha` are fitted by coordinate descent to the "
        f"repositories outside of a fold, from weights that do nothing, over the values {_list(SUMMAND_GRID)} (what is "
        f"added), {_list(FACTOR_GRID)} (factors) and {_list(ALPHA_GRID)} (`alpha`):",
        format_table([heading, *rows, [*total, show(figures["fixed"])]]),
        "Fitted in each fold:",
        _format_fitted(figures["folds"]),
    ]


def _format_fitted(folds: list[dict[str, Any]]) -> str:
    names = list(folds[0]["weights"])
    rows = [[f"`{name}`", *(f"{fold['weights'][name]:g}" for fold in folds)] for name in names]
    return format_table([["weight", *(f"fold {number}" for number in range(1, len(folds) + 1))], *rows])


def _list(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)
