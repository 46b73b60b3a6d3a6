"""Cross-validate the ranking weights over repositories.

Repositories are divided into folds. For each fold, weights are fitted to the queries of the other folds, starting from
neutral weights, and scored on it, together with the shipped weights.
"""

import os
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing import get_context
from statistics import fmean

from agent_brain_server.search.ranking import NEUTRAL_WEIGHTS
from benchmarks.retrieval.ablation import score_repositories, score_setting, weight_names
from benchmarks.retrieval.answering import Setting
from benchmarks.retrieval.evaluation import EvaluatedRepository

SEED = 0

SUMMAND_GRID = (-0.4, -0.2, 0.0, 0.1, 0.2, 0.3, 0.4, 0.6)
"""Values of a weight that is added to a fused score of at most 1."""

FACTOR_GRID = (1.0, 0.85, 0.7, 0.5, 0.3)
"""Values of a weight that multiplies a score."""

ALPHA_GRID = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)

START_ALPHA = 0.5
"""Keywords and vectors start with equal weight."""

MAX_ROUNDS = 3
"""Passes over all weights; the third rarely changes one."""

LEAST_GAIN = 1e-4
"""Smaller gains are changes in the last ranks: one of 480 queries whose answer moves from second to first adds 8e-4."""


@dataclass(frozen=True, slots=True)
class Fold:
    """Result of one fold: NDCG@10 of each held-out repository, and of the others."""

    fitted: Setting
    training_score: float
    fitted_scores: dict[str, float]
    fixed_scores: dict[str, float]


def deal_folds(names: Sequence[str], count: int, seed: int) -> list[list[str]]:
    """Distribute names over folds whose sizes differ by at most one, in a seeded order."""
    shuffled = sorted(names)
    random.Random(seed).shuffle(shuffled)
    return [shuffled[start::count] for start in range(count) if shuffled[start::count]]


def cross_validate(evaluated: Sequence[EvaluatedRepository], folds: int) -> list[Fold]:
    """Fit and score every fold, one per processor at a time."""
    jobs = []
    for names in deal_folds([each.repository.name for each in evaluated], folds, SEED):
        held_out = [each for each in evaluated if each.repository.name in names]
        jobs.append(([each for each in evaluated if each.repository.name not in names], held_out))
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        return list(pool.map(_try_fold, *zip(*jobs, strict=True)))


def _try_fold(training: Sequence[EvaluatedRepository], held_out: Sequence[EvaluatedRepository]) -> Fold:
    fitted, score = fit(cache(lambda setting: score_setting(training, setting)))  # a pass repeats most of the last one
    return Fold(fitted, score, score_repositories(held_out, fitted), score_repositories(held_out, Setting()))


def fit(score: Callable[[Setting], float]) -> tuple[Setting, float]:
    """Find weights and alpha by coordinate descent over the grid; return them with their score.

    One coordinate at a time takes the value of its grid that scores best while the others stay.

    Args:
        score: Returns the quality of a setting; higher is better.
    """
    best = Setting(alpha=START_ALPHA, weights=NEUTRAL_WEIGHTS)
    highest = score(best)
    for _ in range(MAX_ROUNDS):
        before = best
        for name in (*weight_names(), "alpha"):
            for candidate in _alternatives(best, name):
                if (reached := score(candidate)) > highest + LEAST_GAIN:
                    best, highest = candidate, reached
        if best == before:
            break
    return best, highest


def grid_of(name: str) -> tuple[float, ...]:
    """Return the grid of a weight or of alpha."""
    if name == "alpha":
        return ALPHA_GRID
    return FACTOR_GRID if getattr(NEUTRAL_WEIGHTS, name) == 1 else SUMMAND_GRID


def _alternatives(setting: Setting, name: str) -> list[Setting]:
    here = setting.alpha if name == "alpha" else getattr(setting.weights, name)
    others = [value for value in grid_of(name) if value != here]
    if name == "alpha":
        return [replace(setting, alpha=value) for value in others]
    return [replace(setting, weights=replace(setting.weights, **{name: value})) for value in others]


def mean_of_folds(folds: Sequence[Fold]) -> tuple[float, float]:
    """Return NDCG@10 over all repositories, each held out: with fitted and with shipped weights."""
    fitted = [score for fold in folds for score in fold.fitted_scores.values()]
    fixed = [score for fold in folds for score in fold.fixed_scores.values()]
    return fmean(fitted), fmean(fixed)
