"""Errors become problem documents, and the log names the request that failed."""

import json

import pytest
from fastapi.testclient import TestClient

from agent_brain_server.api.deps import AppState
from agent_brain_server.api.errors import (
    BODY_KEY,
    MAX_LOGGED_CHARACTERS,
    describe_body,
    describe_errors,
    problem_response,
)
from agent_brain_server.errors import NotFoundError, UnauthorizedError, UnavailableError


def test_problem_has_status_code_and_hint() -> None:
    response = problem_response(NotFoundError("There is no job 7.", code="unknown_job", hint="List them."))
    assert response.media_type == "application/problem+json"
    assert json.loads(bytes(response.body)) == {
        "type": "urn:agent-brain:problem:unknown_job",
        "title": "Not Found",
        "status": 404,
        "detail": "There is no job 7.",
        "code": "unknown_job",
        "hint": "List them.",
    }


def test_problem_of_an_unavailable_store_has_retry_after() -> None:
    assert problem_response(UnavailableError("Opening.", retry_after=3)).headers["retry-after"] == "3"


def test_problem_of_missing_credentials_names_the_scheme() -> None:
    assert problem_response(UnauthorizedError("No.")).headers["www-authenticate"] == "Bearer"


def test_describe_errors_names_fields_without_values() -> None:
    errors = [{"loc": ("body", "alpha"), "msg": "must be finite", "type": "finite_number", "input": float("nan")}]
    assert describe_errors(errors) == "alpha: must be finite"
    assert (
        describe_errors([{"loc": ("body", 17), "msg": "", "type": "json_invalid"}]) == "body: not JSON at character 17"
    )
    assert describe_errors([{"loc": ("body", "\ud800"), "msg": "no", "type": "x"}]) == "?: no"


def test_describe_errors_stops_after_a_few() -> None:
    errors = [{"loc": ("body", f"field_{number}"), "msg": "no", "type": "x"} for number in range(40)]
    assert describe_errors(errors).endswith("and 35 more")


def test_framework_errors_become_problems(client: TestClient, refusal) -> None:
    assert refusal(client.get("/nothing/here")) == (404, "no_such_route")
    assert refusal(client.put("/query")) == (405, "method_not_allowed")
    headers = {"Content-Type": "application/json"}
    for body in (b"{bad", b'{"query": "\xff"}', b"[" * 100_000, b""):
        assert refusal(client.post("/query", content=body, headers=headers)) == (422, "invalid_request")


def test_unexpected_error_is_logged_and_not_shown(
    client: TestClient, refusal, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise ZeroDivisionError("an internal secret")

    client.app.add_api_route("/fails", fail)
    answer = client.get("/fails")
    assert refusal(answer) == (500, "internal_error")
    assert "secret" not in answer.text
    assert "GET /fails failed" in caplog.text
    assert "an internal secret" in caplog.text


def test_store_error_is_logged_with_its_traceback(
    client: TestClient, app_state: AppState, refusal, caplog: pytest.LogCaptureFixture
) -> None:
    with app_state.projects.lease(None) as services:
        services.documents.close()
    assert refusal(client.get("/index/jobs")) == (503, "store_unusable")
    assert "Traceback" in caplog.text


def test_describe_body_cuts_the_query() -> None:
    body = json.dumps({"query": "x" * 1000, "mode": "bm25", "token": "secret"}).encode()
    assert describe_body({BODY_KEY: body}) == {"asked_query": "x" * MAX_LOGGED_CHARACTERS, "asked_mode": "bm25"}


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"\xff", b"[" * 5000, b'{"other": 1}'])
def test_describe_body_of_other_bodies_is_empty(body: bytes) -> None:
    assert describe_body({BODY_KEY: body}) == {}
    assert describe_body({}) == {}
