"""Tantivy alone: runs of forty lines, one field, the words of each query.

Usage: python -m benchmarks.alone.tantivy_alone CORPUS QUERIES.json
"""

import re
import sys
import tempfile
from pathlib import Path

import tantivy

from benchmarks.alone.timing import CANDIDATES, read_queries, report, time_calls
from benchmarks.plain_index import index_plainly


def main() -> None:
    """Index the corpus, then query it."""
    with tempfile.TemporaryDirectory() as scratch:
        index_plainly(Path(sys.argv[1]), scratch)
        index = tantivy.Index.open(scratch)
        searcher = index.searcher()

        def ask(question: str) -> object:
            return searcher.search(index.parse_query(question, ["body"]), CANDIDATES).hits

        # Only words: anything else would be query syntax.
        report(time_calls(ask, [" ".join(re.findall(r"\w+", each.lower())) for each in read_queries(sys.argv[2])]))


if __name__ == "__main__":
    main()
