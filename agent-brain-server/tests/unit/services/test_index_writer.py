"""The order of writes to the stores."""

import pytest

from agent_brain_server.project.services import ProjectServices
from agent_brain_server.services.pipeline import Batch, IndexWriter
from agent_brain_server.types import Chunk, FileChunks, FileRecord, FileStat, Skip


def make_file(path: str, *texts: str) -> FileChunks:
    chunks = tuple(
        Chunk(f"{path}-{text}", path, text, number, number, "python", "code") for number, text in enumerate(texts, 1)
    )
    return FileChunks(FileRecord(path, 1, 1, "hash", "pending"), "python", "code", chunks)


@pytest.fixture
def writer(services: ProjectServices) -> IndexWriter:
    return IndexWriter(services.documents, services.bm25, services.vectors)


def write(writer: IndexWriter, *files: FileChunks, binary: str | None = None) -> None:
    batch = Batch(files=list(files))
    if binary is not None:
        batch.skipped.append((FileStat(binary, 9, 9), Skip(binary, "binary")))
    writer.write_keywords(writer.write_documents(batch), batch)


def commit(writer: IndexWriter) -> None:
    writer.commit_keywords()
    writer.mark_indexed()


def is_pending(services: ProjectServices, path: str) -> bool:
    return services.documents.file_records()[path].state == "pending"


def test_file_is_pending_until_keywords_are_committed(services: ProjectServices, writer: IndexWriter) -> None:
    write(writer, make_file("a.py", "zebra", "giraffe"))
    assert is_pending(services, "a.py")
    assert services.bm25.search("zebra", 5) == []
    writer.commit_keywords()
    assert is_pending(services, "a.py")
    writer.mark_indexed()
    assert not is_pending(services, "a.py")
    assert len(services.bm25.search("zebra", 5)) == 1


def test_write_replaces_earlier_chunks(services: ProjectServices, writer: IndexWriter) -> None:
    for texts in (("zebra", "giraffe"), ("giraffe",)):
        write(writer, make_file("a.py", *texts))
        commit(writer)
    assert services.bm25.search("zebra", 5) == []
    assert services.bm25.count() == services.documents.counts().chunks == 1


def test_file_that_became_binary_is_removed_everywhere(services: ProjectServices, writer: IndexWriter) -> None:
    write(writer, make_file("a.py", "zebra"))
    commit(writer)
    write(writer, binary="a.py")
    commit(writer)
    assert services.bm25.count() == services.documents.counts().chunks == 0
    assert services.documents.file_records()["a.py"].state == "skipped"
    assert services.documents.skip_counts() == {"binary": 1}


def test_remove_and_clear_delete_from_every_store(services: ProjectServices, writer: IndexWriter) -> None:
    write(writer, make_file("a.py", "zebra"), make_file("b.py", "giraffe"))
    commit(writer)
    writer.remove(["a.py"])
    assert set(services.documents.file_records()) == {"b.py"}
    assert services.bm25.search("zebra", 5) == []
    writer.remove([])
    writer.clear()
    assert services.bm25.count() == services.documents.counts().files == 0
