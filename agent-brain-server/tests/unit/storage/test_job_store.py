import pytest

from agent_brain_server.models.index import IndexRequest, JobProgress
from agent_brain_server.storage.document_store import DocumentStore
from agent_brain_server.storage.job_store import MAX_FINISHED_JOBS, JobStore


@pytest.fixture
def jobs(store):
    return JobStore(store)


def create(jobs, folder="."):
    return jobs.create(IndexRequest(folder_path=folder)).status.job_id


def test_create_queues_job_with_request(jobs):
    request = IndexRequest(folder_path="src", include_patterns=["*.py"], force=True)
    job = jobs.create(request)
    assert job.request == request
    assert (job.status.state, job.status.folder_path, job.status.started_at) == ("queued", "src", None)
    assert jobs.get(job.status.job_id) == job
    assert jobs.get("job_none") is None


def test_next_queued_returns_oldest_job(jobs):
    first, second = create(jobs), create(jobs)
    assert jobs.next_queued().status.job_id == first
    jobs.mark_running(first)
    assert jobs.next_queued().status.job_id == second
    jobs.mark_running(second)
    assert jobs.next_queued() is None
    assert [job.status.job_id for job in jobs.newest()] == [second, first]


def test_mark_finished_stores_progress_and_error(jobs):
    job_id = create(jobs)
    jobs.mark_running(job_id)
    jobs.save_progress(job_id, JobProgress(phase="scanning", files_total=7))
    assert jobs.get(job_id).status.progress.files_total == 7
    jobs.mark_finished(job_id, "failed", error="The disk is full.")
    status = jobs.get(job_id).status
    assert (status.state, status.error, status.progress.files_total) == ("failed", "The disk is full.", 7)
    assert status.created_at <= status.started_at <= status.finished_at
    assert jobs.last_finished().status.job_id == job_id


def test_unfinished_jobs_survive_restart(tmp_path):
    store = DocumentStore(tmp_path)
    jobs = JobStore(store)
    running, queued, done = (create(jobs) for _ in range(3))
    jobs.mark_running(running)
    jobs.mark_finished(done, "done")
    store.close()
    store = DocumentStore(tmp_path)
    jobs = JobStore(store)
    assert [job.status.job_id for job in jobs.unfinished()] == [running, queued]
    jobs.requeue(running)
    assert jobs.next_queued().status.job_id == running
    store.close()


def test_mark_finished_prunes_oldest_ended_jobs_only(jobs):
    waiting = create(jobs)
    ended = [create(jobs) for _ in range(MAX_FINISHED_JOBS + 5)]
    for job_id in ended:
        jobs.mark_finished(job_id, "done")
    left = {job.status.job_id for job in jobs.newest(1000)}
    assert left == {waiting, *ended[5:]}


def test_last_finished_ignores_the_clock(jobs, store):
    first, second = create(jobs), create(jobs)
    jobs.mark_finished(second, "done")
    jobs.mark_finished(first, "done")
    with store.database.writing() as connection:  # the clock was put back between the two ends
        connection.execute("UPDATE jobs SET finished_at = '2016-01-01T00:00:00.000+00:00' WHERE job_id = ?", (first,))
    assert jobs.last_finished().status.job_id == first


def test_last_finished_of_store_without_end_order(jobs, store):
    old, new = create(jobs), create(jobs)
    jobs.mark_finished(new, "done")
    jobs.mark_finished(old, "done")
    with store.database.writing() as connection:
        connection.execute("ALTER TABLE jobs DROP COLUMN end_order")
    jobs = JobStore(store)
    assert jobs.last_finished().status.job_id == new  # nothing better is known than the order in which they came
    jobs.mark_finished(old, "failed")
    assert jobs.last_finished().status.job_id == old


def test_clear_documents_keeps_jobs(jobs, store):
    job_id = create(jobs)
    store.clear()
    assert jobs.get(job_id) is not None
