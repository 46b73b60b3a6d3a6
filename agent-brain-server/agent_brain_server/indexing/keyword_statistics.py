"""Correct tantivy's BM25 for deleted documents, which it counts until it merges their segment."""

import math
from typing import Any

import tantivy

from agent_brain_server.indexing.keyword_documents import CHUNK_ROLE, FILLER_ROLE, ROLE


class KeywordStatistics:
    """Document frequencies in one state of the index.

    Args:
        schema: Schema of the index.
        searcher: A searcher of that state.
    """

    def __init__(self, schema: tantivy.Schema, searcher: tantivy.Searcher) -> None:
        self._schema = schema
        self._searcher = searcher
        self.chunks = self._count(ROLE, CHUNK_ROLE)
        self._counted = sum(searcher.doc_freq(ROLE, role) for role in (CHUNK_ROLE, FILLER_ROLE))
        self._corrections: dict[tuple[str, str], float] = {}

    def correction(self, field: str, term: str) -> float:
        """Return the factor from tantivy's weight of a term to that in an index of the chunks that exist.

        Returns:
            0 if no chunk that exists has the term in the field.
        """
        known = self._corrections.get((field, term))
        if known is None:
            counted = self._searcher.doc_freq(field, term)
            existing = self._count(field, term) if counted else 0
            known = (
                inverse_frequency(self.chunks, existing) / inverse_frequency(self._counted, counted) if existing else 0
            )
            self._corrections[field, term] = known
        return known

    def _count(self, field: str, term: str) -> int:
        """Return the number of documents that exist with a term; takes a walk over the term's list if some do not."""
        query = tantivy.Query.term_query(self._schema, field, term, "basic")
        result: Any = self._searcher.search(query, 1, count=True)  # tantivy's stubs lack `count`
        return int(result.count or 0)


def inverse_frequency(documents: int, with_term: int) -> float:
    """Return the inverse document frequency as tantivy computes it (Robertson & Zaragoza 2009)."""
    return math.log(1 + (documents - with_term + 0.5) / (with_term + 0.5))
