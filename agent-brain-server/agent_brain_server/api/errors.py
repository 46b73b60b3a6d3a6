"""Every error becomes `application/problem+json` (RFC 9457) here, and nowhere else."""

import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from agent_brain_server.api.request_metrics import describe_body
from agent_brain_server.errors import AgentBrainError, UnauthorizedError, UnavailableError
from agent_brain_server.models.index import Problem

logger = logging.getLogger(__name__)

PROBLEM_JSON = "application/problem+json"

MAX_REPORTED_ERRORS = 5
"""A request can be wrong in hundreds of places; the first few tell enough."""

HTTP_PROBLEMS: dict[int, tuple[str, str]] = {
    404: ("no_such_route", "GET /openapi.json lists the routes."),
    405: ("method_not_allowed", "GET /openapi.json lists the methods of each route."),
}
"""The framework's own errors: status → (code, hint)."""


def install_error_handlers(app: FastAPI) -> None:
    """Register the handlers on an application."""
    app.add_exception_handler(AgentBrainError, _handle_own)
    app.add_exception_handler(RequestValidationError, _handle_invalid)
    app.add_exception_handler(HTTPException, _handle_http)
    app.add_exception_handler(Exception, _handle_unexpected)


def problem_response(error: AgentBrainError) -> Response:
    """Return the response that tells a client about an error."""
    headers = {}
    if isinstance(error, UnavailableError):
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, UnauthorizedError):
        headers["WWW-Authenticate"] = "Bearer"
    return _respond(error.status, error.code, error.message, error.hint, headers)


def _respond(status: int, code: str, detail: str, hint: str, headers: dict[str, str] | None = None) -> Response:
    problem = Problem(
        type=f"urn:agent-brain:problem:{code}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=code,
        hint=hint,
    )
    return Response(problem.model_dump_json(), status_code=status, headers=headers, media_type=PROBLEM_JSON)


async def _handle_own(request: Request, error: Exception) -> Response:
    assert isinstance(error, AgentBrainError)  # registered for this class
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        what = {"code": error.code, "hint": error.hint, **describe_body(request.scope)}
        logger.error("%s %s: %s", request.method, request.url.path, error.message, exc_info=error, extra=what)
    return problem_response(error)


async def _handle_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # registered for this class
    detail = describe_errors(error.errors())
    return _respond(422, "invalid_request", detail, "Correct the field; GET /openapi.json says what is allowed.")


def describe_errors(errors: Sequence[dict[str, Any]]) -> str:
    """Say which fields are wrong and what is allowed, without repeating what was sent.

    What was sent may hold NaN or lone surrogates, which no JSON answer can carry.
    """
    parts = []
    for error in errors[:MAX_REPORTED_ERRORS]:
        if error["type"] == "json_invalid":
            parts.append(f"body: not JSON at character {error['loc'][-1]}")
            continue
        place = ".".join(str(step) for step in error["loc"] if step != "body") or "body"
        parts.append(f"{place}: {error['msg']}")
    if len(errors) > MAX_REPORTED_ERRORS:
        parts.append(f"and {len(errors) - MAX_REPORTED_ERRORS} more")
    return "; ".join(parts).encode("utf-8", "replace").decode()


async def _handle_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # registered for this class
    if error.status_code == HTTPStatus.BAD_REQUEST:  # the framework's word for a body that its parser can't take
        return _respond(422, "invalid_request", "body: not JSON that can be read", "Send UTF-8 JSON, not too deep.")
    code, hint = HTTP_PROBLEMS.get(error.status_code, ("http_error", "See GET /openapi.json."))
    return _respond(error.status_code, code, str(error.detail), hint, dict(error.headers or {}))


async def _handle_unexpected(request: Request, error: Exception) -> Response:
    what = describe_body(request.scope)
    logger.error("%s %s failed", request.method, request.url.path, exc_info=error, extra=what)
    detail = "The server failed to answer; its log says why."
    return _respond(500, AgentBrainError.default_code, detail, AgentBrainError.default_hint)
