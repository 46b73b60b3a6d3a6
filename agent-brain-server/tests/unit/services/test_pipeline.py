"""The indexing pipeline with real stores and the real worker."""

import logging
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
from agent_brain_server.models.index import IndexRequest
from agent_brain_server.project.services import ProjectServices
from agent_brain_server.services import runs
from agent_brain_server.services.pipeline import BATCH_FILES, IndexWriter, JobCancelledError, Pipeline, skipped_record
from agent_brain_server.services.runs import Counters, JobRun, SyncRun, TreeChanges
from agent_brain_server.types import FileStat

ROOT_REQUEST = IndexRequest(folder_path=".")


def never() -> bool:
    return False


@dataclass
class Bench:
    """A pipeline with its stores, for runs that the test starts itself."""

    pipeline: Pipeline
    services: ProjectServices

    def run(self, *, stop_after: int | None = None, **fields: object) -> Counters:
        request = IndexRequest.model_validate({"folder_path": ".", **fields})
        counters = Counters()
        self.pipeline.index(
            JobRun(
                request=request,
                counters=counters,
                should_stop=lambda: stop_after is not None and counters.files_done >= stop_after,
            )
        )
        return counters

    def sync(self, *paths: bytes, everything: bool = False) -> SyncRun:
        changes = TreeChanges(frozenset(paths), everything=everything)
        run = SyncRun(request=ROOT_REQUEST, counters=Counters(), should_stop=never, changes=changes)
        self.difference = self.pipeline.index(run)
        return run


@pytest.fixture
def bench(services: ProjectServices, project: Path, tmp_path: Path) -> Iterator[Bench]:
    worker = WorkerClient(tmp_path / "worker.log")
    pipeline = Pipeline(
        project,
        (project / ".claude" / "Agent Brain",),
        ProjectConfig(),
        documents=services.documents,
        writer=IndexWriter(services.documents, services.bm25, services.vectors),
        worker=worker,
        metrics=services.metrics,
    )
    yield Bench(pipeline, services)
    worker.close()
    worker.release()


@pytest.mark.process
def test_index_writes_and_counts_new_files(bench: Bench) -> None:
    job = bench.run()
    assert (job.files_total, job.files_changed, job.files_done, job.files_removed) == (4, 4, 4, 0)
    assert job.chunks_written == bench.services.documents.counts().chunks == bench.services.bm25.count()
    assert bench.services.documents.counts().files_pending == 0
    again = bench.run()
    assert (again.files_total, again.files_changed, again.chunks_written) == (4, 0, 0)


@pytest.mark.process
def test_cancelled_job_keeps_what_it_wrote(bench: Bench, project: Path) -> None:
    for number in range(3 * BATCH_FILES):
        (project / f"src/extra_{number}.py").write_text(f"def extra_{number}(): pass\n")
    with pytest.raises(JobCancelledError):
        bench.run(stop_after=1)
    counts = bench.services.documents.counts()
    assert BATCH_FILES <= counts.files < 3 * BATCH_FILES
    assert counts.files_pending == 0
    assert bench.services.bm25.count() == counts.chunks
    assert bench.run().files_total == 3 * BATCH_FILES + 4


@pytest.mark.process
def test_skipped_file_is_not_read_again_until_it_changes(bench: Bench, project: Path) -> None:
    (project / "src/noise.py").write_bytes(bytes(range(32)) * 100)
    job = bench.run()
    assert dict(job.skipped) == {"binary": 1}
    assert (job.files_total, job.files_done) == (4, 5)
    assert bench.services.documents.file_records()["src/noise.py"].state == "skipped"
    again = bench.run()
    assert (again.files_changed, again.files_total) == (0, 4)
    (project / "src/noise.py").write_text("def music(): pass\n")
    assert bench.run().files_changed == 1
    assert bench.services.documents.skip_counts() == {}


@pytest.mark.process
def test_include_patterns_limit_which_files_are_removed(bench: Bench, project: Path) -> None:
    bench.run()
    shutil.rmtree(project / "docs")
    (project / "src/locks.py").unlink()
    assert bench.run(include_patterns=["*.py"]).files_removed == 1
    assert bench.run(include_patterns=["!src/"]).files_removed == 1
    assert set(bench.services.documents.file_records()) == {"src/parser.py", "tests/test_parser.py"}


@pytest.mark.process
def test_sync_compares_only_the_given_paths(bench: Bench, project: Path) -> None:
    bench.run()
    before = bench.services.documents.file_records()
    (project / "src/parser.py").write_text("def changed(): pass\n")
    (project / "src/new.py").write_text("def new(): pass\n")
    (project / "docs/guide.md").unlink()
    bench.sync(b"src/parser.py", b"tests")
    assert [file.path for file in bench.difference.changed] == ["src/parser.py", "tests/test_parser.py"]
    after = bench.services.documents.file_records()
    assert {path for path in after if after[path] != before.get(path)} == {"src/parser.py"}
    assert before.keys() == after.keys()


@pytest.mark.process
def test_sync_of_many_changes_indexes_only_the_newest(
    bench: Bench, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "MAX_SYNC_FILES", 3)
    monkeypatch.setattr(runs, "MAX_FIRST_FILES", 1)
    newest = project / "src/locks.py"
    os.utime(newest, (newest.stat().st_atime, newest.stat().st_mtime + 10))
    run = bench.sync(everything=True)
    assert {file.path for file in run.unread} == {"docs/guide.md", "src/parser.py", "tests/test_parser.py"}
    assert set(bench.services.documents.file_records()) == {"src/locks.py"}
    assert bench.services.bm25.count() == bench.services.documents.counts().chunks > 0


@pytest.mark.process
def test_job_with_known_difference_does_not_walk_the_tree(bench: Bench, project: Path) -> None:
    bench.run()
    for name in ("parser", "locks"):
        (project / f"src/{name}.py").write_text("def changed(): pass\n")
        os.utime(project / f"src/{name}.py", ns=(1, 1))  # a file that was just written is always read again
    bench.sync(b"src/parser.py", b"src/locks.py")
    left = bench.services.documents.file_records()["src/locks.py"]
    bench.services.documents.mark_pending(["src/locks.py"])
    (project / "src/unnoticed.py").write_text("def unnoticed(): pass\n")
    (project / "docs/guide.md").unlink()
    counters = Counters()
    run = JobRun(request=ROOT_REQUEST, counters=counters, should_stop=never, known=bench.difference)
    assert [file.path for file in bench.pipeline.index(run).changed] == ["src/locks.py"]
    records = bench.services.documents.file_records()
    assert records["src/locks.py"] == left
    assert "src/unnoticed.py" not in records
    assert "docs/guide.md" in records


def test_normalize_returns_one_name_for_a_folder(bench: Bench, project: Path) -> None:
    for name in ("src", "./src", "src/../src", str(project / "src")):
        assert bench.pipeline.normalize(IndexRequest(folder_path=name)).folder_path == "src"


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
def test_check_refuses_invalid_requests(bench: Bench, fields: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        bench.pipeline.check(IndexRequest.model_validate({"folder_path": ".", **fields}))


def test_chunk_options_reduce_the_default_overlap(bench: Bench) -> None:
    options = bench.pipeline.chunk_options(IndexRequest(folder_path=".", chunk_size=32))
    assert (options.chunk_size, options.chunk_overlap) == (32, 31)
    options = bench.pipeline.chunk_options(IndexRequest(folder_path=".", chunk_overlap=0))
    assert (options.chunk_size, options.chunk_overlap) == (ProjectConfig().chunk_size, 0)


def test_skipped_record_has_size_and_time_of_the_file() -> None:
    record = skipped_record(FileStat("a.bin", 5, 7))
    assert record == replace(record, path="a.bin", size=5, mtime_ns=7, state="skipped")


@pytest.mark.process
def test_index_of_a_large_tree_logs_a_warning(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    bench.run()
    assert "files to index" not in caplog.text
    monkeypatch.setattr(project_root, "LARGE_PROJECT_FILES", 3)
    assert bench.run().files_total == 4
    assert "There are 4 files to index" in caplog.text
    assert "--exclude" in caplog.text
