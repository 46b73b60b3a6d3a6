"""Score one answer: NDCG@10 (Järvelin & Kekäläinen 2002) with binary gains, and the score of random order."""

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.retrieval.query_set import Target

DEPTH = 10
"""Results that count: the default of `top_k`."""


@dataclass(frozen=True, slots=True)
class Passage:
    """Lines of a file in a result; 1-based, the last one inclusive."""

    path: str
    start_line: int
    end_line: int


@dataclass(frozen=True, slots=True)
class WholeFile:
    """A result that is a complete file."""

    path: str


Result = Passage | WholeFile


def is_same_path(one: str, other: str) -> bool:
    """Return whether two paths name the same file; either may have more leading directories."""
    return one == other or one.endswith(f"/{other}") or other.endswith(f"/{one}")


def covers(result: Result, target: Target) -> bool:
    """Return whether a result shows a target: the same file, and one of its lines if it has lines."""
    if not is_same_path(result.path, target.path):
        return False
    if isinstance(result, WholeFile) or target.start_line is None or target.end_line is None:
        return True
    return result.start_line <= target.end_line and target.start_line <= result.end_line


def contains(result: Result, target: Target) -> bool:
    """Return whether a result shows all lines of a target that has lines."""
    if not covers(result, target) or isinstance(result, WholeFile) or target.start_line is None:
        return covers(result, target)
    return result.start_line <= target.start_line and (target.end_line or target.start_line) <= result.end_line


def existing_targets(targets: Iterable[Target], files: Sequence[str]) -> tuple[Target, ...]:
    """Return the targets that exist in the tree; a label may be of another revision."""
    return tuple(target for target in targets if any(is_same_path(path, target.path) for path in files))


def score_ndcg(results: Sequence[Result], targets: Sequence[Target]) -> float:
    """Return NDCG@10 of one answer.

    A target counts at the rank of the first result that shows it, and each rank counts once. In the ideal answer the
    targets have the first ranks.

    Args:
        results: Results, best first; two chunks of one file take two ranks.
        targets: Targets that exist in the tree.
    """
    if not targets:
        return 0.0
    ranks = {rank for target in targets if (rank := first_rank(results, (target,))) is not None}
    ideal = sum(map(_gain, range(1, min(DEPTH, len(targets)) + 1)))
    return sum(map(_gain, ranks)) / ideal


def first_rank(results: Sequence[Result], targets: Sequence[Target]) -> int | None:
    """Return the 1-based rank of the first of ten results that shows a target, or `None`."""
    for rank, result in enumerate(results[:DEPTH], 1):
        if any(covers(result, target) for target in targets):
            return rank
    return None


def score_random_orders(files: Sequence[str], targets: Sequence[Target], *, orders: int, seed: str) -> float:
    """Return the mean NDCG@10 of files in random order, as a lower bound.

    Args:
        files: All indexed files, in a fixed order.
        targets: Targets that exist in the tree.
        orders: Number of orders to average.
        seed: Seed of the orders.
    """
    chance = random.Random(seed)
    picks = (chance.sample(files, min(DEPTH, len(files))) for _ in range(orders))
    return sum(score_ndcg([WholeFile(path) for path in pick], targets) for pick in picks) / orders


def _gain(rank: int) -> float:
    return 1 / math.log2(rank + 1)
