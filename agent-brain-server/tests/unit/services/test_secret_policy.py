"""Apply the setting `index_secrets`: at once to new secrets, at the next start to files that were indexed before."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from agent_brain_server.config.settings import ProjectConfig
from agent_brain_server.models.index import JobStatus
from agent_brain_server.models.query import QueryRequest
from agent_brain_server.project.services import ProjectServices

RunJob = Callable[..., JobStatus]
LIMIT_S = 120
MARK = "-----BEGIN PRIVATE KEY-----"
KEY = f"{MARK}\n{'crocodile' * 7}\n"


def indexed(bundle: ProjectServices) -> set[str]:
    records = bundle.documents.file_records().values()
    return {record.path for record in records if record.state == "indexed"}


def answers(bundle: ProjectServices, query: str) -> list[str]:
    return [result.source for result in bundle.queries.answer(QueryRequest(query=query, mode="bm25")).results]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def obeys(bundle: ProjectServices, secrets: set[str], *, index_secrets: bool) -> bool:
    left_out = {skip.path for skip in bundle.documents.skips() if skip.reason == "secret"}
    found = (left_out, indexed(bundle) & secrets)
    return not bundle.is_busy() and found == ((set(), secrets) if index_secrets else (secrets, set()))


def open_with(project: Path, *, index_secrets: bool) -> ProjectServices:
    settings = ProjectConfig(watch=False, index_secrets=index_secrets)
    return ProjectServices.open("project", project, project / ".claude" / "Agent Brain", settings)


def test_secrets_are_skipped_and_counted(bundle: ProjectServices, project: Path, run_job: RunJob) -> None:
    (project / ".env").write_text("PASSWORD=crocodile\n")
    (project / "deploy_key").write_text(KEY)
    job = run_job(bundle)
    assert job.progress.files_skipped == {"secret": 2}
    assert bundle.status().skipped == {"secret": 2}
    assert answers(bundle, "crocodile PASSWORD") == []
    assert run_job(bundle, ".env").progress.files_total == 0
    assert (
        run_job(bundle, include_patterns=[".env", "deploy_key"], force=True).progress.files_done == 1
    )  # read, skipped
    assert answers(bundle, "crocodile PASSWORD") == []


def test_file_that_becomes_a_secret_is_removed(
    open_bundle: Callable[..., ProjectServices], project: Path, run_job: RunJob
) -> None:
    (project / "notes.txt").write_text("crocodile notes\n")
    (project / "settings.txt").write_text("crocodile settings\n")
    bundle = open_bundle(watch=True)
    run_job(bundle)
    assert set(answers(bundle, "crocodile")) == {"notes.txt", "settings.txt"}
    (project / "notes.txt").write_text(KEY)
    (project / "settings.txt").rename(project / ".env")
    wait_until(lambda: answers(bundle, "crocodile") == [])
    wait_until(lambda: bundle.status().skipped == {"secret": 2})
    wait_until(lambda: bundle.documents.counts().chunks == bundle.bm25.count())


def test_changed_secret_setting_applies_to_indexed_files(project: Path, run_job: RunJob) -> None:
    (project / ".env").write_text("PASSWORD=crocodile\n")
    (project / "deploy_key").write_text(KEY)
    for index_secrets in (True, False, True):
        bundle = open_with(project, index_secrets=index_secrets)
        try:
            if not bundle.documents.file_records():
                run_job(bundle)
            is_applied = partial(obeys, bundle, {".env", "deploy_key"}, index_secrets=index_secrets)
            wait_until(is_applied)
            assert bundle.documents.counts().files_pending == 0
        finally:
            bundle.close()


def test_unchanged_secret_setting_reads_nothing(project: Path, run_job: RunJob) -> None:
    bundle = open_with(project, index_secrets=False)
    run_job(bundle)
    bundle.close()
    bundle = open_with(project, index_secrets=False)
    try:
        assert bundle.documents.counts().files_pending == 0
        assert len(bundle.indexing.jobs.newest()) == 1
    finally:
        bundle.close()
