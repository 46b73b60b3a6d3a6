"""Measure the effect of each ranking weight and of `alpha`."""

from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from statistics import fmean

from agent_brain_server.search.ranking import NEUTRAL_WEIGHTS, RankingWeights
from agent_brain_server.types import SearchMode
from benchmarks.retrieval.answering import Setting
from benchmarks.retrieval.evaluation import EvaluatedRepository

ALPHAS = tuple(step / 10 for step in range(11))

ABLATED_MODES: tuple[SearchMode, ...] = ("hybrid", "bm25")


def weight_names() -> tuple[str, ...]:
    """Return the names of all weights."""
    return tuple(field.name for field in fields(RankingWeights))


def score_repositories(evaluated: Iterable[EvaluatedRepository], setting: Setting) -> dict[str, float]:
    """Return the mean NDCG@10 of each repository as ranked by a setting."""
    return {each.repository.name: fmean(query.score_ranked(setting) for query in each.queries) for each in evaluated}


def score_setting(evaluated: Iterable[EvaluatedRepository], setting: Setting) -> float:
    """Return NDCG@10 as the mean over repositories."""
    return fmean(score_repositories(evaluated, setting).values())


def measure_losses(evaluated: Sequence[EvaluatedRepository]) -> dict[str, dict[SearchMode, float]]:
    """Return the loss of NDCG@10 by weight and mode if that weight alone is neutral."""
    whole = {mode: score_setting(evaluated, Setting(mode)) for mode in ABLATED_MODES}
    return {
        name: {mode: whole[mode] - score_setting(evaluated, without(Setting(mode), name)) for mode in ABLATED_MODES}
        for name in weight_names()
    }


def without(setting: Setting, name: str) -> Setting:
    """Return a setting with one weight neutral."""
    return replace(setting, weights=replace(setting.weights, **{name: getattr(NEUTRAL_WEIGHTS, name)}))


def measure_names_first(evaluated: Sequence[EvaluatedRepository]) -> dict[SearchMode, float]:
    """Return the loss of NDCG@10 by mode if the definitions of a name do not come first."""
    return {
        mode: score_setting(evaluated, Setting(mode)) - score_setting(evaluated, Setting(mode, names_first=False))
        for mode in ABLATED_MODES
    }


def measure_neutral(evaluated: Sequence[EvaluatedRepository]) -> dict[SearchMode, float]:
    """Return NDCG@10 by mode with all weights neutral: the fused scores alone."""
    return {mode: score_setting(evaluated, Setting(mode, weights=NEUTRAL_WEIGHTS)) for mode in ABLATED_MODES}


def measure_alphas(evaluated: Sequence[EvaluatedRepository]) -> dict[float, float]:
    """Return NDCG@10 in hybrid mode by the weight of the vector side."""
    return {alpha: score_setting(evaluated, Setting(alpha=alpha)) for alpha in ALPHAS}
