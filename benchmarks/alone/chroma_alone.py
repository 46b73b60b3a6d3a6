"""Chroma alone, in the process: a collection of the project's vectors, queried with the vectors of the queries.

Usage: python -m benchmarks.alone.chroma_alone STATE_DIR QUERIES.json
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import chromadb
import numpy as np
import numpy.typing as npt
from chromadb.config import Settings

from agent_brain_server.embedding.embedders import open_embedder
from agent_brain_server.models import DEFAULT_MODEL
from benchmarks.alone.timing import CANDIDATES, read_queries, report, time_calls

BATCH = 1_000


def main() -> None:
    """Fill a collection, then query it."""
    state_dir, questions = Path(sys.argv[1]), read_queries(sys.argv[2])
    embedder = open_embedder(DEFAULT_MODEL, threads=1)
    (matrix,) = (state_dir / "data" / "chroma_db").glob("matrix-*.f32")
    vectors = np.fromfile(matrix, dtype=np.float32).reshape(-1, embedder.dimension)
    asked = [embedder.embed([question]) for question in questions]
    with tempfile.TemporaryDirectory() as scratch:
        client = chromadb.PersistentClient(path=scratch, settings=Settings(anonymized_telemetry=False))
        configuration: Any = {"hnsw": {"space": "cosine"}}
        collection = client.create_collection("alone", configuration=configuration, embedding_function=None)
        for first in range(0, len(vectors), BATCH):
            batch = vectors[first : first + BATCH]
            collection.add(ids=[str(first + offset) for offset in range(len(batch))], embeddings=batch)

        def ask(vector: npt.NDArray[np.float32]) -> object:
            return collection.query(query_embeddings=vector, n_results=CANDIDATES, include=["distances"])

        report(time_calls(ask, asked))
        client.close()  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
