"""Stores that are opened together agree, and are closed together."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from agent_brain_server.api.bundle import ServiceBundle, SharedParts, reconcile_stores
from agent_brain_server.api.stores import open_stores
from agent_brain_server.config.settings import ProjectConfig
from agent_brain_server.errors import StoreError
from agent_brain_server.models.index import JobStatus
from agent_brain_server.storage.schema import LAST_INDEXED_META
from agent_brain_server.storage_paths import resolve_storage_paths

RunJob = Callable[..., JobStatus]
OpenBundle = Callable[..., ServiceBundle]


def test_both_statuses_agree_with_the_stores(bundle: ServiceBundle, run_job: RunJob) -> None:
    run_job(bundle)
    short, whole, counts = bundle.project_status(), bundle.status(), bundle.documents.counts()
    assert (short.total_documents, short.total_chunks) == (counts.files, counts.chunks)
    assert (whole.total_documents, whole.total_vectors) == (counts.files, bundle.vectors.count())
    assert short.project_id == whole.project_id == bundle.project_id
    assert short.last_indexed_at == whole.last_indexed_at is not None
    assert not bundle.is_busy()


def test_closing_closes_every_store_and_can_be_repeated(open_bundle: OpenBundle) -> None:
    bundle = open_bundle()
    bundle.retire()
    bundle.close()
    bundle.close()
    assert bundle.retired.is_set()
    for use in (bundle.documents.file_records, lambda: bundle.documents.set_meta("a", "b")):
        with pytest.raises(StoreError):
            use()


def test_bundles_share_the_parts_that_they_are_given(project: Path, tmp_path: Path) -> None:
    shared = SharedParts.make(ProjectConfig().embedding_model, max_concurrent_indexing=1)
    with ExitStack() as opened:
        bundles = []
        for name in ("one", "two"):
            arguments = ("shared", project, tmp_path / name, ProjectConfig(watch=False))
            bundles.append(ServiceBundle.open(*arguments, shared=shared))
            opened.callback(bundles[-1].close)
        assert bundles[0].embedder is bundles[1].embedder is shared.embedder
        assert bundles[0].documents.store_id != bundles[1].documents.store_id


def test_what_opened_before_a_failure_is_closed(project: Path, tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    in_the_way = resolve_storage_paths(state_dir)["chroma_db"] / "vectors.sqlite3"
    in_the_way.mkdir()
    with pytest.raises(StoreError, match="vectors"):
        ServiceBundle.open("project", project, state_dir, ProjectConfig(watch=False))
    opened = [str(link.resolve()) for link in Path("/proc/self/fd").iterdir()]
    assert [path for path in opened if path.startswith(str(state_dir))] == []


def test_reconciling_says_whether_work_is_left(open_bundle: OpenBundle, project: Path, run_job: RunJob) -> None:
    first = open_bundle()
    run_job(first)
    first.close()
    paths = resolve_storage_paths(project / ".claude" / "Agent Brain")
    with ExitStack() as closers:
        stores = open_stores(paths, ProjectConfig(), closers)
        documents, _, vectors = stores
        assert not reconcile_stores(project, *stores)
        some = vectors.keys()[:1]
        vectors.delete(some)
        assert reconcile_stores(project, *stores)
        assert documents.counts().embedded == documents.counts().chunks - 1
        assert reconcile_stores(project / "elsewhere", *stores)
        assert documents.counts().files == 0
        assert documents.get_meta(LAST_INDEXED_META) is None
        assert vectors.count() == 0
