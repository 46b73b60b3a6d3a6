"""The lexical half of semble, run in a virtual environment with semble and nothing of this repository.

Its own walk, chunks, words, BM25, boosts and ranking; the semantic half finds nothing here, since its model would have
to be downloaded from a model hub.

Usage: PYTHON semble_lexical.py CORPUS QUERIES.json
"""

import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace

from semble.chunking import chunk_source
from semble.index.bm25 import BM25
from semble.index.file_walker import walk_files
from semble.index.files import detect_language, get_extensions, read_file_text
from semble.index.sparse import enrich_for_bm25
from semble.search import search
from semble.tokens import tokenize
from semble.types import ContentType

WARM = 20  # first calls, not counted, as for the others
TOP_K = 10  # as the product

NO_MODEL = SimpleNamespace(encode=lambda texts: None)
NO_VECTORS = SimpleNamespace(query=lambda vector, k, selector: [([], [])])


def main() -> None:
    """Index the corpus in memory, then query it."""
    root = Path(sys.argv[1])
    index, chunks = BM25.empty(), []
    for path in sorted(walk_files(root, get_extensions([ContentType.CODE]))):
        chunks += chunk_source(read_file_text(path), str(path.relative_to(root)), detect_language(path))
    for number, chunk in enumerate(chunks):
        index.add_document(str(number), tokenize(enrich_for_bm25(chunk)))
    index.set_doc_order([str(number) for number in range(len(chunks))])
    latencies = []
    for question in json.loads(Path(sys.argv[2]).read_text(encoding="utf-8")):
        started = time.perf_counter()
        search(question, NO_MODEL, NO_VECTORS, index, chunks, TOP_K, alpha=0.0)
        latencies.append((time.perf_counter() - started) * 1000)
    json.dump([round(latency, 4) for latency in latencies[WARM:]], sys.stdout)


if __name__ == "__main__":
    main()
