"""The job queue on a real store."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent_brain_server.errors import ConflictError, NotFoundError
from agent_brain_server.models.index import IndexRequest
from agent_brain_server.services.jobs import JobQueue
from agent_brain_server.storage.document_store import DocumentStore
from agent_brain_server.storage.job_store import JobStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JobStore]:
    documents = DocumentStore(tmp_path)
    yield JobStore(documents)
    documents.close()


@pytest.fixture
def queue(store: JobStore) -> JobQueue:
    return JobQueue(store)


def request(folder: str) -> IndexRequest:
    return IndexRequest(folder_path=folder)


def test_take_next_returns_the_oldest_job(queue: JobQueue) -> None:
    submitted = [queue.submit(request(folder)).job_id for folder in ("a", "b", "c")]
    begun = []
    while (job := queue.take_next()) is not None:
        begun.append(job.status.job_id)
    assert begun == submitted
    assert not queue.has_queued()
    assert queue.is_busy()


def test_submit_merges_equal_queued_jobs_only(queue: JobQueue) -> None:
    first = queue.submit(request("a"))
    assert queue.submit(request("a")).job_id == first.job_id
    queue.take_next()
    assert queue.submit(request("a")).job_id != first.job_id


def test_get_returns_current_progress_of_running_job(queue: JobQueue) -> None:
    queue.submit(request("a"))
    job = queue.take_next()
    assert job is not None
    job.files_done = 7
    job.skipped["binary"] += 2
    seen = queue.get(job.status.job_id)
    assert (seen.state, seen.progress.files_done, seen.progress.files_skipped) == ("running", 7, {"binary": 2})
    current = queue.current()
    assert current is not None
    assert current.job_id == job.status.job_id
    assert queue.newest()[0].progress.files_done == 7


def test_finish_does_not_change_a_cancelled_job(queue: JobQueue) -> None:
    queue.submit(request("a"))
    job = queue.take_next()
    assert job is not None
    assert queue.cancel(job.status.job_id).state == "cancelled"
    assert job.cancelled.is_set()
    queue.finish(job, "done")
    assert queue.get(job.status.job_id).state == "cancelled"
    with pytest.raises(ConflictError):
        queue.cancel(job.status.job_id)
    assert not queue.is_busy()


def test_cancelled_queued_job_never_starts(queue: JobQueue) -> None:
    job_id = queue.submit(request("a")).job_id
    assert queue.cancel(job_id).state == "cancelled"
    assert queue.take_next() is None


def test_unknown_job_raises_not_found(queue: JobQueue) -> None:
    for call in (queue.get, queue.cancel):
        with pytest.raises(NotFoundError):
            call("job_nope")


def test_resume_unfinished_queues_jobs_of_previous_server(store: JobStore) -> None:
    earlier = JobQueue(store)
    running, waiting = earlier.submit(request("a")).job_id, earlier.submit(request("b")).job_id
    earlier.take_next()
    later = JobQueue(store)
    assert later.resume_unfinished() == 2
    begun = [later.take_next(), later.take_next()]
    assert [job.status.job_id for job in begun if job] == [running, waiting]


def test_finish_saves_state_error_and_progress(store: JobStore, queue: JobQueue) -> None:
    queue.submit(request("a"))
    job = queue.take_next()
    assert job is not None
    job.chunks_written = 12
    queue.finish(job, "failed", "The disk is full. Make room.")
    ended = JobQueue(store).last_ended()
    assert ended is not None
    assert (ended.state, ended.error, ended.progress.chunks_written) == ("failed", "The disk is full. Make room.", 12)
