"""When waiting for a job ends, and how its progress is shown."""

import io

import pytest

from agent_brain_cli.jobs import (
    ProgressBars,
    ProgressLines,
    check_job,
    count_reasons,
    describe_progress,
    get_vector_share,
    has_reached,
)
from agent_brain_server.errors import ServerRefusedError

PROGRESS = {
    "phase": "chunking",
    "files_total": 1_200,
    "files_changed": 1_000,
    "files_done": 250,
    "files_removed": 0,
    "files_skipped": {},
    "chunks_written": 900,
    "vectors_total": 0,
    "vectors_done": 0,
    "keywords_ready": False,
}


def make_job(**progress):
    return {"job_id": "j1", "state": "running", "progress": PROGRESS | progress}


def test_describe_progress_of_each_phase():
    assert "turn" in describe_progress(make_job(phase="queued"))
    assert "1,200" in describe_progress(make_job(phase="scanning"))
    assert "250 of 1,000" in describe_progress(make_job())
    embedding = make_job(phase="embedding", keywords_ready=True, vectors_total=400, vectors_done=100)
    assert "25 %" in describe_progress(embedding)


def test_vector_share_without_chunks_is_one():
    assert get_vector_share(make_job()) == 1


def test_progress_lines_of_short_job_are_empty():
    stream = io.StringIO()
    with ProgressLines(stream, interval_s=60) as display:
        for done in range(500):
            display.update(make_job(files_done=done))
    assert stream.getvalue() == ""


def test_progress_lines_are_written_once_per_change():
    stream = io.StringIO()
    with ProgressLines(stream, interval_s=0) as display:
        for done in (1, 1, 2):
            display.update(make_job(files_done=done))
    assert [line.split()[1] for line in stream.getvalue().splitlines()] == ["1", "2"]


def test_count_reasons_starts_with_the_most_frequent():
    assert count_reasons({"empty": 1, "binary": 1200}) == "1,200 binary, 1 empty"


def test_progress_bars_show_every_phase(capsys):
    with ProgressBars() as display:
        for job in (
            make_job(phase="queued"),
            make_job(phase="scanning"),
            make_job(),
            make_job(phase="embedding", keywords_ready=True, vectors_total=4, vectors_done=2, files_done=1_000),
        ):
            display.update(job)
    shown = capsys.readouterr().err
    assert "1000/1000" in shown
    assert "2/4" in shown


@pytest.mark.parametrize(
    ("state", "ready", "milestone", "reached"),
    [
        ("running", False, "keywords", False),
        ("running", True, "keywords", True),
        ("running", True, "end", False),
        ("done", True, "end", True),
        ("failed", False, "keywords", True),
        ("cancelled", False, "end", True),
    ],
)
def test_has_reached_milestone_or_end(state, ready, milestone, reached):
    assert has_reached({"state": state, "progress": {"keywords_ready": ready}}, milestone) is reached


@pytest.mark.parametrize(
    ("job", "code", "words"),
    [
        ({"state": "failed", "error": "The disk is full."}, "job_failed", "The disk is full."),
        ({"state": "failed", "error": None}, "job_failed", "without an error message"),
        ({"state": "cancelled", "error": None}, "job_cancelled", "cancelled"),
    ],
)
def test_check_job_of_failed_or_cancelled_job_raises(job, code, words):
    with pytest.raises(ServerRefusedError, match=words) as caught:
        check_job(job)
    assert caught.value.code == code
    assert "agent-brain index" in caught.value.hint


def test_check_job_of_successful_job_returns():
    check_job({"state": "done"})
    check_job({"state": "running"})
