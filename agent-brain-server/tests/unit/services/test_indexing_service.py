"""Jobs with real stores, real workers and the real model."""

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agent_brain_server.errors import ConflictError, InvalidRequestError, NotFoundError, StoreError
from agent_brain_server.models.index import IndexRequest, JobStatus
from agent_brain_server.models.query import QueryRequest
from agent_brain_server.project.services import ProjectServices

IDLE_LIMIT_S = 600.0

RunJob = Callable[..., JobStatus]


def sources(services: ProjectServices, query: str, mode: str = "bm25") -> list[str]:
    return [result.source for result in services.queries.answer(QueryRequest(query=query, mode=mode)).results]  # type: ignore[arg-type]


def wait_until_idle(services: ProjectServices) -> None:
    deadline = time.monotonic() + IDLE_LIMIT_S
    while services.is_busy():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_job_writes_every_file_to_all_three_stores(services: ProjectServices, run_job: RunJob) -> None:
    job = run_job(services)
    counts = services.documents.counts()
    assert job.state == "done"
    assert job.progress.files_total == job.progress.files_done == counts.files == 4
    assert counts.chunks == counts.embedded == services.bm25.count() == services.vectors.count() > 3
    assert job.progress.vectors_done == job.progress.vectors_total == counts.chunks
    assert job.progress.keywords_ready
    status = services.status()
    assert (status.total_documents, status.total_chunks, status.vector_coverage) == (4, counts.chunks, 1.0)
    assert status.last_job is not None
    assert status.last_job.job_id == job.job_id
    assert status.last_indexed_at is not None


def test_job_without_changes_reads_nothing(services: ProjectServices, run_job: RunJob) -> None:
    run_job(services)
    again = run_job(services)
    assert (again.state, again.progress.files_changed, again.progress.chunks_written) == ("done", 0, 0)
    assert run_job(services, force=True).progress.files_changed == 4


def test_job_indexes_changed_new_and_deleted_files(services: ProjectServices, project: Path, run_job: RunJob) -> None:
    run_job(services)
    (project / "src/parser.py").write_text("def decode_trailer(line):\n    return line\n")
    (project / "src/new.py").write_text("def freshly_added():\n    pass\n")
    (project / "src/locks.py").unlink()
    job = run_job(services)
    assert (job.progress.files_changed, job.progress.files_removed) == (2, 1)
    assert sources(services, "decode_trailer") == ["src/parser.py"]
    assert sources(services, "freshly_added") == ["src/new.py"]
    for mode in ("bm25", "vector", "hybrid"):
        assert "src/locks.py" not in sources(services, "FileLock release", mode)
    counts = services.documents.counts()
    assert counts.chunks == services.bm25.count() == services.vectors.count()


def test_job_of_a_folder_changes_only_that_folder(services: ProjectServices, project: Path, run_job: RunJob) -> None:
    run_job(services)
    shutil.rmtree(project / "docs")
    (project / "src/parser.py").unlink()
    assert run_job(services, "src").progress.files_removed == 1
    assert "docs/guide.md" in services.documents.file_records()
    assert sources(services, "installing") == []
    assert run_job(services).progress.files_removed == 1
    assert "docs/guide.md" not in services.documents.file_records()


def test_patterns_select_the_files(services: ProjectServices, run_job: RunJob) -> None:
    assert run_job(services, include_patterns=["*.md"]).progress.files_total == 1
    assert run_job(services, exclude_patterns=["tests/"]).progress.files_total == 3
    assert run_job(services, exclude_patterns=["docs/"]).progress.files_removed == 1
    assert run_job(services, "src", recursive=False).progress.files_total == 2


def test_job_counts_skipped_files_and_indexes_the_others(
    services: ProjectServices, project: Path, run_job: RunJob
) -> None:
    (project / "picture.xyz").write_bytes(b"\0\1\2\3" * 1000)
    (project / "empty.py").write_bytes(b"")
    (project / "latin.py").write_bytes("def größe(): pass\n".encode("latin-1"))
    (project / "huge.txt").write_bytes(b"word " * 10_000_000)
    (project / "line.js").write_text("var a=1;" * 250_000)
    (project / os.fsdecode(b"bad\xff.py")).write_text("def unreachable(): pass\n")
    (project / "dangling.py").symlink_to("nowhere.py")
    (project / "leaving.py").symlink_to("/etc/hostname")
    (project / "loop").symlink_to(".")
    os.mkfifo(project / "fifo.py")
    job = run_job(services)
    assert job.state == "done", job.error
    assert job.progress.files_total == 5  # the four and latin.py
    assert {"empty", "too_large", "undecodable_name", "binary"} <= job.progress.files_skipped.keys()
    assert sources(services, "größe")[:1] == ["latin.py"]
    assert services.status().skipped["too_large"] == 2
    again = run_job(services)
    assert (again.progress.files_changed, again.progress.files_total) == (0, 5)
    assert services.status().skipped == job.progress.files_skipped


def test_damaged_chunk_is_replaced_with_its_vector(services: ProjectServices, run_job: RunJob) -> None:
    run_job(services)
    with services.documents.database.writing() as connection:
        connection.execute("UPDATE texts SET text = 'damaged' WHERE key = 1")
    assert services.documents.chunks_by_keys([1]) == {}
    deadline = time.monotonic() + IDLE_LIMIT_S
    vectors, documents = services.vectors, services.documents
    while services.is_busy() or not vectors.count() == services.bm25.count() == documents.counts().embedded:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    counts = services.documents.counts()
    assert counts.chunks == counts.embedded == services.vectors.count()
    assert counts.files_pending == 0


def test_damaged_document_store_is_rebuilt(
    open_services: Callable[[], ProjectServices], project: Path, run_job: RunJob
) -> None:
    first = open_services()
    run_job(first)
    first.close()
    documents = project / ".claude/Agent Brain/data/llamaindex"
    for file in documents.iterdir():
        file.write_bytes(b"not a database at all" * 1000)
    second = open_services()
    assert "set aside" in second.status().repairs[0]
    wait_until_idle(second)  # the indexed roots are backed up beside the store
    assert sources(second, "FileLock")[:1] == ["src/locks.py"]
    assert second.status().vector_coverage == 1
    assert len(list(documents.parent.glob("llamaindex.store_damaged.*"))) == 1


@pytest.mark.parametrize(
    ("folder", "error"),
    [
        ("missing", NotFoundError),
        ("..", InvalidRequestError),
        ("/etc", InvalidRequestError),
        ("leaving", InvalidRequestError),
        ("dangling", NotFoundError),
        ("loop", NotFoundError),
        ("fifo", InvalidRequestError),
        ("nul\0byte", NotFoundError),
    ],
)
def test_submit_refuses_invalid_folders(
    services: ProjectServices, project: Path, folder: str, error: type[Exception]
) -> None:
    (project / "leaving").symlink_to("/etc")
    (project / "dangling").symlink_to("nowhere")
    (project / "loop").symlink_to("loop")
    os.mkfifo(project / "fifo")
    with pytest.raises(error):
        services.indexing.submit(IndexRequest(folder_path=folder))
    assert services.indexing.jobs.newest() == []


def test_submit_refuses_invalid_glob_and_overlap(services: ProjectServices) -> None:
    with pytest.raises(InvalidRequestError, match="include_patterns"):
        services.indexing.submit(IndexRequest(folder_path=".", include_patterns=["!"]))
    with pytest.raises(InvalidRequestError, match="chunk_overlap"):
        services.indexing.submit(IndexRequest(folder_path=".", chunk_size=100, chunk_overlap=100))


def write_many(project: Path, count: int) -> None:
    for number in range(count):
        body = "\n".join(f"    step_{number}_{line} = compute({line})" for line in range(12))
        (project / f"src/module_{number}.py").write_text(f"def routine_{number}():\n{body}\n")


def test_cancelled_job_keeps_indexed_files(services: ProjectServices, project: Path, run_job: RunJob) -> None:
    write_many(project, 150)
    job = services.indexing.submit(IndexRequest(folder_path="."))
    deadline = time.monotonic() + 180
    while not services.indexing.jobs.get(job.job_id).progress.keywords_ready:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert services.indexing.jobs.cancel(job.job_id).state == "cancelled"
    with pytest.raises(ConflictError):
        services.indexing.jobs.cancel(job.job_id)
    assert sources(services, "routine_7")[:1] == ["src/module_7.py"]
    assert run_job(services).progress.files_changed == 0


@pytest.mark.process
def test_next_job_does_not_wait_for_vectors(services: ProjectServices, project: Path) -> None:
    write_many(project, 300)
    first = services.indexing.submit(IndexRequest(folder_path="."))
    deadline = time.monotonic() + 180
    while not services.indexing.jobs.get(first.job_id).progress.keywords_ready:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    (project / "src/late.py").write_text("def latecomer():\n    pass\n")
    second = services.indexing.submit(IndexRequest(folder_path="src/late.py"))
    while not services.indexing.jobs.get(second.job_id).progress.keywords_ready:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert services.indexing.jobs.get(first.job_id).state == "running"
    assert sources(services, "latecomer") == ["src/late.py"]
    with pytest.raises(ConflictError):
        services.indexing.clear()


@pytest.mark.process
def test_submit_returns_equal_queued_job(services: ProjectServices, project: Path) -> None:
    write_many(project, 40)
    services.indexing.submit(IndexRequest(folder_path="."))
    waiting = [services.indexing.submit(IndexRequest(folder_path="src")).job_id for _ in range(3)]
    assert len(set(waiting)) < 3


@pytest.mark.process
def test_job_survives_killed_reader(services: ProjectServices, project: Path) -> None:
    write_many(project, 120)
    job = services.indexing.submit(IndexRequest(folder_path="."))
    deadline = time.monotonic() + 180
    killed = 0
    while (status := services.indexing.jobs.get(job.job_id)).progress.phase in ("queued", "scanning", "chunking"):
        assert time.monotonic() < deadline
        pid = services.indexing.worker_pids.get("reader")
        if pid is not None and status.progress.files_done and not killed:
            os.kill(pid, signal.SIGKILL)
            killed += 1
        time.sleep(0.005)
    assert killed
    assert services.documents.counts().files == 124
    assert services.documents.counts().files_pending == 0


@pytest.mark.process
def test_restart_resumes_unfinished_job(open_services: Callable[[], ProjectServices], project: Path) -> None:
    write_many(project, 100)
    first = open_services()
    job = first.indexing.submit(IndexRequest(folder_path="."))
    deadline = time.monotonic() + 180
    while first.indexing.jobs.get(job.job_id).progress.files_done == 0:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    first.close()
    second = open_services()
    while second.indexing.jobs.get(job.job_id).state != "done":
        assert time.monotonic() < deadline, second.indexing.jobs.get(job.job_id)
        time.sleep(0.02)
    counts = second.documents.counts()
    assert (counts.files, counts.files_pending) == (104, 0)
    assert counts.chunks == counts.embedded == second.bm25.count() == second.vectors.count()


def test_clear_removes_everything(services: ProjectServices, run_job: RunJob) -> None:
    run_job(services)
    assert services.indexing.clear().removed_documents == 4
    assert services.documents.counts().chunks == services.bm25.count() == services.vectors.count() == 0
    assert sources(services, "FileLock", "hybrid") == []
    assert run_job(services).progress.files_changed == 4


@pytest.mark.parametrize("lost", ["bm25_index", "chroma_db"])
def test_lost_index_is_rebuilt(
    open_services: Callable[[], ProjectServices], project: Path, run_job: RunJob, lost: str
) -> None:
    first = open_services()
    run_job(first)
    first.close()
    shutil.rmtree(project / ".claude/Agent Brain/data" / lost)
    second = open_services()
    deadline = time.monotonic() + 180
    while second.indexing.is_busy():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert sources(second, "FileLock")[:1] == ["src/locks.py"]
    counts = second.documents.counts()
    assert second.bm25.count() == second.vectors.count() == counts.embedded == counts.chunks


def test_moved_project_is_indexed_again(
    open_services: Callable[[], ProjectServices], project: Path, run_job: RunJob
) -> None:
    first = open_services()
    run_job(first)
    first.documents.set_meta("project_root", "/somewhere/else")
    first.close()
    (project / "src/locks.py").unlink()
    second = open_services()
    deadline = time.monotonic() + 180
    while second.indexing.is_busy():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    counts = second.documents.counts()
    assert (counts.files, counts.chunks) == (3, second.bm25.count())
    assert sources(second, "FileLock") == []


def test_incomplete_keyword_index_is_rebuilt(open_services: Callable[[], ProjectServices], run_job: RunJob) -> None:
    first = open_services()
    run_job(first)
    first.bm25.delete_paths(["src/locks.py"])
    first.bm25.commit()
    first.close()
    second = open_services()
    deadline = time.monotonic() + 180
    while second.indexing.is_busy():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert sources(second, "FileLock")[:1] == ["src/locks.py"]
    assert second.bm25.count() == second.documents.counts().chunks


def test_job_end_is_kept_until_it_can_be_saved(
    services: ProjectServices, run_job: RunJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise StoreError("the disk is full")

    with monkeypatch.context() as full:
        full.setattr("agent_brain_server.storage.job_store.JobStore.mark_finished", refuse)
        job = run_job(services)
        assert job.state == "done"
        assert services.indexing.jobs.last_ended() == job
        assert not services.indexing.is_busy()
    assert run_job(services).state == "done"
    assert [listed.state for listed in services.indexing.jobs.newest()] == ["done", "done"]
    assert services.indexing.jobs.newest()[1].finished_at


def test_failure_outside_of_a_job_is_retried(
    services: ProjectServices, run_job: RunJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent_brain_server.services.indexing_service.RETRY_S", 0.01)
    mark_running = services.indexing.jobs._store.mark_running
    failures = iter([StoreError("the disk is full")] * 3)

    def fail_at_first(job_id: str) -> None:
        if (failure := next(failures, None)) is not None:
            raise failure
        mark_running(job_id)

    monkeypatch.setattr(services.indexing.jobs._store, "mark_running", fail_at_first)
    assert run_job(services).state == "done"


def test_failed_keyword_commit_leaves_files_pending(
    services: ProjectServices, run_job: RunJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        services.bm25._writer = None  # as after a failed write
        raise StoreError("the disk is full")

    with monkeypatch.context() as full:
        full.setattr(services.bm25, "commit", refuse)
        assert run_job(services).state == "failed"
    assert services.documents.counts().files_pending == 4
    assert run_job(services).state == "done"
    assert services.bm25.count() == services.documents.counts().chunks


@pytest.mark.process
def test_job_survives_killed_embedder(services: ProjectServices, project: Path) -> None:
    write_many(project, 100)
    job = services.indexing.submit(IndexRequest(folder_path="."))
    deadline = time.monotonic() + 180
    killed = False
    while (status := services.indexing.jobs.get(job.job_id)).state not in ("done", "failed"):
        assert time.monotonic() < deadline, status
        if status.progress.vectors_done and not killed and (pid := services.indexing.worker_pids.get("embedder")):
            os.kill(pid, signal.SIGKILL)
            killed = True
        time.sleep(0.005)
    assert killed
    assert (status.state, status.progress.vectors_done) == ("done", status.progress.vectors_total)
