"""Kill a server between two writes: the next one returns no deleted text, and repairs the stores."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agent_brain_server.models.index import JobStatus
from agent_brain_server.models.query import QueryRequest
from agent_brain_server.project.services import ProjectServices

LIMIT_S = 600.0

CHANGE_AND_DIE = """
import os, signal, sys, time
from pathlib import Path
from agent_brain_server.project.services import ProjectServices
from agent_brain_server.config.settings import ProjectConfig
from agent_brain_server.models.index import IndexRequest

def run_job():
    job_id = services.indexing.submit(IndexRequest(folder_path=".")).job_id
    while services.indexing.jobs.get(job_id).finished_at is None:
        time.sleep(0.01)

def die_around(store, method, moment):
    original = getattr(store, method)
    def wrapped(*arguments, **options):
        if moment == "after":
            original(*arguments, **options)
        os.kill(os.getpid(), signal.SIGKILL)
    setattr(store, method, wrapped)

root, moment, name, method = Path(sys.argv[1]), *sys.argv[2:]
services = ProjectServices.open("project", root, root / ".claude" / "Agent Brain", ProjectConfig(watch=False))
run_job()
(root / "src/locks.py").unlink()
(root / "docs/guide.md").write_bytes(bytes(range(32)) * 100)
(root / "src/parser.py").write_text("def decode_trailer(line):\\n    return line\\n")
die_around(getattr(services, name), method, moment)
run_job()
"""
"""Index the project; delete a file, make another one binary, change a third; then die while these are indexed."""


@pytest.mark.parametrize(
    "instant",
    [
        "before documents remove_files",
        "after documents remove_files",
        "before bm25 index_files",
        "before documents remember_skipped",
        "after documents remember_skipped",
        "before documents mark_indexed",
    ],
)
def test_kill_between_writes_leaves_no_stale_entries(
    project: Path, open_services: Callable[[], ProjectServices], run_job: Callable[..., JobStatus], instant: str
) -> None:
    command = [sys.executable, "-c", CHANGE_AND_DIE, str(project), *instant.split()]
    assert subprocess.run(command, timeout=LIMIT_S, check=False).returncode == -signal.SIGKILL
    services = open_services()
    for mode in ("bm25", "hybrid", "vector"):
        for result in services.queries.answer(QueryRequest(query="FileLock release installer", mode=mode)).results:
            assert services.documents.get_chunk(result.chunk_id) is not None
    assert run_job(services).state == "done"
    assert set(services.documents.file_records()) == {"docs/guide.md", "src/parser.py", "tests/test_parser.py"}
    chunks = services.documents.counts().chunks
    assert services.bm25.count() == services.vectors.count() == services.documents.counts().embedded == chunks
    for query in ("FileLock", "installer", "parse_http_header"):
        hits = services.bm25.search(query, 10)
        assert len(services.documents.metadata_by_keys([hit.key for hit in hits])) == len(hits)
        assert {hit.key for hit in hits} <= set(services.documents.embedded_keys().tolist())
