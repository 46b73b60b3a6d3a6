"""Turn every error into an `application/problem+json` response (RFC 9457)."""

import json
import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import Scope

from agent_brain_server.errors import AgentBrainError, RequestTimeoutError, UnauthorizedError, UnavailableError
from agent_brain_server.models.index import Problem

logger = logging.getLogger(__name__)

PROBLEM_JSON = "application/problem+json"

BODY_KEY = "agent_brain.body"
"""Key in the scope of the body, for the log."""

LOGGED_FIELDS = ("query", "mode", "folder_path", "project_root", "project_id")
MAX_LOGGED_CHARACTERS = 200
"""Of each field: enough to repeat the request."""

MAX_REPORTED_ERRORS = 5
"""A request can have hundreds of invalid fields; the first few are enough to correct it."""

HTTP_PROBLEMS: dict[int, tuple[str, str]] = {
    404: ("no_such_route", "GET /openapi.json lists the routes."),
    405: ("method_not_allowed", "GET /openapi.json lists the methods of each route."),
}
"""Code and hint of the framework's own errors, by status."""


def install_error_handlers(app: FastAPI) -> None:
    """Register the handlers on an application."""
    app.add_exception_handler(AgentBrainError, _handle_own)
    app.add_exception_handler(RequestValidationError, _handle_invalid)
    app.add_exception_handler(HTTPException, _handle_http)
    app.add_exception_handler(Exception, _handle_unexpected)


def problem_response(error: AgentBrainError) -> Response:
    """Return the response that reports an error to a client."""
    headers = {}
    if isinstance(error, UnavailableError):
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, UnauthorizedError):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, RequestTimeoutError):
        headers["Connection"] = "close"  # the rest of the request may still arrive
    return _respond(error.status, error.code, error.message, error.hint, headers)


def describe_body(scope: Scope) -> dict[str, str]:
    """Return what a request asked for, for the log: its query or folder, cut to a readable length."""
    try:
        body: Any = json.loads(scope.get(BODY_KEY, b""))
    except (ValueError, RecursionError):
        return {}
    if not isinstance(body, dict):
        return {}
    return {f"asked_{name}": str(body[name])[:MAX_LOGGED_CHARACTERS] for name in LOGGED_FIELDS if name in body}


def describe_errors(errors: Sequence[dict[str, Any]]) -> str:
    """Name the invalid fields and what is allowed, without repeating the values.

    A value may hold NaN or lone surrogates, which JSON cannot carry.
    """
    parts = []
    for error in errors[:MAX_REPORTED_ERRORS]:
        if error["type"] == "json_invalid":
            parts.append(f"body: not JSON at character {error['loc'][-1]}")
            continue
        field = ".".join(str(step) for step in error["loc"] if step != "body") or "body"
        parts.append(f"{field}: {error['msg']}")
    if len(errors) > MAX_REPORTED_ERRORS:
        parts.append(f"and {len(errors) - MAX_REPORTED_ERRORS} more")
    return "; ".join(parts).encode("utf-8", "replace").decode()


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
        extra = {"code": error.code, "hint": error.hint, **describe_body(request.scope)}
        logger.error("%s %s: %s", request.method, request.url.path, error.message, exc_info=error, extra=extra)
    return problem_response(error)


async def _handle_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # registered for this class
    detail = describe_errors(error.errors())
    return _respond(422, "invalid_request", detail, "Correct the field; GET /openapi.json lists what is allowed.")


async def _handle_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # registered for this class
    if error.status_code == HTTPStatus.BAD_REQUEST:  # raised by the framework for a body that it cannot parse
        return _respond(422, "invalid_request", "body: not valid JSON", "Send UTF-8 JSON, not nested too deeply.")
    code, hint = HTTP_PROBLEMS.get(error.status_code, ("http_error", "See GET /openapi.json."))
    return _respond(error.status_code, code, str(error.detail), hint, dict(error.headers or {}))


async def _handle_unexpected(request: Request, error: Exception) -> Response:
    extra = describe_body(request.scope)
    logger.error("%s %s failed", request.method, request.url.path, exc_info=error, extra=extra)
    detail = "The server failed to answer; the reason is in its log."
    return _respond(500, AgentBrainError.default_code, detail, AgentBrainError.default_hint)
