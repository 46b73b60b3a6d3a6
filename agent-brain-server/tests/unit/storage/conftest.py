import hashlib
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent_brain_server.storage.chroma_engine import ChromaEngine
from agent_brain_server.storage.document_store import DocumentStore
from agent_brain_server.storage.exact_engine import ExactEngine
from agent_brain_server.storage.vector_store import VectorEngine
from agent_brain_server.types import ChromaServer, Chunk, FileChunks, FileRecord, Vectors

MakeFile = Callable[..., FileChunks]

ENGINES = ("exact", "embedded", pytest.param("server", marks=pytest.mark.process))
DIMENSION = 24
COUNT = 300


@pytest.fixture
def make_file() -> MakeFile:
    """Return a maker of files: one chunk of one line for each text."""

    def make(
        path: str, texts: Sequence[str], *, language: str = "python", source_type: str = "code", first_line: int = 1
    ) -> FileChunks:
        chunks = tuple(
            Chunk(
                id=hashlib.sha256(f"{path}\0{text}".encode()).hexdigest()[:24],
                path=path,
                text=text,
                start_line=first_line + number,
                end_line=first_line + number,
                language=language,
                source_type=source_type,
                symbols=(f"name_{text}", "Outer"),
                heading="class Outer",
            )
            for number, text in enumerate(texts)
        )
        content_hash = hashlib.sha256("".join(texts).encode()).hexdigest()
        return FileChunks(FileRecord(path, 10, 20, content_hash, "pending"), language, source_type, chunks)

    return make


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DocumentStore]:
    store = DocumentStore(tmp_path / "documents")
    yield store
    store.close()


@pytest.fixture(scope="module")
def chroma_server(chroma_run: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Return a running Chroma server that the tests of a module share."""
    server = chroma_run(tmp_path_factory.mktemp("chroma server"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(params=ENGINES)
def open_engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., VectorEngine]]:
    """Return a function that opens an engine of each kind; the same directory is used unless another is given."""
    opened: list[VectorEngine] = []
    server = request.getfixturevalue("chroma_server") if request.param == "server" else None
    default_store_id = uuid.uuid4().hex  # names the collection, as the server is shared

    def open_now(
        directory: Path = tmp_path / "vectors", *, model: str = "model", store_id: str = default_store_id
    ) -> VectorEngine:
        if request.param == "exact":
            engine: VectorEngine = ExactEngine(directory, dimension=DIMENSION, model=model, store_id=store_id)
        else:
            named = None if server is None else ChromaServer(server.url)
            engine = ChromaEngine(directory, dimension=DIMENSION, model=model, store_id=store_id, server=named)
        opened.append(engine)
        return engine

    yield open_now
    for engine in opened:
        engine.close()


@pytest.fixture
def vectors() -> Vectors:
    return unit_vectors(COUNT)


def unit_vectors(count: int, seed: int = 7) -> Vectors:
    """Return random unit vectors, shape (count, DIMENSION)."""
    vectors = np.random.default_rng(seed).standard_normal((count, DIMENSION)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
