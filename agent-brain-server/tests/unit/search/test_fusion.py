import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_brain_server.search.fusion import (
    COVERED_ALPHA,
    UNCOVERED_ALPHA,
    choose_alpha,
    fuse_scores,
    measure_coverage,
    normalize_bm25,
    normalize_cosines,
)
from agent_brain_server.search.parsed_query import parse_query

SCORES = st.lists(st.floats(min_value=0.001, max_value=50), max_size=20)


def by_key(scores):
    return dict(enumerate(scores))


def test_normalize_bm25_divides_by_best():
    assert normalize_bm25(by_key([8.0, 4.0, 2.0])) == {0: 1.0, 1: 0.5, 2: 0.25}


def test_normalize_cosines_min_max():
    assert normalize_cosines(by_key([0.9, 0.5, 0.1])) == {0: 1.0, 1: pytest.approx(0.5), 2: 0.0}
    assert normalize_cosines(by_key([-0.2])) == {0: 1.0}


def test_normalize_empty_scores():
    assert normalize_bm25({}) == normalize_cosines({}) == fuse_scores({}, {}, 0.5) == {}


def test_fuse_scores_weights_vectors_by_alpha():
    bm25, vector = {1: 1.0, 2: 0.5}, {2: 1.0, 3: 0.5}
    assert fuse_scores(bm25, vector, 0.0) == {1: 1.0, 2: 0.5, 3: 0.0}
    assert fuse_scores(bm25, vector, 1.0) == {1: 0.0, 2: 1.0, 3: 0.5}
    assert fuse_scores(bm25, vector, 0.4) == {1: pytest.approx(0.6), 2: pytest.approx(0.7), 3: pytest.approx(0.2)}


@given(SCORES, SCORES, st.floats(min_value=0, max_value=1))
def test_fuse_scores_stays_in_unit_interval(keyword, cosine, alpha):
    fused = fuse_scores(normalize_bm25(by_key(keyword)), normalize_cosines(by_key(cosine)), alpha)
    assert all(-1e-9 <= score <= 1 + 1e-9 for score in fused.values())


def test_choose_alpha_falls_with_coverage():
    chosen = [choose_alpha(coverage / 10) for coverage in range(11)]
    assert (chosen[0], chosen[-1]) == pytest.approx((UNCOVERED_ALPHA, COVERED_ALPHA))
    assert chosen == sorted(chosen, reverse=True)


@pytest.mark.parametrize(
    ("text", "coverage"),
    [("def release_lock():", 2 / 3), ("the locks are released early", 1), ("", 0), ("unrelated", 0)],
)
def test_measure_coverage_share_of_terms(text, coverage):
    assert measure_coverage(parse_query("release the lock early"), text) == pytest.approx(coverage)


def test_measure_coverage_no_terms_is_complete():
    assert measure_coverage(parse_query("?!"), "text") == 1
