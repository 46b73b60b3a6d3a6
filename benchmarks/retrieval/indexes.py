"""Complete indexes of source trees, made by the product and kept between runs outside of the trees."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

from agent_brain_server.config.settings import ProjectConfig
from agent_brain_server.models import TERMINAL_STATES, VectorEngineName
from agent_brain_server.models.index import IndexRequest, JobStatus
from agent_brain_server.project.services import ProjectServices, SharedServices
from agent_brain_server.storage_paths import default_state_dir

ENGINES = get_args(VectorEngineName)

POLL_S = 0.05
"""An unchanged tree takes some tenths of a second."""

STALL_LIMIT_S = 120.0
"""A job without progress for this long hangs; a batch takes some tenths of a second."""


def make_shared_services() -> SharedServices:
    """Return the parts that the indexes of a run share, such as the embedding model."""
    return SharedServices.make(ProjectConfig().embedding_model, max_concurrent_indexing=1)


@contextmanager
def open_index(
    tree: Path,
    state_dir: Path,
    shared: SharedServices,
    *,
    recut: bool = False,
    engine: VectorEngineName = "exact",
    keywords_only: bool = False,
) -> Iterator[ProjectServices]:
    """Open the services of a tree after indexing it completely.

    Args:
        tree: The sources; nothing is written into it.
        state_dir: Directory of the index.
        shared: Parts shared by the run.
        recut: Cut unchanged files again, after a change of the chunkers; equal texts keep their vectors.
        engine: Vector engine. An index that is kept is moved to the engine.
        keywords_only: Do not wait for vectors.

    Raises:
        RuntimeError: The tree cannot be indexed.
    """
    root = tree.resolve()
    settings = ProjectConfig(watch=False, vector_engine=engine)
    own = default_state_dir(root)
    bundle = ProjectServices.open("project", root, state_dir.resolve(), settings, own_state_dir=own, shared=shared)
    try:
        job_id = bundle.indexing.submit(IndexRequest(folder_path=".", force=recut)).job_id
        wait_for_job(bundle, job_id, keywords_only=keywords_only)
        if not keywords_only and bundle.queries.freshness().vector_coverage < 1:
            raise RuntimeError(f"{tree}: chunks are left without a vector")
        yield bundle
    finally:
        bundle.close()


def wait_for_job(bundle: ProjectServices, job_id: str, *, keywords_only: bool = False) -> None:
    """Wait until a job is done, or until keywords can be searched.

    Raises:
        RuntimeError: The job failed or makes no progress.
    """
    moved_at, seen = time.monotonic(), ""
    while (job := bundle.indexing.jobs.get(job_id)).state not in TERMINAL_STATES:
        if keywords_only and job.progress.keywords_ready:
            return
        if (progress := job.progress.model_dump_json()) != seen:
            moved_at, seen = time.monotonic(), progress
        if time.monotonic() - moved_at > STALL_LIMIT_S:
            raise RuntimeError(f"indexing {bundle.project_root} makes no progress: {progress}")
        time.sleep(POLL_S)
    _report(bundle, job)


def _report(bundle: ProjectServices, job: JobStatus) -> None:
    if job.state != "done":
        raise RuntimeError(f"indexing {bundle.project_root} {job.state}: {job.error}")
    if job.progress.files_changed:
        print(f"indexed {job.progress.files_changed} files of {bundle.project_root.name}", file=sys.stderr)
