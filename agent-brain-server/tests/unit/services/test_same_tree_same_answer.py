"""An index that followed several checkouts answers as a new one of the same tree."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from agent_brain_server.config.settings import ProjectConfig
from agent_brain_server.models.index import JobStatus
from agent_brain_server.models.query import QueryRequest
from agent_brain_server.project.services import ProjectServices

RunJob = Callable[..., JobStatus]

WORDS = ("lock", "release", "header", "parse", "request", "timeout", "retry", "socket", "worker", "index")
QUERIES = (
    "lock release",
    "parse_header",
    "retry the request after a timeout",
    "worker",
    "function_3",
    "index socket lock",
)


def write_tree(project: Path, version: int) -> None:
    for number in range(12):
        chance = random.Random(f"{number} {version if number % 3 == 0 else 0}")
        functions = [
            f"def function_{number}_{at}():\n    return '{' '.join(chance.choices(WORDS, k=chance.randint(2, 40)))}'\n"
            for at in range(4)
        ]
        (project / f"module_{number}.py").write_text("\n\n".join(functions))
    extra = project / "only_here.py"
    if version:
        extra.write_text(f"def function_3():\n    return 'lock release {version}'\n")
    else:
        extra.unlink(missing_ok=True)


def answers(services: ProjectServices) -> list[list[tuple[str, int]]]:
    requests = [QueryRequest(query=query, mode=mode) for query in QUERIES for mode in ("hybrid", "bm25", "vector")]
    return [[(r.source, r.start_line) for r in services.queries.answer(request).results] for request in requests]


@pytest.mark.slow
def test_followed_index_answers_as_new_one(
    services: ProjectServices, project: Path, tmp_path: Path, run_job: RunJob
) -> None:
    for version in (0, 1, 2, 3, 0):
        write_tree(project, version)
        run_job(services)
    settings = ProjectConfig(watch=False)
    own = project / ".claude" / "Agent Brain"
    new = ProjectServices.open("project", project, tmp_path / "other state", settings, own_state_dir=own)
    try:
        run_job(new)
        assert services.documents.counts() == new.documents.counts()
        assert answers(services) == answers(new)
    finally:
        new.close()
