"""HTTP requests and answers of a call, for both clients."""

from typing import Any

import httpx
from pydantic import BaseModel, ValidationError

from agent_brain_server.client.flows import Call
from agent_brain_server.errors import AgentBrainError, DeadlineError, NotRunningError, ServerRefusedError
from agent_brain_server.runtime import RuntimeState

FIRST_ERROR_STATUS = 400


def describe_connection(server: RuntimeState, timeout_s: float) -> dict[str, Any]:
    """Return the arguments of an httpx client for a server: no proxy is used, as the server is on this machine."""
    headers = {"Authorization": f"Bearer {server.token}"} if server.token else {}
    return {"base_url": server.base_url, "headers": headers, "timeout": timeout_s, "trust_env": False}


def describe_request(call: Call, server: RuntimeState) -> dict[str, Any]:
    """Return the arguments of an httpx request."""
    project = {"project_id": server.project_id} if server.project_id else {}
    values = {**call.values, **project}
    return {"method": call.method, "url": call.path, "json" if call.method == "POST" else "params": values}


def parse_answer(call: Call, response: httpx.Response) -> BaseModel:
    """Return the answer of a call.

    Raises:
        ServerRefusedError: The server refused the request, or its answer has an unknown format.
    """
    if response.status_code < FIRST_ERROR_STATUS:
        try:
            return call.answer.model_validate_json(response.content)
        except ValidationError as error:
            raise ServerRefusedError(
                f"The answer to {call.method} {call.path} has an unknown format.",
                hint="Restart the server in this version: agent-brain stop && agent-brain start",
            ) from error
    try:
        problem = response.json()
    except ValueError:
        problem = None
    fields = problem if isinstance(problem, dict) else {}
    raise ServerRefusedError(
        str(fields.get("detail") or f"The server answered {call.path} with status {response.status_code}."),
        hint=fields.get("hint"),
        code=fields.get("code"),
    )


def translate_error(error: httpx.TransportError, server: RuntimeState) -> AgentBrainError:
    """Return our error for a request that was not answered."""
    if isinstance(error, httpx.TimeoutException):
        return DeadlineError(
            f"The server at {server.base_url} did not answer in time.",
            hint="See what it is doing with: agent-brain logs. Then try again.",
        )
    return NotRunningError(f"No server answers at {server.base_url}: {error}.")
