"""Write vectors of a seeded generator through the product's stores, if embedding would take too long."""

from contextlib import ExitStack
from pathlib import Path

import numpy as np

from agent_brain_server.config.settings import load_project_config
from agent_brain_server.embedding.embedders import identify_model
from agent_brain_server.project.recovery import Repairs
from agent_brain_server.project.services import open_stores
from agent_brain_server.services.embedding_queue import embedding_key, embedding_text
from agent_brain_server.storage_paths import resolve_storage_paths

BATCH = 2_000  # chunks: three megabytes of vectors
CLUSTERS = 2_000
SPREAD = 0.7
"""Share of a vector that is random; the rest is its cluster's, because texts form clusters."""


def write_generated_vectors(state_dir: Path) -> int:
    """Write a generated vector for every chunk without one; return the number. No server may be running.

    Args:
        state_dir: Of the project.
    """
    generator = np.random.default_rng(0)
    settings, written = load_project_config(state_dir), 0
    dimension = identify_model(settings.embedding_model).dimension
    with ExitStack() as closers:
        documents, _, vectors = open_stores(resolve_storage_paths(state_dir), settings, closers, Repairs())
        centres = generator.standard_normal((CLUSTERS, dimension), dtype=np.float32)
        while chunks := documents.unembedded(BATCH):
            own = generator.standard_normal((len(chunks), dimension), dtype=np.float32)
            made = (1 - SPREAD) * centres[generator.integers(CLUSTERS, size=len(chunks))] + SPREAD * own
            made /= np.linalg.norm(made, axis=1, keepdims=True)
            keys = [stored.key for stored in chunks]
            vectors.add(keys, [embedding_key(embedding_text(stored.chunk)) for stored in chunks], made)
            documents.mark_embedded(keys)
            written += len(chunks)
    return written
