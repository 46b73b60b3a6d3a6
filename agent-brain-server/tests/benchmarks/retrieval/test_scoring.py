"""NDCG@10 against values computed by hand: the gains of the first ranks are 1, 0.63093, 0.5 and 0.43068."""

import pytest

from benchmarks.retrieval.query_set import Target
from benchmarks.retrieval.scoring import (
    Passage,
    WholeFile,
    covers,
    existing_targets,
    first_rank,
    is_same_path,
    score_ndcg,
    score_random_orders,
)

A, B, C = Target("src/a.py"), Target("src/b.py"), Target("src/c.py")


def results(*paths: str) -> list[Passage]:
    return [Passage(path, 1, 10) for path in paths]


def test_path_match_allows_leading_directories_only() -> None:
    assert is_same_path("repo/src/a.py", "src/a.py")
    assert is_same_path("src/a.py", "repo/src/a.py")
    assert not is_same_path("data.py", "a.py")


def test_target_with_lines_matches_any_of_them() -> None:
    target = Target("a.py", 10, 20)
    assert covers(Passage("a.py", 20, 30), target)
    assert covers(Passage("a.py", 1, 10), target)
    assert not covers(Passage("a.py", 21, 30), target)
    assert not covers(Passage("a.py", 1, 9), target)
    assert covers(WholeFile("a.py"), target)
    assert not covers(WholeFile("b.py"), target)


@pytest.mark.parametrize(
    ("answer", "targets", "expected"),
    [
        (["src/a.py"], [A], 1.0),
        (["x.py", "src/a.py"], [A], 0.63093),
        (["x.py", "x.py", "src/a.py"], [A], 0.5),
        (["src/a.py", "x.py", "src/b.py"], [A, B], 1.5 / 1.63093),
        (["x.py", "src/b.py", "src/a.py"], [A, B, C], 1.13093 / 2.13093),
        (["src/a.py", "src/a.py", "src/b.py"], [A, B], 1.5 / 1.63093),
        (["x.py"] * 10 + ["src/a.py"], [A], 0.0),
        (["src/a.py"], [], 0.0),
        ([], [A], 0.0),
    ],
)
def test_ndcg_equals_hand_computed_values(answer: list[str], targets: list[Target], expected: float) -> None:
    assert score_ndcg(results(*answer), targets) == pytest.approx(expected, abs=1e-5)


def test_rank_matching_two_targets_counts_once() -> None:
    both = [Target("a.py", 1, 5), Target("a.py", 6, 9)]
    assert score_ndcg([Passage("a.py", 1, 9)], both) == pytest.approx(1 / 1.63093, abs=1e-5)


def test_ndcg_with_more_targets_than_ranks_reaches_one() -> None:
    targets = [Target(f"{number}.py") for number in range(12)]
    assert score_ndcg(results(*(target.path for target in targets)), targets) == pytest.approx(1.0)


def test_labels_of_missing_files_are_dropped() -> None:
    assert existing_targets((A, B), ["x/src/a.py", "b.py", "other/b.py"]) == (A, B)
    assert existing_targets((A, B), ["x/src/a.py", "other/b.py"]) == (A,)


def test_first_rank_is_of_any_target_within_ten() -> None:
    assert first_rank(results("x.py", "src/b.py", "src/a.py"), [A, B]) == 2
    assert first_rank(results(*["x.py"] * 10, "src/a.py"), [A]) is None


def test_random_order_score_equals_expectation() -> None:
    two = score_random_orders(["a.py", "b.py"], [Target("a.py")], orders=4000, seed="s")
    assert two == pytest.approx((1 + 0.63093) / 2, abs=0.01)
    hundred = score_random_orders([f"{n}.py" for n in range(100)], [Target("7.py")], orders=4000, seed="s")
    assert hundred == pytest.approx(4.54356 / 100, abs=0.01)  # the sum of ten gains, over as many files


def test_random_order_depends_on_seed_only() -> None:
    files = [f"{number}.py" for number in range(30)]
    one, same, other = (score_random_orders(files, [Target("3.py")], orders=20, seed=seed) for seed in "aab")
    assert one == same != other
