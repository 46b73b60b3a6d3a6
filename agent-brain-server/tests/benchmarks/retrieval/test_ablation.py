"""Ablation of ranking weights."""

import pytest

from agent_brain_server.search.ranking import DEFAULT_WEIGHTS, NEUTRAL_WEIGHTS, RankingWeights
from agent_brain_server.types import ChunkMetadata, Hit
from benchmarks.retrieval.ablation import (
    ALPHAS,
    measure_alphas,
    measure_losses,
    score_repositories,
    weight_names,
    without,
)
from benchmarks.retrieval.answering import Candidates, Setting
from benchmarks.retrieval.evaluation import EvaluatedQuery, EvaluatedRepository
from benchmarks.retrieval.query_set import LabelledQuery, LabelledRepository, Target
from benchmarks.retrieval.reading import Reading

NOTHING_READ = Reading(0, is_found=False)


def make_repository(name: str, target: str) -> EvaluatedRepository:
    """Return a repository with one query: keywords find a.py twice, then b.py, and vectors find b.py only."""
    places = {1: ("a.py", 1), 2: ("a.py", 11), 3: ("b.py", 1)}
    metadata = {
        key: ChunkMetadata(key, path, line, line + 9, "python", "code", (), None)
        for key, (path, line) in places.items()
    }
    candidates = Candidates("zebra", (Hit(1, 1.0), Hit(2, 0.9), Hit(3, 0.8)), (Hit(3, 0.9),), metadata)
    query = LabelledQuery("zebra", "symbol", (Target(target),))
    evaluated = EvaluatedQuery(query, query.targets, {}, candidates, 0.0, NOTHING_READ)
    return EvaluatedRepository(LabelledRepository(name, "python", {}, (query,)), 2, 3, (evaluated,))


def test_ablated_weight_is_neutral_others_unchanged() -> None:
    for name in weight_names():
        weights = without(Setting(), name).weights
        assert getattr(weights, name) == getattr(NEUTRAL_WEIGHTS, name)
        assert sum(getattr(weights, n) != getattr(DEFAULT_WEIGHTS, n) for n in weight_names()) == 1


def test_ablation_ranks_candidates_by_given_weights() -> None:
    evaluated = [make_repository("one", "b.py")]
    neutral = Setting("bm25", weights=NEUTRAL_WEIGHTS)
    held_back = Setting("bm25", weights=RankingWeights(0, 0, 0, 0, 1, 1, 0.5))
    assert score_repositories(evaluated, neutral)["one"] == pytest.approx(0.5)  # the third rank
    assert score_repositories(evaluated, held_back)["one"] == pytest.approx(0.63093, abs=1e-5)  # the second


def test_ablation_loss_is_mean_over_repositories() -> None:
    losses = measure_losses([make_repository("one", "b.py"), make_repository("two", "a.py")])
    assert list(losses) == list(weight_names())
    assert losses["decay"]["bm25"] == pytest.approx((0.63093 - 0.5) / 2, abs=1e-5)
    assert losses["test_factor"]["bm25"] == 0


def test_alpha_sweep_goes_from_keywords_to_vectors() -> None:
    curve = measure_alphas([make_repository("one", "b.py")])
    assert tuple(curve) == ALPHAS
    assert curve[0.0] < curve[1.0] == 1
