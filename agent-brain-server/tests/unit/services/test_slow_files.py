"""Slow files are read last; files over a limit are cut by lines, and not parsed again until they change."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent_brain_server.config.settings import ProjectConfig
from agent_brain_server.indexing.worker.client import WorkerClient
from agent_brain_server.models.index import IndexRequest
from agent_brain_server.project.services import ProjectServices
from agent_brain_server.services import slow_files
from agent_brain_server.services.pipeline import IndexWriter, Pipeline
from agent_brain_server.services.runs import Counters, JobRun, SyncRun, TreeChanges
from agent_brain_server.services.slow_files import LARGE_FILE_BYTES, LimitedContents, SlowFiles

COSTLY = "let x = [1, 2, { a: (b) => c(d) }];\n" * 6_000
"""200 kB of code: a second of CPU on a slow machine, far more than `NO_CPU_S` on any."""

NO_CPU_S = 0.02


class Bench:
    """A project with a pipeline that the test runs itself."""

    def __init__(self, services: ProjectServices, root: Path, log: Path) -> None:
        self.services, self.root = services, root
        self.worker = WorkerClient(log)
        self.pipeline = Pipeline(
            root,
            [root / ".claude" / "Agent Brain"],
            ProjectConfig(),
            documents=services.documents,
            writer=IndexWriter(services.documents, services.bm25, services.vectors),
            worker=self.worker,
            metrics=services.metrics,
        )

    def start(self, **fields: object) -> Counters:
        request = IndexRequest.model_validate({"folder_path": ".", **fields})
        counters = Counters()
        self.pipeline.index(JobRun(request=request, counters=counters, should_stop=lambda: False))
        return counters

    def run(self, **fields: object) -> Counters:
        job = self.start(**fields)
        self.pipeline.index_slow_files(lambda: False)
        return job

    def skips(self) -> dict[str, str]:
        return {skip.path: skip.reason for skip in self.services.documents.skips()}


@pytest.fixture
def bench(services: ProjectServices, project: Path, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(services, project, tmp_path / "worker.log")
    yield made
    made.worker.close()
    made.worker.release()


@pytest.fixture
def no_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow_files, "FIRST_TRY_CPU_S", NO_CPU_S)


@pytest.mark.process
def test_slow_file_waits_for_others_and_is_pending(bench: Bench, no_cpu: None) -> None:
    (bench.root / "a_costly.js").write_text(COSTLY)
    job = bench.start()
    counts = bench.services.documents.counts()
    assert (counts.files, counts.files_pending, job.files_done) == (5, 1, 4)
    assert bench.pipeline.slow
    bench.pipeline.index_slow_files(lambda: False)
    assert not bench.pipeline.slow
    assert bench.services.documents.counts().files_pending == 0
    assert (job.files_total, job.files_changed, job.files_done) == (5, 5, 5)
    assert bench.skips() == {}


@pytest.mark.process
def test_large_file_is_read_after_all_others(bench: Bench) -> None:
    (bench.root / "a_large.txt").write_text("words of text\n" * (LARGE_FILE_BYTES // 10))
    assert bench.start().files_done == 4
    assert bench.pipeline.slow
    bench.pipeline.index_slow_files(lambda: True)
    assert bench.pipeline.slow
    bench.pipeline.index_slow_files(lambda: False)
    assert bench.services.documents.counts().files_pending == 0


@pytest.mark.process
def test_file_over_limit_is_cut_by_lines_and_remembered(
    bench: Bench, no_cpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = bench.root / "costly.html"
    page.write_text("<p>" * 60_000 + "<i>needle</i>\n" + "<p>" * 20_000)
    with monkeypatch.context() as limited:
        limited.setattr(slow_files, "FULL_CPU_S", NO_CPU_S)
        limited.setattr(SlowFiles, "_cut_by_lines", unlimited(slow_files.SlowFiles._cut_by_lines, limited))
        job = bench.run()
    assert bench.skips() == {"costly.html": "cpu_limit"}
    assert dict(job.skipped) == {"cpu_limit": 1}
    assert bench.services.documents.counts().files == 5
    assert bench.run().files_changed == 0
    assert bench.skips() == {"costly.html": "cpu_limit"}
    os.utime(page, ns=(1, 1))
    monkeypatch.setattr(slow_files, "FIRST_TRY_CPU_S", 60.0)
    assert bench.start().files_done == 1
    assert not bench.pipeline.slow
    assert bench.skips() == {"costly.html": "cpu_limit"}
    page.write_text("<p>short\n")
    bench.run()
    assert bench.skips() == {}


def unlimited(cut_by_lines, patch: pytest.MonkeyPatch):
    def cut(self, slow, reason):
        patch.setattr(slow_files, "FULL_CPU_S", 60.0)
        return cut_by_lines(self, slow, reason)

    return cut


@pytest.mark.process
def test_force_parses_remembered_content_again(bench: Bench) -> None:
    page = bench.root / "page.html"
    page.write_text("<h1>Title</h1>\n")
    bench.run()
    limited = bench.pipeline.slow.limited
    record = bench.services.documents.file_records()["page.html"]
    limited.remember(record.content_hash, record.size, "memory_limit")
    os.utime(page, ns=(1, 1))
    bench.run()
    assert bench.skips() == {"page.html": "memory_limit"}
    bench.run(force=True)
    assert bench.skips() == {}


def test_limited_contents_survive_restart_of_same_version(
    services: ProjectServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slow_files, "MAX_REMEMBERED", 2)
    contents = LimitedContents(services.documents)
    for number in range(3):
        contents.remember(str(number), 5, "cpu_limit")
    assert LimitedContents(services.documents).find(5) == {"1": "cpu_limit", "2": "cpu_limit"}
    assert LimitedContents(services.documents).find(6) == {}
    monkeypatch.setattr(slow_files, "LIMITS_VERSION", -1)
    assert LimitedContents(services.documents).find(5) == {}
    services.documents.set_meta(slow_files.LIMITED_CONTENTS_META, "[torn")
    assert LimitedContents(services.documents).find(5) == {}


@pytest.mark.process
def test_file_is_left_for_next_job_if_reader_is_killed_twice(bench: Bench) -> None:
    (bench.root / "large.txt").write_text("word\n" * (LARGE_FILE_BYTES // 5 + 1))
    bench.start()
    read_files = bench.worker.read_files

    def kill_reader(*arguments: object, **fields: object) -> object:
        read = read_files(*arguments, **fields)
        bench.worker._ensure_running("slow_reader")
        os.kill(bench.worker.pids["slow_reader"], signal.SIGSTOP)  # it must not answer before it is killed
        process = bench.worker._workers.processes["slow_reader"]
        process.is_alive = lambda: True
        process.kill()
        return read

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(bench.worker, "read_files", kill_reader)
        bench.pipeline.index_slow_files(lambda: False)
    assert "large.txt" not in bench.services.documents.file_records()
    assert bench.run().files_done == 1
    assert bench.services.documents.file_records()["large.txt"].state == "indexed"


@pytest.mark.process
def test_job_syncs_between_slices_and_reads_all_files(bench: Bench) -> None:
    for number in range(200):
        (bench.root / f"src/extra_{number}.py").write_text(f"def extra_{number}(): pass\n")
    counters = Counters()
    between: list[int] = []
    run = JobRun(
        request=IndexRequest(folder_path="."),
        counters=counters,
        should_stop=lambda: False,
        sync=lambda: between.append(counters.files_done),
        has_sync_request=lambda: True,
    )
    bench.pipeline.index(run)
    assert len(between) >= 4
    bench.pipeline.index_slow_files(lambda: False)
    assert bench.services.documents.counts().files == 204
    assert bench.services.documents.counts().files_pending == 0


@pytest.mark.process
def test_removed_file_no_longer_waits(bench: Bench) -> None:
    (bench.root / "large.txt").write_text("word\n" * (LARGE_FILE_BYTES // 5 + 1))
    bench.start()
    (bench.root / "large.txt").unlink()
    bench.start()
    assert not bench.pipeline.slow
    assert "large.txt" not in bench.services.documents.file_records()


@pytest.mark.process
def test_file_that_changes_while_it_is_read_is_read_again(bench: Bench, no_cpu: None) -> None:
    path = bench.root / "a_costly.js"
    path.write_text(COSTLY)
    bench.start()
    checks = []

    def change_during_read() -> bool:
        checks.append(1)
        if len(checks) == 2:  # the first check comes before the file is read
            path.write_text(f"{COSTLY}\nlet replacement = 1;\n")
            changes = TreeChanges(frozenset({b"a_costly.js"}))
            request = IndexRequest(folder_path=".")
            run = SyncRun(request=request, counters=Counters(), should_stop=lambda: False, changes=changes)
            bench.pipeline.index(run)
        return False

    bench.pipeline.index_slow_files(change_during_read)
    assert len(checks) > 2
    assert not bench.pipeline.slow
    assert bench.services.documents.counts().files_pending == 0
    assert bench.services.documents.file_records()["a_costly.js"].size == path.stat().st_size
