"""Stores are opened, synchronized and closed together."""

import sqlite3
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from agent_brain_server.config.settings import ProjectConfig
from agent_brain_server.errors import ConfigError, StoreError
from agent_brain_server.models.index import JobStatus
from agent_brain_server.project.recovery import Repairs, open_documents, reconcile_stores
from agent_brain_server.project.services import ProjectServices, SharedServices, open_stores
from agent_brain_server.storage.document_store import LAST_INDEXED_META
from agent_brain_server.storage.origin import ensure_key, make_origin
from agent_brain_server.storage_paths import resolve_storage_paths

RunJob = Callable[..., JobStatus]
OpenServices = Callable[..., ProjectServices]


def test_status_and_summary_agree_with_the_stores(services: ProjectServices, run_job: RunJob) -> None:
    run_job(services)
    short, whole, counts = services.project_status(), services.status(), services.documents.counts()
    assert (short.total_documents, short.total_chunks) == (counts.files, counts.chunks)
    assert (whole.total_documents, whole.total_vectors) == (counts.files, services.vectors.count())
    assert short.project_id == whole.project_id == services.project_id
    assert short.last_indexed_at == whole.last_indexed_at is not None
    assert not services.is_busy()


def test_close_closes_every_store_and_can_be_repeated(open_services: OpenServices) -> None:
    services = open_services()
    services.retire()
    services.close()
    services.close()
    assert services.retired.is_set()
    for use in (services.documents.file_records, lambda: services.documents.set_meta("a", "b")):
        with pytest.raises(StoreError):
            use()


def test_open_uses_the_shared_services(project: Path, tmp_path: Path) -> None:
    shared = SharedServices.make(ProjectConfig().embedding_model, max_concurrent_indexing=1)
    with ExitStack() as opened:
        all_services = []
        for name in ("one", "two"):
            arguments = ("shared", project, tmp_path / name, ProjectConfig(watch=False))
            all_services.append(ProjectServices.open(*arguments, shared=shared))
            opened.callback(all_services[-1].close)
        assert all_services[0].embedder is all_services[1].embedder is shared.embedder
        assert all_services[0].documents.store_id != all_services[1].documents.store_id


def test_open_documents_sets_a_later_version_aside(tmp_path: Path) -> None:
    directory = tmp_path / "documents"
    open_documents(directory, Repairs()).close()
    with sqlite3.connect(directory / "documents.sqlite3") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    open_documents(directory, Repairs()).close()
    aside = list(tmp_path.glob("documents.store_version.*/documents.sqlite3"))
    assert len(aside) == 1


def test_open_documents_keeps_an_unreadable_store(tmp_path: Path) -> None:
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents/documents.sqlite3").mkdir()
    with pytest.raises(StoreError) as caught:
        open_documents(tmp_path / "documents", Repairs())
    assert caught.value.code == "store_unusable"
    assert [path for path in tmp_path.iterdir() if path.name.startswith("documents.")] == []


def test_failed_open_closes_what_was_opened(project: Path, tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    paths = resolve_storage_paths(state_dir)
    make_origin(paths["data"], ensure_key())
    in_the_way = paths["chroma_db"] / "vectors.sqlite3"
    in_the_way.mkdir()
    with pytest.raises(StoreError, match="vectors"):
        ProjectServices.open("project", project, state_dir, ProjectConfig(watch=False))
    opened = [str(link.resolve()) for link in Path("/proc/self/fd").iterdir()]
    assert [path for path in opened if path.startswith(str(state_dir))] == []


def test_reconcile_stores_returns_whether_work_remains(
    open_services: OpenServices, project: Path, run_job: RunJob
) -> None:
    first = open_services()
    run_job(first)
    first.close()
    model = ProjectConfig().embedding_model
    paths = resolve_storage_paths(project / ".claude" / "Agent Brain")
    with ExitStack() as closers:
        stores = open_stores(paths, ProjectConfig(embedding_model=model), closers, Repairs())
        documents, _, vectors = stores
        assert not reconcile_stores(project, *stores, Repairs())
        vectors.delete(documents.embedded_keys()[:1])
        assert reconcile_stores(project, *stores, Repairs())
        assert documents.counts().embedded == documents.counts().chunks - 1
        assert reconcile_stores(project / "elsewhere", *stores, Repairs())
        assert documents.counts().files == 0
        assert documents.get_meta(LAST_INDEXED_META) is None
        assert vectors.count() == 0


def test_data_and_logs_in_the_tree_are_not_indexed(project: Path, run_job: RunJob) -> None:
    state_dir = project / "state"
    settings = ProjectConfig(watch=True, data_dir="../index data", log_dir=str(project / "my logs"))
    (project / "my logs").mkdir(mode=0o700)
    (project / "my logs" / "readme.md").write_text("# Not for the index\n")
    (project / "index data").mkdir(mode=0o700)
    (project / "index data" / "readme.md").write_text("# Not for the index\n")
    with ExitStack() as opened:
        services = ProjectServices.open("project", project, state_dir, settings)
        opened.callback(services.close)
        run_job(services)
        (project / "my logs" / "more.md").write_text("# Not for the index\n")
        run_job(services)
        assert [file for file in services.documents.file_records() if "readme" in file or "more" in file] == []
        assert services.documents.counts().files > 0


@pytest.mark.parametrize("settings", [{"data_dir": ".."}, {"log_dir": ".."}])
def test_data_or_logs_in_the_root_are_refused(project: Path, settings: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="project root"):
        ProjectServices.open("project", project, project / "state", ProjectConfig(watch=False, **settings))
