"""The keyword half of a job with the real worker: what is asked, what is read, what is counted."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from agent_brain_server import project_root
from agent_brain_server.config.settings import ProjectConfig
from agent_brain_server.errors import InvalidRequestError, NotFoundError
from agent_brain_server.indexing.worker.client import WorkerClient
from agent_brain_server.models.index import IndexRequest, JobProgress, JobStatus
from agent_brain_server.project.services import ProjectServices
from agent_brain_server.services.file_indexer import (
    BATCH_FILES,
    FileIndexer,
    JobCancelledError,
    skipped_record,
)
from agent_brain_server.services.freshness import TreeChanges
from agent_brain_server.services.index_writer import IndexWriter
from agent_brain_server.services.progress import RunningJob
from agent_brain_server.types import FileStat


@dataclass
class Workbench:
    """An indexer with its stores, for jobs that the test runs itself."""

    indexer: FileIndexer
    bundle: ProjectServices

    def run(self, *, stop_after: int | None = None, **fields: object) -> RunningJob:
        request = IndexRequest.model_validate({"folder_path": ".", **fields})
        status = JobStatus(job_id="j", state="running", folder_path=".", created_at="now", progress=JobProgress())
        job = RunningJob(status=status, request=request)
        self.indexer.index(job, lambda: stop_after is not None and job.files_done >= stop_after)
        return job


@pytest.fixture
def bench(bundle: ProjectServices, project: Path, tmp_path: Path) -> Iterator[Workbench]:
    worker = WorkerClient(tmp_path / "worker.log")
    indexer = FileIndexer(
        project,
        (project / ".claude" / "Agent Brain",),
        ProjectConfig(),
        documents=bundle.documents,
        writer=IndexWriter(bundle.documents, bundle.bm25, bundle.vectors),
        worker=worker,
        metrics=bundle.metrics,
    )
    yield Workbench(indexer, bundle)
    worker.close()
    worker.release()


@pytest.mark.process
def test_what_is_new_is_written_and_counted(bench: Workbench) -> None:
    job = bench.run()
    assert (job.files_total, job.files_changed, job.files_done, job.files_removed) == (4, 4, 4, 0)
    assert job.chunks_written == bench.bundle.documents.counts().chunks == bench.bundle.bm25.count()
    assert bench.bundle.documents.counts().files_pending == 0
    again = bench.run()
    assert (again.files_total, again.files_changed, again.chunks_written) == (4, 0, 0)


@pytest.mark.process
def test_a_cancelled_job_keeps_what_it_wrote(bench: Workbench, project: Path) -> None:
    for number in range(3 * BATCH_FILES):
        (project / f"src/extra_{number}.py").write_text(f"def extra_{number}(): pass\n")
    with pytest.raises(JobCancelledError):
        bench.run(stop_after=1)
    counts = bench.bundle.documents.counts()
    assert BATCH_FILES <= counts.files < 3 * BATCH_FILES
    assert counts.files_pending == 0
    assert bench.bundle.bm25.count() == counts.chunks
    assert bench.run().files_total == 3 * BATCH_FILES + 4


@pytest.mark.process
def test_what_was_read_in_vain_is_not_read_again_until_it_changes(bench: Workbench, project: Path) -> None:
    (project / "src/noise.py").write_bytes(bytes(range(32)) * 100)
    job = bench.run()
    assert dict(job.skipped) == {"binary": 1}
    assert (job.files_total, job.files_done) == (4, 5)
    assert bench.bundle.documents.file_records()["src/noise.py"].state == "skipped"
    again = bench.run()
    assert (again.files_changed, again.files_total) == (0, 4)
    (project / "src/noise.py").write_text("def music(): pass\n")
    assert bench.run().files_changed == 1
    assert bench.bundle.documents.skip_counts() == {}


@pytest.mark.process
def test_only_what_the_patterns_choose_is_judged(bench: Workbench, project: Path) -> None:
    bench.run()
    shutil.rmtree(project / "docs")
    (project / "src/locks.py").unlink()
    assert bench.run(include_patterns=["*.py"]).files_removed == 1
    assert bench.run(include_patterns=["!src/"]).files_removed == 1
    assert set(bench.bundle.documents.file_records()) == {"src/parser.py", "tests/test_parser.py"}


@pytest.mark.process
def test_sync_judges_only_the_paths_it_is_given(bench: Workbench, project: Path) -> None:
    bench.run()
    before = bench.bundle.documents.file_records()
    (project / "src/parser.py").write_text("def changed(): pass\n")
    (project / "src/new.py").write_text("def new(): pass\n")
    (project / "docs/guide.md").unlink()
    changes = TreeChanges(frozenset({b"src/parser.py", b"tests"}))
    outcome = bench.indexer.sync(IndexRequest(folder_path="."), changes, lambda: False)
    assert outcome is not None
    assert (outcome.has_changed, [path for path, _ in outcome.sizes]) == (
        True,
        [b"src/parser.py", b"tests/test_parser.py"],
    )
    after = bench.bundle.documents.file_records()
    assert {path for path in after if after[path] != before.get(path)} == {"src/parser.py"}
    assert before.keys() == after.keys()


@pytest.mark.process
def test_sync_of_many_changes_indexes_only_the_newest(
    bench: Workbench, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent_brain_server.services.file_indexer.MAX_SYNC_FILES", 3)
    monkeypatch.setattr("agent_brain_server.services.file_indexer.MAX_FIRST_FILES", 1)
    newest = project / "src/locks.py"
    os.utime(newest, (newest.stat().st_atime, newest.stat().st_mtime + 10))
    changes = TreeChanges(frozenset(), everything=True)
    assert bench.indexer.sync(IndexRequest(folder_path="."), changes, lambda: False) is None
    assert set(bench.bundle.documents.file_records()) == {"src/locks.py"}
    assert bench.bundle.bm25.count() == bench.bundle.documents.counts().chunks > 0


def test_a_folder_is_remembered_by_one_name(bench: Workbench, project: Path) -> None:
    for name in ("src", "./src", "src/../src", str(project / "src")):
        assert bench.indexer.normalize(IndexRequest(folder_path=name)).folder_path == "src"


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"folder_path": "missing"}, NotFoundError),
        ({"folder_path": ".."}, InvalidRequestError),
        ({"include_patterns": ["["]}, InvalidRequestError),
        ({"exclude_patterns": ["[z-a]"]}, InvalidRequestError),
        ({"chunk_size": 40, "chunk_overlap": 40}, InvalidRequestError),
    ],
)
def test_a_request_that_cannot_be_served_is_found_out_first(bench: Workbench, fields: dict, error: type) -> None:
    with pytest.raises(error):
        bench.indexer.check(IndexRequest.model_validate({"folder_path": ".", **fields}))


def test_the_overlap_of_the_settings_gives_way_to_a_small_chunk(bench: Workbench) -> None:
    options = bench.indexer.chunk_options(IndexRequest(folder_path=".", chunk_size=32))
    assert (options.chunk_size, options.chunk_overlap) == (32, 31)
    options = bench.indexer.chunk_options(IndexRequest(folder_path=".", chunk_overlap=0))
    assert (options.chunk_size, options.chunk_overlap) == (ProjectConfig().chunk_size, 0)


def test_a_skipped_file_is_remembered_as_it_was_walked() -> None:
    record = skipped_record(FileStat("a.bin", 5, 7))
    assert record == replace(record, path="a.bin", size=5, mtime_ns=7, state="skipped")


@pytest.mark.process
def test_index_of_a_large_tree_is_logged_before_it_is_read(bench, monkeypatch, caplog):
    monkeypatch.setattr(project_root, "LARGE_PROJECT_FILES", 3)
    job = bench.run()
    assert job.files_total == 4
    assert "There are 4 files to index" in caplog.text
    assert "--exclude" in caplog.text


@pytest.mark.process
def test_index_of_a_usual_tree_is_not_remarked_on(bench, caplog):
    bench.run()
    assert "files to index" not in caplog.text
