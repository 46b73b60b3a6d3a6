"""Indexed roots after a series of jobs."""

import pytest

from agent_brain_server.models.index import IndexRequest
from agent_brain_server.project.services import ProjectServices
from agent_brain_server.services.indexed_roots import load_roots, merge_roots, remember_root
from agent_brain_server.storage.document_store import ROOTS_META


def request(folder: str, **fields: object) -> IndexRequest:
    return IndexRequest(folder_path=folder, **fields)  # type: ignore[arg-type]


SRC = request("src")
ALL = request(".")
SRC_PYTHON = request("src", include_patterns=["*.py"])
TOP = request(".", recursive=False)


@pytest.mark.parametrize(
    ("jobs", "roots"),
    [
        ([SRC], [SRC]),
        ([SRC, ALL], [ALL]),
        ([ALL, SRC], [ALL]),
        ([ALL, SRC_PYTHON], [ALL, SRC_PYTHON]),
        ([SRC, SRC_PYTHON], [SRC_PYTHON]),
        ([SRC, request("srcs")], [SRC, request("srcs")]),
        ([request("src/deep"), SRC], [SRC]),
        ([TOP, SRC], [TOP, SRC]),
        ([request("src", force=True)], [SRC]),
    ],
)
def test_merge_roots_replaces_roots_inside_the_new_one(jobs: list[IndexRequest], roots: list[IndexRequest]) -> None:
    merged: list[IndexRequest] = []
    for job in jobs:
        merged = merge_roots(merged, job)
    assert merged == roots


def test_load_roots_ignores_an_unknown_format(services: ProjectServices) -> None:
    remember_root(services.documents, SRC_PYTHON)
    assert load_roots(services.documents) == [SRC_PYTHON]
    services.documents.set_meta(ROOTS_META, '[{"unknown": 1}]')
    assert load_roots(services.documents) == []
