import io

from agent_brain_cli.progress import ProgressBars, ProgressLines, count_reasons, describe_progress, vector_share

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


def test_each_phase_has_its_line():
    assert "turn" in describe_progress(make_job(phase="queued"))
    assert "1,200" in describe_progress(make_job(phase="scanning"))
    assert "250 of 1,000" in describe_progress(make_job())
    embedding = make_job(phase="embedding", keywords_ready=True, vectors_total=400, vectors_done=100)
    assert "25 %" in describe_progress(embedding)


def test_no_chunks_lack_no_vectors():
    assert vector_share(make_job()) == 1


def test_a_short_job_gets_no_line():
    stream = io.StringIO()
    with ProgressLines(stream, interval_s=60) as display:
        for done in range(500):
            display.update(make_job(files_done=done))
    assert stream.getvalue() == ""


def test_a_long_job_gets_a_line_per_interval_that_has_news():
    stream = io.StringIO()
    with ProgressLines(stream, interval_s=0) as display:
        for done in (1, 1, 2):
            display.update(make_job(files_done=done))
    assert [line.split()[1] for line in stream.getvalue().splitlines()] == ["1", "2"]


def test_reasons_come_with_the_most_frequent_first():
    assert count_reasons({"empty": 1, "binary": 1200}) == "1,200 binary, 1 empty"


def test_bars_take_every_phase(capsys):
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
