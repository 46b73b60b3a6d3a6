"""The request of `agent-brain index`, and its report."""

from pathlib import Path

import pytest

from agent_brain_cli.commands.index import index_request, render_job
from agent_brain_cli.options import Target
from agent_brain_server.project_root import Project

OPTIONS = {
    "no_recursive": False,
    "include_patterns": (),
    "exclude_patterns": (),
    "force": False,
    "chunk_size": None,
    "chunk_overlap": None,
}


def make_job(**progress):
    known = {"files_total": 1_200, "files_changed": 7, "files_removed": 2, "files_skipped": {}, "keywords_ready": True}
    return {"job_id": "j1", "state": "done", "progress": {**known, "vectors_total": 4, "vectors_done": 4, **progress}}


def test_index_request_has_only_given_options(tmp_path):
    target = Target(Project(tmp_path, tmp_path / "state"), explicit=False, as_json=False)
    assert index_request(None, target, dict(OPTIONS)) == {"folder_path": str(tmp_path), "recursive": True}
    named = {**OPTIONS, "no_recursive": True, "include_patterns": ("*.py",), "chunk_overlap": 0, "force": True}
    assert index_request(Path("src"), target, named) == {
        "folder_path": str(Path("src").absolute()),
        "recursive": False,
        "include_patterns": ["*.py"],
        "chunk_overlap": 0,
        "force": True,
    }


@pytest.mark.parametrize(
    ("job", "words"),
    [
        (make_job(), "1,200 files (7 read, 2 removed): keyword search is complete, all vectors are ready."),
        (make_job(files_total=1), "Indexed 1 file (7 read"),
        (make_job(vectors_done=1), "vectors are being computed (25 %)"),
        (make_job(files_skipped={"empty": 2, "binary": 9}), "Skipped: 9 binary, 2 empty."),
        ({**make_job(keywords_ready=False), "state": "queued"}, "Job j1 is queued"),
    ],
)
def test_render_job_reports_what_was_done(job, words):
    assert words in render_job(job)
