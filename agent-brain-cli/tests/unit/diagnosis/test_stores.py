"""What is made of the counts and versions of the stores."""

import pytest

from agent_brain_cli.diagnosis.stores import check_stores

WELL = {
    "version": 1,
    "expected_version": 1,
    "keyword_version": 2,
    "expected_keyword_version": 2,
    "damage": None,
    "chunks": 3,
    "embedded": 3,
    "files_pending": 0,
    "vectors": 3,
    "keywords": 3,
}


@pytest.mark.parametrize(
    ("found", "status"),
    [
        (None, "ok"),
        (WELL, "ok"),
        (WELL | {"embedded": 1, "vectors": 1}, "ok"),
        (WELL | {"keywords": 2}, "warning"),
        (WELL | {"vectors": 4}, "warning"),
        (WELL | {"files_pending": 1}, "warning"),
        (WELL | {"version": 9}, "warning"),
        (WELL | {"keyword_version": 1}, "warning"),
        (WELL | {"damage": "row 3 missing"}, "failed"),
    ],
)
def test_stores_are_judged_by_what_they_hold(told, found, status):
    finding = check_stores(told("stores", found))
    assert finding.status == status
    assert (finding.next_step is None) is (status == "ok")


def test_a_store_that_cannot_be_read_is_a_failure_that_names_its_place(told):
    patient = told("stores", None, "OSError: no")
    finding = check_stores(patient)
    assert finding.status == "failed"
    assert str(patient.data) in finding.message
