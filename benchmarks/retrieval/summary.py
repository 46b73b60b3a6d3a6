"""Summarize a run over a set of labelled queries, for JSON or for tables."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from functools import partial
from statistics import fmean, median
from typing import Any

from agent_brain_server.search.ranking import DEFAULT_WEIGHTS
from benchmarks.retrieval.ablation import measure_alphas, measure_losses, measure_names_first, measure_neutral
from benchmarks.retrieval.answering import MODES
from benchmarks.retrieval.cross_validation import Fold, cross_validate, mean_of_folds
from benchmarks.retrieval.evaluation import EvaluatedQuery, EvaluatedRepository
from benchmarks.retrieval.query_set import CATEGORIES
from benchmarks.retrieval.reading import Reading

FLOOR = "random order"
GREP = "whole files, most matching words first"

QueryScore = Callable[[EvaluatedQuery], float]


def summarize(evaluated: Sequence[EvaluatedRepository], *, folds: int) -> dict[str, Any]:
    """Return all figures of a run.

    Args:
        evaluated: All repositories.
        folds: Folds of the cross-validation, which needs at least two folds and two repositories.
    """
    queries = [query for each in evaluated for query in each.queries]
    return {
        "repositories": len(evaluated),
        "languages": len({each.repository.language for each in evaluated}),
        "questions": len(queries),
        "files": sum(each.files for each in evaluated),
        "chunks": sum(each.chunks for each in evaluated),
        "weights": asdict(DEFAULT_WEIGHTS),
        "total": {name: fmean(mean_scores(evaluated, score).values()) for name, score in _scores().items()},
        "by_category": _by_category(queries),
        "by_repository": _by_repository(evaluated),
        "lines": _summarize_lines(queries),
        "published": mean_published(evaluated),
        "ablation": {
            "losses": measure_losses(evaluated),
            "names_first": measure_names_first(evaluated),
            "neutral": measure_neutral(evaluated),
            "alphas": measure_alphas(evaluated),
        },
        "cross_validation": summarize_folds(cross_validate(evaluated, folds))
        if min(folds, len(evaluated)) > 1
        else None,
        "reading": {
            **{mode: summarize_reading(query.read(mode) for query in queries) for mode in MODES},
            GREP: summarize_reading(query.like_grep for query in queries),
        },
    }


def mean_scores(evaluated: Iterable[EvaluatedRepository], score: QueryScore) -> dict[str, float]:
    """Return the mean score of the queries of each repository."""
    return {each.repository.name: fmean(map(score, each.queries)) for each in evaluated}


def mean_published(evaluated: Sequence[EvaluatedRepository]) -> dict[str, dict[str, float]]:
    """Return the mean published figure of each tool and its number of repositories, best first."""
    figures: dict[str, list[float]] = defaultdict(list)
    for each in evaluated:
        for tool, score in each.repository.published.items():
            figures[tool].append(score)
    means = {tool: {"ndcg10": fmean(scores), "repositories": len(scores)} for tool, scores in figures.items()}
    return dict(sorted(means.items(), key=lambda item: -item[1]["ndcg10"]))


def summarize_reading(readings: Iterable[Reading]) -> dict[str, float]:
    """Return median and mean of the tokens, and the share of queries whose answer was read."""
    known = list(readings)
    tokens = [reading.tokens for reading in known]
    return {"median": median(tokens), "mean": fmean(tokens), "found": fmean(reading.is_found for reading in known)}


def summarize_folds(folds: Sequence[Fold]) -> dict[str, Any]:
    """Return NDCG@10 with fitted and with shipped weights, over all folds and by fold."""
    fitted, fixed = mean_of_folds(folds)
    return {
        "fitted": fitted,
        "fixed": fixed,
        "folds": [
            {
                "repositories": sorted(fold.fitted_scores),
                "weights": {**asdict(fold.fitted.weights), "alpha": fold.fitted.alpha},
                "training": fold.training_score,
                "fitted": fmean(fold.fitted_scores.values()),
                "fixed": fmean(fold.fixed_scores.values()),
            }
            for fold in folds
        ],
    }


def _scores() -> dict[str, QueryScore]:
    """Return the scores of a query: each mode, and random order."""
    return {**{mode: partial(EvaluatedQuery.score, mode=mode) for mode in MODES}, FLOOR: lambda query: query.floor}


def _summarize_lines(queries: Iterable[EvaluatedQuery]) -> dict[str, float]:
    """Return the share of the queries whose labelled lines are completely in one result, by mode."""
    labelled = [query for query in queries if query.has_lines]
    if not labelled:
        return {"questions": 0}
    shares: dict[str, float] = {mode: fmean(query.shows_lines(mode) for query in labelled) for mode in MODES}
    return {"questions": len(labelled), **shares}


def _by_category(queries: Sequence[EvaluatedQuery]) -> dict[str, dict[str, float]]:
    table = {}
    for category in CATEGORIES:
        of_category = [query for query in queries if query.query.category == category]
        if of_category:
            means = {name: fmean(map(score, of_category)) for name, score in _scores().items()}
            table[category] = {"questions": len(of_category), **means}
    return table


def _by_repository(evaluated: Sequence[EvaluatedRepository]) -> dict[str, dict[str, Any]]:
    columns = {name: mean_scores(evaluated, score) for name, score in _scores().items()}
    return {
        each.repository.name: {
            "language": each.repository.language,
            "files": each.files,
            "chunks": each.chunks,
            **{name: column[each.repository.name] for name, column in columns.items()},
            "published": dict(each.repository.published),
        }
        for each in evaluated
    }


def by_language(by_repository: dict[str, dict[str, Any]], columns: Iterable[str]) -> dict[str, dict[str, float]]:
    """Return the mean of columns over the repositories of each language."""
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in by_repository.values():
        groups[row["language"]].append(row)
    names = list(columns)
    return {
        language: {"repositories": len(rows), **{name: fmean(row[name] for row in rows) for name in names}}
        for language, rows in sorted(groups.items())
    }
