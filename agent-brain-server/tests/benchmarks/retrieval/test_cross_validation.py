"""Cross-validation folds and fitted weights."""

import pytest

from agent_brain_server.search.ranking import NEUTRAL_WEIGHTS
from benchmarks.retrieval.answering import Setting
from benchmarks.retrieval.cross_validation import (
    LEAST_GAIN,
    START_ALPHA,
    Fold,
    deal_folds,
    fit,
    grid_of,
    mean_of_folds,
)

NAMES = [f"repository-{number}" for number in range(13)]


def test_folds_partition_names_evenly() -> None:
    folds = deal_folds(NAMES, 5, 0)
    assert sorted(name for fold in folds for name in fold) == sorted(NAMES)
    assert sorted(map(len, folds)) == [2, 2, 3, 3, 3]


def test_folds_depend_on_seed_not_on_name_order() -> None:
    assert deal_folds(NAMES, 5, 0) == deal_folds(NAMES[::-1], 5, 0) != deal_folds(NAMES, 5, 1)


def test_folds_with_too_few_names_are_fewer() -> None:
    assert deal_folds(["a", "b"], 5, 0) in ([["a"], ["b"]], [["b"], ["a"]])


def test_grids_include_neutral_values() -> None:
    assert 0 in grid_of("defines_name")
    assert 1 in grid_of("decay")
    assert START_ALPHA in grid_of("alpha")


def test_fit_finds_best_grid_value() -> None:
    def score(setting: Setting) -> float:
        return -((setting.weights.decay - 0.5) ** 2) - (setting.weights.file_evidence - 0.3) ** 2 - setting.alpha**2

    fitted, reached = fit(score)
    assert (fitted.weights.decay, fitted.weights.file_evidence, fitted.alpha) == (0.5, 0.3, 0.0)
    assert fitted.weights.defines_name == NEUTRAL_WEIGHTS.defines_name
    assert reached == pytest.approx(0)


def test_fit_with_negligible_gain_keeps_weight() -> None:
    fitted, _ = fit(lambda setting: LEAST_GAIN * setting.weights.defines_name)
    assert fitted == Setting(alpha=START_ALPHA, weights=NEUTRAL_WEIGHTS)


def test_mean_is_over_repositories_not_folds() -> None:
    folds = [
        Fold(Setting(), 0.9, {"a": 1.0, "b": 0.7, "c": 0.7}, {"a": 0.8, "b": 0.8, "c": 0.8}),
        Fold(Setting(), 0.9, {"d": 0.4}, {"d": 0.4}),
    ]
    assert mean_of_folds(folds) == pytest.approx((0.7, 0.7))
