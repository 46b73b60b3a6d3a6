"""An error becomes a problem document that says what to do and repeats nothing that JSON can't carry."""

import json

import pytest
from fastapi.testclient import TestClient

from agent_brain_server.api.errors import describe_errors, problem_response
from agent_brain_server.errors import NotFoundError, UnauthorizedError, UnavailableError


def test_a_problem_carries_status_code_and_hint() -> None:
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


def test_an_unavailable_store_says_when_to_ask_again() -> None:
    assert problem_response(UnavailableError("Opening.", retry_after=3)).headers["retry-after"] == "3"


def test_a_missing_right_names_its_scheme() -> None:
    assert problem_response(UnauthorizedError("No.")).headers["www-authenticate"] == "Bearer"


def test_fields_are_named_and_values_are_not_repeated() -> None:
    errors = [{"loc": ("body", "alpha"), "msg": "must be finite", "type": "finite_number", "input": float("nan")}]
    assert describe_errors(errors) == "alpha: must be finite"
    assert (
        describe_errors([{"loc": ("body", 17), "msg": "", "type": "json_invalid"}]) == "body: not JSON at character 17"
    )
    assert describe_errors([{"loc": ("body", "\ud800"), "msg": "no", "type": "x"}]) == "?: no"


def test_only_the_first_few_of_many_errors_are_told() -> None:
    errors = [{"loc": ("body", f"field_{number}"), "msg": "no", "type": "x"} for number in range(40)]
    assert describe_errors(errors).endswith("and 35 more")


def test_routes_methods_and_bodies_that_there_are_not_are_told_as_problems(client: TestClient, refusal) -> None:
    assert refusal(client.get("/nothing/here")) == (404, "no_such_route")
    assert refusal(client.put("/query")) == (405, "method_not_allowed")
    headers = {"Content-Type": "application/json"}
    for body in (b"{bad", b'{"query": "\xff"}', b"[" * 100_000, b""):
        assert refusal(client.post("/query", content=body, headers=headers)) == (422, "invalid_request")


def test_what_nobody_expected_tells_no_trace_and_is_logged(
    client: TestClient, refusal, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise ZeroDivisionError("a secret of the inside")

    client.app.add_api_route("/fails", fail)
    answer = client.get("/fails")
    assert refusal(answer) == (500, "internal_error")
    assert "secret" not in answer.text
    assert "GET /fails failed" in caplog.text
    assert "a secret of the inside" in caplog.text


def test_a_store_that_fails_is_logged_with_its_trace(
    client: TestClient, refusal, caplog: pytest.LogCaptureFixture
) -> None:
    client.app.state.projects._bundle.documents.close()
    assert refusal(client.get("/index/jobs")) == (503, "store_unusable")
    assert "Traceback" in caplog.text
