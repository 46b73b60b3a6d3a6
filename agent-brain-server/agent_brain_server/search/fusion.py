"""Fusion of keyword and vector results: a convex combination of normalized scores.

Bruch, Gai & Ingber 2023 ("An Analysis of Fusion Functions for Hybrid Retrieval") compare it with reciprocal rank fusion
(Cormack, Clarke & Büttcher 2009). Unlike ranks, scores preserve how far the best hit is ahead of the others.
benchmarks/NOTES-quality.md compares both on labelled code queries.
"""

from collections.abc import Mapping

from agent_brain_server.search.parsed_query import ParsedQuery
from agent_brain_server.support.tokens import tokenize

UNCOVERED_ALPHA = 0.45
COVERED_ALPHA = 0.25
"""Weight of the vectors if the best keyword hit contains none or all of the query's terms; see docs/QUALITY.md."""


def choose_alpha(coverage: float) -> float:
    """Return the weight of the vectors for a query whose request does not set it.

    If one chunk contains all words of a query, the keywords have found what is meant. The fewer are found, the more
    likely the code uses other words.

    Args:
        coverage: Share of the query's terms in the best keyword hit, in [0, 1].
    """
    return UNCOVERED_ALPHA + (COVERED_ALPHA - UNCOVERED_ALPHA) * coverage


def measure_coverage(query: ParsedQuery, text: str) -> float:
    """Return the share of the query's terms that a text contains; 1 for a query without terms."""
    return len(query.terms.intersection(tokenize(text))) / len(query.terms) if query.terms else 1.0


def normalize_bm25(scores: Mapping[int, float]) -> dict[int, float]:
    """Divide BM25 scores by their maximum; 0 is a chunk that contains no term of the query.

    Args:
        scores: BM25 score by chunk key.

    Returns:
        Scores in [0, 1] by chunk key; empty if no score is positive.
    """
    best = max(scores.values(), default=0.0)
    return {key: score / best for key, score in scores.items()} if best > 0 else {}


def normalize_cosines(scores: Mapping[int, float]) -> dict[int, float]:
    """Min-max normalize cosine similarities, which have no natural zero.

    Args:
        scores: Cosine by chunk key.

    Returns:
        Scores in [0, 1] by chunk key; all 1 if the cosines are equal.
    """
    if not scores:
        return {}
    worst, best = min(scores.values()), max(scores.values())
    if best <= worst:
        return dict.fromkeys(scores, 1.0)
    return {key: (score - worst) / (best - worst) for key, score in scores.items()}


def fuse_scores(bm25: Mapping[int, float], vector: Mapping[int, float], alpha: float) -> dict[int, float]:
    """Return `(1 - alpha) * bm25 + alpha * vector` for each chunk key; a missing score counts as 0.

    Args:
        bm25: Normalized BM25 scores by chunk key.
        vector: Normalized cosines by chunk key.
        alpha: Weight of the vector scores, in [0, 1].
    """
    fused = {key: (1 - alpha) * score for key, score in bm25.items()}
    for key, score in vector.items():
        fused[key] = fused.get(key, 0.0) + alpha * score
    return fused
