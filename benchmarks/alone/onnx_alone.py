"""ONNX Runtime alone: embed each query, one at a time, on one thread as in the server.

Usage: python -m benchmarks.alone.onnx_alone QUERIES.json
"""

import sys

from agent_brain_server.embedding.embedders import open_embedder
from agent_brain_server.models import DEFAULT_MODEL
from benchmarks.alone.timing import read_queries, report, time_calls


def main() -> None:
    """Embed each query."""
    embedder = open_embedder(DEFAULT_MODEL, threads=1)
    report(time_calls(embedder.embed, [[question] for question in read_queries(sys.argv[1])]))


if __name__ == "__main__":
    main()
