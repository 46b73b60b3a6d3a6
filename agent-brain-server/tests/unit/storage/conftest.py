import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from agent_brain_server.storage.document_store import DocumentStore
from agent_brain_server.types import Chunk, FileChunks, FileRecord

MakeFile = Callable[..., FileChunks]


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
