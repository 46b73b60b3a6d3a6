"""A running job as others see it."""

from agent_brain_server.models.index import IndexRequest, JobProgress, JobStatus
from agent_brain_server.services.progress import RunningJob
from agent_brain_server.types import Skip


def make_job() -> RunningJob:
    status = JobStatus(job_id="j", state="running", folder_path=".", created_at="now", progress=JobProgress())
    return RunningJob(status=status, request=IndexRequest(folder_path="."))


def test_every_counter_is_shown() -> None:
    job = make_job()
    for number, name in enumerate(set(JobProgress.model_fields) - {"phase", "files_skipped", "keywords_ready"}):
        setattr(job, name, number + 1)
    job.keywords_ready, job.phase = True, "embedding"
    job.count_skips([Skip("a", "empty")])
    shown, untouched = job.progress().model_dump(), JobProgress().model_dump()
    assert [name for name in shown if shown[name] == untouched[name]] == []


def test_skips_are_counted_by_reason() -> None:
    job = make_job()
    job.count_skips([Skip("a", "empty"), Skip("b", "binary"), Skip("c", "empty")])
    job.count_skips([Skip("d", "binary")])
    assert job.progress().files_skipped == {"empty": 2, "binary": 2}


def test_a_snapshot_does_not_change_afterwards() -> None:
    job = make_job()
    before = job.snapshot()
    job.files_done = 3
    job.count_skips([Skip("a", "empty")])
    assert (before.progress.files_done, before.progress.files_skipped) == (0, {})
    assert (before.job_id, job.snapshot().progress.files_done) == ("j", 3)
    assert job.status.progress.files_done == 0
