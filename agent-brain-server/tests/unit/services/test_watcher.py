"""The index follows the tree by itself, with real files and the kernel's own events."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agent_brain_server.api.bundle import ServiceBundle
from agent_brain_server.models.index import JobStatus
from agent_brain_server.models.query import QueryRequest
from agent_brain_server.services.watcher import list_directories

OpenBundle = Callable[..., ServiceBundle]
RunJob = Callable[..., JobStatus]
LIMIT_S = 20.0


@pytest.fixture
def bundle(open_bundle: OpenBundle) -> ServiceBundle:
    return open_bundle(watch=True)


def find(bundle: ServiceBundle, name: str) -> list[str]:
    results = bundle.queries.answer(QueryRequest(query=name, mode="bm25")).results
    return [result.source for result in results if name in result.symbols]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, "the index did not follow"
        time.sleep(0.02)


def test_a_save_is_found_and_so_is_what_it_replaced(bundle: ServiceBundle, project: Path, run_job: RunJob) -> None:
    run_job(bundle)
    (project / "src/parser.py").write_text("def decode_trailer(line):\n    return line\n")
    wait_for(lambda: find(bundle, "decode_trailer") == ["src/parser.py"])
    assert find(bundle, "parse_http_header") == []
    wait_for(lambda: bundle.queries.freshness().files_pending == 0)


def test_a_save_by_rename_is_found(bundle: ServiceBundle, project: Path, run_job: RunJob) -> None:
    run_job(bundle)
    (project / "src/.parser.py.new").write_text("def renamed_into_place():\n    pass\n")
    os.replace(project / "src/.parser.py.new", project / "src/parser.py")
    wait_for(lambda: find(bundle, "renamed_into_place") == ["src/parser.py"])


def test_new_directories_are_followed_all_the_way_down(bundle: ServiceBundle, project: Path, run_job: RunJob) -> None:
    run_job(bundle)
    (project / "lib/inner").mkdir(parents=True)
    (project / "lib/inner/fresh.py").write_text("def first_in_new_directory():\n    pass\n")
    wait_for(lambda: find(bundle, "first_in_new_directory") == ["lib/inner/fresh.py"])
    (project / "lib/inner/second.py").write_text("def second_in_new_directory():\n    pass\n")
    wait_for(lambda: find(bundle, "second_in_new_directory") == ["lib/inner/second.py"])


def test_deleted_files_and_directories_are_forgotten(bundle: ServiceBundle, project: Path, run_job: RunJob) -> None:
    run_job(bundle)
    shutil.rmtree(project / "src")
    wait_for(lambda: bundle.documents.counts().files == 2)
    assert find(bundle, "parse_http_header") == []


def test_a_thousand_files_at_once_are_found(bundle: ServiceBundle, project: Path, run_job: RunJob) -> None:
    run_job(bundle)
    for number in range(1000):
        (project / f"src/bulk_{number}.py").write_text(f"def bulk_{number}():\n    pass\n")
    wait_for(lambda: bundle.documents.counts().files == 1004 and bundle.documents.counts().files_pending == 0)
    wait_for(lambda: find(bundle, "bulk_999") == ["src/bulk_999.py"])


def test_what_changed_while_no_server_ran_is_caught_up_with(
    open_bundle: OpenBundle, project: Path, run_job: RunJob
) -> None:
    first = open_bundle()
    run_job(first)
    first.close()
    (project / "src/parser.py").write_text("def changed_in_the_dark():\n    pass\n")
    second = open_bundle(watch=True)
    wait_for(lambda: find(second, "changed_in_the_dark") == ["src/parser.py"])


def test_what_was_not_indexed_stays_out(bundle: ServiceBundle, project: Path, run_job: RunJob) -> None:
    run_job(bundle, "src", include_patterns=["*.py"])
    (project / "docs/guide.md").write_text("# Changed\n")
    (project / "src/notes.md").write_text("# New\n")
    (project / "src/parser.py").write_text("def the_one_that_counts():\n    pass\n")
    wait_for(lambda: find(bundle, "the_one_that_counts") == ["src/parser.py"])
    assert set(bundle.documents.file_records()) == {"src/locks.py", "src/parser.py"}


def test_nothing_is_watched_before_something_is_indexed(bundle: ServiceBundle, project: Path) -> None:
    (project / "src/parser.py").write_text("def unasked():\n    pass\n")
    time.sleep(1.0)
    assert bundle.indexing.list_jobs() == []


def test_directories_are_those_of_the_files_and_those_above(project: Path) -> None:
    assert list_directories(project, ["src/parser.py", "gone/deep/x.py"]) == [project, project / "src"]
    assert list_directories(project, []) == []
