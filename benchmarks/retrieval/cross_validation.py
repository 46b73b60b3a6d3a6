"""Do the weights hold for repositories that they were not chosen on?

Repositories are dealt into folds. For each fold, weights are fitted to the questions of the others, from weights that
do nothing, and scored on it; beside that the product's fixed weights are scored on the same fold.
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
from benchmarks.retrieval.gathering import AskedRepository

SEED = 0

SUMMAND_GRID = (-0.4, -0.2, 0.0, 0.1, 0.2, 0.3, 0.4, 0.6)
"""Of a weight that is added beside a best fused score of 1; steps as fine as the curves are flat."""

FACTOR_GRID = (1.0, 0.85, 0.7, 0.5, 0.3)
"""Of a weight by which a score is multiplied."""

ALPHA_GRID = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)

START_ALPHA = 0.5
"""Both sides count the same before anything is known."""

MAX_ROUNDS = 3
"""Passes over all weights; the third seldom changes one."""

LEAST_GAIN = 1e-4
"""Less is a change in the last ranks: one of 480 questions whose answer moves from the second rank to the first adds
8e-4."""


@dataclass(frozen=True, slots=True)
class Fold:
    """What came of one fold: NDCG@10 by repository that was held out, and of the others."""

    fitted: Setting
    training_score: float
    fitted_scores: dict[str, float]
    fixed_scores: dict[str, float]


def deal_folds(names: Sequence[str], count: int, seed: int) -> list[list[str]]:
    """Deal names into folds whose sizes differ by one at the most, in an order that the seed decides."""
    shuffled = sorted(names)
    random.Random(seed).shuffle(shuffled)
    return [shuffled[start::count] for start in range(count) if shuffled[start::count]]


def cross_validate(asked: Sequence[AskedRepository], folds: int) -> list[Fold]:
    """Fit and score every fold, as many at a time as there are processors."""
    jobs = []
    for names in deal_folds([each.repository.name for each in asked], folds, SEED):
        held_out = [each for each in asked if each.repository.name in names]
        jobs.append(([each for each in asked if each.repository.name not in names], held_out))
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        return list(pool.map(_try_fold, *zip(*jobs, strict=True)))


def _try_fold(training: Sequence[AskedRepository], held_out: Sequence[AskedRepository]) -> Fold:
    fitted, score = fit(cache(lambda setting: score_setting(training, setting)))  # a pass repeats much of the last one
    return Fold(fitted, score, score_repositories(held_out, fitted), score_repositories(held_out, Setting()))


def fit(score: Callable[[Setting], float]) -> tuple[Setting, float]:
    """Find weights and alpha by coordinate descent over the grid; returns them with their score.

    One coordinate at a time takes the value of its grid that scores best while the others stay.

    Args:
        score: Says how good a setting is; more is better.
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
    """Return the values that a weight, or alpha, may take."""
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
    """Return NDCG@10 over all repositories, each scored while held out: with fitted and with fixed weights."""
    fitted = [score for fold in folds for score in fold.fitted_scores.values()]
    fixed = [score for fold in folds for score in fold.fixed_scores.values()]
    return fmean(fitted), fmean(fixed)
