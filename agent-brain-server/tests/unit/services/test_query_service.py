"""Answer queries with real stores."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from agent_brain_server.errors import InvalidRequestError, NotFoundError
from agent_brain_server.models.index import JobStatus
from agent_brain_server.models.query import QueryRequest
from agent_brain_server.project.services import ProjectServices
from agent_brain_server.services.query_service import SingleSlotExecutor

RunJob = Callable[..., JobStatus]


def test_answer_drops_hits_without_a_chunk(services: ProjectServices, run_job: RunJob) -> None:
    run_job(services)
    services.documents.remove_files(["src/locks.py"])  # but from neither index, as after a kill between the writes
    for mode in ("bm25", "vector", "hybrid"):
        answer = services.queries.answer(QueryRequest(query="FileLock release", mode=mode))
        assert "src/locks.py" not in [result.source for result in answer.results]


def test_answer_reports_freshness(services: ProjectServices, run_job: RunJob) -> None:
    empty = services.queries.answer(QueryRequest(query="anything"))
    assert (empty.results, empty.total_results, empty.index.last_indexed_at) == ([], 0, None)
    run_job(services)
    fresh = services.queries.answer(QueryRequest(query="FileLock")).index
    assert (fresh.files_pending, fresh.vector_coverage) == (0, 1.0)
    services.documents.mark_all_pending()
    services.documents.mark_unembedded(services.documents.embedded_keys())
    stale = services.queries.answer(QueryRequest(query="FileLock", mode="bm25")).index
    assert (stale.files_pending, stale.vector_coverage) == (4, 0.0)


def test_answer_returns_at_most_top_k_results(indexed_services: ProjectServices) -> None:
    for top_k in (1, 2, 100):
        answer = indexed_services.queries.answer(QueryRequest(query="header lock installer", top_k=top_k))
        assert answer.total_results == len(answer.results) <= top_k


def test_vector_search_finds_text_without_common_words(indexed_services: ProjectServices) -> None:
    by_meaning = indexed_services.queries.answer(QueryRequest(query="put up the program", alpha=1.0)).results
    assert by_meaning[0].source == "docs/guide.md"
    assert by_meaning[0].bm25_score is None


def test_answer_does_not_depend_on_the_executor(
    services: ProjectServices, run_job: RunJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_job(services)
    request = QueryRequest(query="put up the program")
    with_two_threads = services.queries.answer(request).results
    monkeypatch.setattr(SingleSlotExecutor, "try_submit", lambda *_: None)  # as while another query uses it
    with_one = services.queries.answer(request).results
    assert with_one == with_two_threads
    assert any(result.vector_score is not None for result in with_one)


def test_unknown_chunk_and_invalid_glob_raise(services: ProjectServices, project: Path) -> None:
    with pytest.raises(NotFoundError):
        services.queries.get_chunk("0" * 24)
    with pytest.raises(InvalidRequestError):
        services.queries.answer(QueryRequest(query="x", file_paths=["["]))


def test_several_queries_share_one_answer(indexed_services: ProjectServices) -> None:
    request = QueryRequest.model_validate({"queries": ["FileLock", "parse_http_header", "FileLock"], "top_k": 2})
    answer = indexed_services.queries.answer(request)
    assert [result.answers[0] for result in answer.results[:2]] == [0, 1]
    assert [result.source for result in answer.results[:2]] == ["src/locks.py", "src/parser.py"]
    ids = [result.chunk_id for result in answer.results]
    assert len(set(ids)) == len(ids)


def test_answer_body_stays_within_budget(indexed_services: ProjectServices) -> None:
    for budget in (50, 80, 200, 1500):
        request = QueryRequest(query="header lock installer", max_tokens=budget)
        body = indexed_services.queries.answer_body(request)
        assert indexed_services.tokens.count(body) <= budget
        compact = json.loads(indexed_services.queries.answer_body(request.model_copy(update={"format": "compact"})))
        assert compact["tokens"] == indexed_services.tokens.count(compact["text"]) <= budget


def test_compact_paths_are_relative_to_a_directory(indexed_services: ProjectServices, shared_project: Path) -> None:
    for paths_from, shown in (
        ("", "src/locks.py:"),
        ("src", "locks.py:"),
        ("docs", "../src/locks.py:"),
        ("/", f"{shared_project}/"),
    ):
        request = QueryRequest(query="FileLock", format="compact", paths_from=paths_from)
        assert json.loads(indexed_services.queries.answer_body(request))["text"].startswith(shown)


def test_compact_answer_without_results_says_so(indexed_services: ProjectServices) -> None:
    request = QueryRequest(query="zebra", format="compact", mode="bm25")
    assert json.loads(indexed_services.queries.answer_body(request))["text"] == "No results."
    far = QueryRequest(query="zebra giraffe", format="compact")
    assert json.loads(indexed_services.queries.answer_body(far))["text"].startswith(
        "No result contains a word of the query"
    )


def test_touching_chunks_are_merged(services: ProjectServices, run_job: RunJob, project: Path) -> None:
    body = "    turnip = [turnip, (turnip + 1)]\n" * 16
    functions = [f"def turnip_{number}():\n{body}" for number in range(3)]
    (project / "src/roots.py").write_text("\n\n".join(functions))
    run_job(services)
    answer = services.queries.answer(QueryRequest(query="turnip", source_types=["code"]))
    merged = next(result for result in answer.results if result.source == "src/roots.py")
    assert (merged.start_line, merged.end_line) == (1, 55)
    assert merged.text == "\n\n".join(functions).rstrip("\n")
    assert [chunk.start_line for chunk in merged.merged] == [1, 20, 39]
