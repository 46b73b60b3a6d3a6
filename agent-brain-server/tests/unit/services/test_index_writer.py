"""The order of the writes: at no moment does a store hold what would not be found out."""

import pytest

from agent_brain_server.project.services import ProjectServices
from agent_brain_server.services.index_writer import IndexWriter
from agent_brain_server.types import Chunk, FileChunks, FileRecord


def make_file(path: str, *texts: str) -> FileChunks:
    chunks = tuple(
        Chunk(f"{path}-{text}", path, text, number, number, "python", "code") for number, text in enumerate(texts, 1)
    )
    return FileChunks(FileRecord(path, 1, 1, "hash", "pending"), "python", "code", chunks)


@pytest.fixture
def writer(bundle: ProjectServices) -> IndexWriter:
    return IndexWriter(bundle.documents, bundle.bm25, bundle.vectors)


def test_a_file_counts_as_indexed_only_once_keywords_find_it(bundle: ProjectServices, writer: IndexWriter) -> None:
    assert writer.write([make_file("a.py", "zebra", "giraffe")], []) == 2
    assert bundle.documents.pending_paths() == ["a.py"]
    assert bundle.bm25.search("zebra", 5) == []
    writer.commit()
    assert bundle.documents.pending_paths() == []
    assert len(bundle.bm25.search("zebra", 5)) == 1


def test_writing_again_replaces(bundle: ProjectServices, writer: IndexWriter) -> None:
    for texts in (("zebra", "giraffe"), ("giraffe",)):
        writer.write([make_file("a.py", *texts)], [])
        writer.commit()
    assert bundle.bm25.search("zebra", 5) == []
    assert bundle.bm25.count() == bundle.documents.counts().chunks == 1


def test_a_file_that_became_a_binary_leaves_every_store(bundle: ProjectServices, writer: IndexWriter) -> None:
    writer.write([make_file("a.py", "zebra")], [])
    writer.commit()
    writer.write([], [(FileRecord("a.py", 9, 9, "", "skipped"), "binary")])
    writer.commit()
    assert bundle.bm25.count() == bundle.documents.counts().chunks == 0
    assert bundle.documents.file_records()["a.py"].state == "skipped"
    assert bundle.documents.skip_counts() == {"binary": 1}


def test_removed_and_cleared_files_are_in_no_store(bundle: ProjectServices, writer: IndexWriter) -> None:
    writer.write([make_file("a.py", "zebra"), make_file("b.py", "giraffe")], [])
    writer.commit()
    writer.remove(["a.py"])
    assert set(bundle.documents.file_records()) == {"b.py"}
    assert bundle.bm25.search("zebra", 5) == []
    writer.remove([])
    writer.clear()
    assert bundle.bm25.count() == bundle.documents.counts().files == 0
