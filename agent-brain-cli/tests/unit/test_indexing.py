"""When waiting ends, and what a job that came to nothing is."""

import pytest

from agent_brain_cli.indexing import check_job, has_reached
from agent_brain_server.errors import ServerRefusedError


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
def test_a_milestone_is_reached_or_never_will_be(state, ready, milestone, reached):
    assert has_reached({"state": state, "progress": {"keywords_ready": ready}}, milestone) is reached


@pytest.mark.parametrize(
    ("job", "code", "words"),
    [
        ({"state": "failed", "error": "The disk is full."}, "job_failed", "The disk is full."),
        ({"state": "failed", "error": None}, "job_failed", "without saying why"),
        ({"state": "cancelled", "error": None}, "job_cancelled", "cancelled"),
    ],
)
def test_a_job_that_came_to_nothing_is_an_error_with_a_next_step(job, code, words):
    with pytest.raises(ServerRefusedError, match=words) as caught:
        check_job(job)
    assert caught.value.code == code
    assert "agent-brain index" in caught.value.hint


def test_a_job_that_did_its_work_is_none():
    check_job({"state": "done"})
    check_job({"state": "running"})
