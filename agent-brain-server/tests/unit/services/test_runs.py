"""Progress of runs, and the order in which they read files."""

from agent_brain_server.models.index import IndexRequest, JobProgress, JobStatus
from agent_brain_server.services import runs
from agent_brain_server.services.runs import Counters, JobRun, RunningJob, SyncRun
from agent_brain_server.types import FileStat, Skip

SHORT = [FileStat(f"{number}.py", 10, number) for number in range(5)]
LONG = FileStat("0_long.py", runs.ORDINARY_BYTES + 1, 0)
REQUEST = IndexRequest(folder_path=".")


def never() -> bool:
    return False


def make_job() -> RunningJob:
    status = JobStatus(job_id="j", state="running", folder_path=".", created_at="now", progress=JobProgress())
    return RunningJob(status=status, request=REQUEST)


def test_progress_has_every_counter() -> None:
    job = make_job()
    for number, name in enumerate(set(JobProgress.model_fields) - {"phase", "files_skipped", "keywords_ready"}):
        setattr(job, name, number + 1)
    job.keywords_ready, job.phase = True, "embedding"
    job.count_skips([Skip("a", "empty")])
    shown, untouched = job.progress().model_dump(), JobProgress().model_dump()
    assert [name for name in shown if shown[name] == untouched[name]] == []


def test_count_skips_adds_up_by_reason() -> None:
    job = make_job()
    job.count_skips([Skip("a", "empty"), Skip("b", "binary"), Skip("c", "empty")])
    job.count_skips([Skip("d", "binary")])
    assert job.progress().files_skipped == {"empty": 2, "binary": 2}


def test_snapshot_does_not_change_afterwards() -> None:
    job = make_job()
    before = job.snapshot()
    job.files_done = 3
    job.count_skips([Skip("a", "empty")])
    assert (before.progress.files_done, before.progress.files_skipped) == (0, {})
    assert (before.job_id, job.snapshot().progress.files_done) == ("j", 3)
    assert job.status.progress.files_done == 0


def test_job_reads_long_files_last_and_returns_to_unread_ones(monkeypatch) -> None:
    monkeypatch.setattr(runs, "SLICE_FILES", 4)
    syncs: list[int] = []
    run = JobRun(request=REQUEST, counters=Counters(), should_stop=never, sync=lambda: syncs.append(1))
    read = []
    for part in run.slices([LONG, *SHORT]):
        read.append([file.path for file in part])
        if len(read) == 1:
            run.unread[:0] = [part[-1]]  # the reader had no time for it
    assert read == [["0.py", "1.py", "2.py", "3.py"], ["3.py", "4.py", "0_long.py"]]
    assert len(syncs) == 2


def test_sync_has_no_time_for_long_files() -> None:
    run = SyncRun(request=REQUEST, counters=Counters(), should_stop=never)
    assert [run.should_yield(file) for file in (SHORT[0], LONG)] == [False, True]
    for part in run.slices([LONG, *SHORT]):
        run.unread[:0] = [file for file in part if file == LONG]
    assert (run.late, run.unread) == ([LONG], [])


def test_sync_of_too_many_files_leaves_the_older_ones(monkeypatch) -> None:
    monkeypatch.setattr(runs, "MAX_SYNC_FILES", 4)
    monkeypatch.setattr(runs, "MAX_FIRST_FILES", 2)
    run = SyncRun(request=REQUEST, counters=Counters(), should_stop=never)
    assert [part[0].path for part in run.slices([LONG, *SHORT])] == ["4.py", "3.py"]
    assert run.unread == [LONG, *SHORT[:3]]
