"""The reference of the embedding rate: the embedder alone, on every core, with the same chunks.

Usage: python -m benchmarks.embedder_alone CORPUS; prints chunks a second.
"""

import itertools
import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from agent_brain_server.config.settings import ProjectConfig
from agent_brain_server.embedding.embedders import open_embedder
from agent_brain_server.indexing.chunking.chunker import chunk_file
from agent_brain_server.indexing.reading.loader import load_file
from agent_brain_server.models import DEFAULT_MODEL
from agent_brain_server.types import FileStat, SourceText

SAMPLE = 600  # chunks: about seven seconds of work
BATCH = 32


def sample_chunks(corpus: Path) -> Iterator[str]:
    """Yield the texts of the chunks of the corpus's Python files in a seeded random order."""
    settings = ProjectConfig()
    paths = sorted(corpus.rglob("*.py"))
    random.Random(0).shuffle(paths)
    for path in paths:
        stat = path.stat()
        found = FileStat(path.relative_to(corpus).as_posix(), stat.st_size, stat.st_mtime_ns)
        source = load_file(corpus, found, settings.max_file_bytes)
        if isinstance(source, SourceText):
            chunks = chunk_file(source, chunk_size=settings.chunk_size, chunk_overlap=settings.chunk_overlap).chunks
            yield from (chunk.text for chunk in chunks)


def main() -> None:
    """Print the rate."""
    texts = list(itertools.islice(sample_chunks(Path(sys.argv[1])), SAMPLE))
    embedder = open_embedder(DEFAULT_MODEL, threads=os.cpu_count() or 1)
    embedder.embed(texts[:BATCH])
    started = time.perf_counter()
    for start in range(0, len(texts), BATCH):
        embedder.embed(texts[start : start + BATCH])
    print(len(texts) / (time.perf_counter() - started))


if __name__ == "__main__":
    main()
