import io

from agent_brain_cli.progress import ProgressBars, ProgressLines, describe_progress, vector_share

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


def test_lines_are_few_and_every_phase_gets_one():
    stream = io.StringIO()
    display = ProgressLines(stream, interval_s=60)
    for done in range(500):
        display.update(make_job(files_done=done))
    display.update(make_job(phase="embedding", keywords_ready=True, vectors_total=4))
    display.update(make_job(phase="embedding", keywords_ready=True, vectors_total=4))
    assert len(stream.getvalue().splitlines()) == 2


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
