"""How good one answer is: NDCG@10 (Järvelin & Kekäläinen 2002) with binary gains, and what chance reaches."""

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.retrieval.query_set import Target

DEPTH = 10
"""Results that count: what an agent is given where it asks for no other number."""


@dataclass(frozen=True, slots=True)
class Passage:
    """Some lines of a file, as a result names them; lines are 1-based, the last one inclusive."""

    path: str
    start_line: int
    end_line: int


@dataclass(frozen=True, slots=True)
class WholeFile:
    """A result that is a file, as a list of files gives it."""

    path: str


Result = Passage | WholeFile


def is_same_path(one: str, other: str) -> bool:
    """Tell whether two paths name one file; either may have further directories in front."""
    return one == other or one.endswith(f"/{other}") or other.endswith(f"/{one}")


def covers(result: Result, target: Target) -> bool:
    """Tell whether a result shows a target: the same file, and a line of it where the target has lines."""
    if not is_same_path(result.path, target.path):
        return False
    if isinstance(result, WholeFile) or target.start_line is None or target.end_line is None:
        return True
    return result.start_line <= target.end_line and target.start_line <= result.end_line


def existing_targets(targets: Iterable[Target], files: Sequence[str]) -> tuple[Target, ...]:
    """Return the targets that name a file of the tree; a label may be of another revision."""
    return tuple(target for target in targets if any(is_same_path(path, target.path) for path in files))


def score_ndcg(results: Sequence[Result], targets: Sequence[Target]) -> float:
    """Return NDCG@10 of one answer.

    A target counts at the rank of the first result that shows it, and a rank counts once, whatever it shows. In the
    ideal answer each target has a rank of its own, from the first on.

    Args:
        results: As answered, the best first; two chunks of one file take two ranks.
        targets: Those that exist.
    """
    if not targets:
        return 0.0
    ranks = {rank for target in targets if (rank := first_rank(results, (target,))) is not None}
    ideal = sum(map(_gain, range(1, min(DEPTH, len(targets)) + 1)))
    return sum(map(_gain, ranks)) / ideal


def first_rank(results: Sequence[Result], targets: Sequence[Target]) -> int | None:
    """Return the rank of the first of ten results that shows any of the targets, 1-based; None where none does."""
    for rank, result in enumerate(results[:DEPTH], 1):
        if any(covers(result, target) for target in targets):
            return rank
    return None


def score_random_orders(files: Sequence[str], targets: Sequence[Target], *, orders: int, seed: str) -> float:
    """Return the mean NDCG@10 of files in random order: what an answer is worth that knows nothing.

    Args:
        files: All that could be answered, in a fixed order.
        targets: Those that exist.
        orders: How many to average over.
        seed: The same one gives the same orders.
    """
    chance = random.Random(seed)
    picks = (chance.sample(files, min(DEPTH, len(files))) for _ in range(orders))
    return sum(score_ndcg([WholeFile(path) for path in pick], targets) for pick in picks) / orders


def _gain(rank: int) -> float:
    return 1 / math.log2(rank + 1)
