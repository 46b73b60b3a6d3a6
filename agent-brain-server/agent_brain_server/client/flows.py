"""The sequence of requests of each method of the client, without input and output.

A flow is a generator: it yields calls and pauses, and receives the answers of the calls. The two clients run the same
flows, one blocking and one in an event loop.
"""

import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, ValidationError

from agent_brain_server.errors import DeadlineError, InvalidRequestError, ServerRefusedError
from agent_brain_server.models import TERMINAL_STATES
from agent_brain_server.models.index import IndexRequest, JobAccepted, JobStatus
from agent_brain_server.models.query import CompactResponse, IndexFreshness, QueryRequest, QueryResponse
from agent_brain_server.models.status import IndexStatus
from agent_brain_server.models.symbols import (
    FileLines,
    FileRequest,
    OutlineAnswer,
    OutlineRequest,
    ReferencesAnswer,
    ReferencesRequest,
    SymbolsAnswer,
    SymbolsRequest,
)

POLL_INTERVAL_S = 0.1

MISSING_CODES = frozenset({"not_indexed", "path_not_found"})
"""Errors about a path that may be caused by an index that is still empty."""

FORMAT_OPTIONS = ("format", "max_tokens", "project_id")
"""Fields of a request that the client decides: they choose the type of the answer, and the project."""

Method = Literal["GET", "POST"]


@dataclass(frozen=True, slots=True)
class Call:
    """A request to the server.

    Attributes:
        method: Of HTTP; the values are the body of a POST, and the parameters of a GET.
        path: Quoted for a URL.
        values: Fields of the request, without the project.
        answer: Model of the answer.
    """

    method: Method
    path: str
    values: Mapping[str, Any]
    answer: type[BaseModel]


@dataclass(frozen=True, slots=True)
class Pause:
    """Seconds to wait before the flow continues."""

    seconds: float


class FromIndex(Protocol):
    """An answer from the index."""

    index: IndexFreshness


T = TypeVar("T")
Answer = TypeVar("Answer", bound=FromIndex)
Flow = Generator[Call | Pause, Any, T]


def query(question: str, options: Mapping[str, Any], index_limit_s: float) -> Flow[QueryResponse]:
    """Search; see `AgentBrain.query`."""
    values = _check(QueryRequest, {"query": question}, options)
    return _ask(Call("POST", "/query", values, QueryResponse), index_limit_s)


def query_text(
    question: str, max_tokens: int, options: Mapping[str, Any], index_limit_s: float
) -> Flow[CompactResponse]:
    """Search, and receive one text; see `AgentBrain.query_text`."""
    values = _check(QueryRequest, {"query": question, "format": "compact", "max_tokens": max_tokens}, options)
    return _ask(Call("POST", "/query", values, CompactResponse), index_limit_s)


def symbols(name: str, options: Mapping[str, Any], index_limit_s: float) -> Flow[SymbolsAnswer]:
    """Find definitions; see `AgentBrain.symbols`."""
    return _ask(Call("GET", "/symbols", _check(SymbolsRequest, {"name": name}, options), SymbolsAnswer), index_limit_s)


def references(name: str, options: Mapping[str, Any], index_limit_s: float) -> Flow[ReferencesAnswer]:
    """Find uses; see `AgentBrain.references`."""
    values = _check(ReferencesRequest, {"name": name}, options)
    return _ask(Call("GET", "/references", values, ReferencesAnswer), index_limit_s)


def outline(path: str, options: Mapping[str, Any], index_limit_s: float) -> Flow[OutlineAnswer]:
    """List definitions; see `AgentBrain.outline`."""
    return _ask(Call("GET", "/outline", _check(OutlineRequest, {"path": path}, options), OutlineAnswer), index_limit_s)


def read(path: str, first: int, last: int | None, index_limit_s: float) -> Flow[FileLines]:
    """Read lines; see `AgentBrain.read`."""
    values = _check(FileRequest, {"from": first, **({} if last is None else {"to": last})}, {})
    return _ask(Call("GET", f"/files/{quote(path)}", values, FileLines), index_limit_s)


def status() -> Flow[IndexStatus]:
    """Describe the index; see `AgentBrain.status`."""
    found: IndexStatus = yield Call("GET", "/health/status", {}, IndexStatus)
    return found


def index(folder: str, options: Mapping[str, Any]) -> Flow[JobStatus]:
    """Index and wait for the end of the job; see `AgentBrain.index`."""
    values = _check(IndexRequest, {"folder_path": folder}, options)
    accepted: JobAccepted = yield Call("POST", "/index", values, JobAccepted)
    while (job := (yield _show_job(accepted.job_id))).state not in TERMINAL_STATES:
        yield Pause(POLL_INTERVAL_S)
    ended: JobStatus = job
    return ended


def _ask(call: Call, index_limit_s: float) -> Flow[Any]:
    """Send a call; if the project was never indexed, index it and send the call again."""
    try:
        answer: FromIndex = yield call
    except ServerRefusedError as error:
        if error.code not in MISSING_CODES:
            raise
    else:
        if answer.index.last_indexed_at is not None:
            return answer
    yield from _await_first_index(time.monotonic() + index_limit_s)
    return (yield call)


def _await_first_index(deadline: float) -> Flow[None]:
    """Wait until keyword search works in a project that was never indexed; start a job if none runs.

    Raises:
        DeadlineError: The index was not ready in time; the job continues in the server.
        ServerRefusedError: The job failed.
    """
    found: IndexStatus = yield Call("GET", "/health/status", {}, IndexStatus)
    if found.last_indexed_at is not None:
        return
    if found.current_job is None:
        accepted: JobAccepted = yield Call("POST", "/index", {"folder_path": "."}, JobAccepted)
        job_id = accepted.job_id
    else:
        job_id = found.current_job.job_id
    while (job := (yield _show_job(job_id))).state not in TERMINAL_STATES:
        if job.progress.keywords_ready:
            return
        if time.monotonic() >= deadline:
            raise DeadlineError("The project is still being indexed.", hint="See how far it is: agent-brain status")
        yield Pause(POLL_INTERVAL_S)
    if job.state == "failed":
        raise ServerRefusedError(job.error or "The first index failed.", code="job_failed")


def _show_job(job_id: str) -> Call:
    return Call("GET", f"/index/jobs/{quote(job_id, safe='')}", {}, JobStatus)


def _check(model: type[BaseModel], values: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a request that were given, checked before a server is started.

    Raises:
        InvalidRequestError: A field does not exist, is not for callers, or has an invalid value.
    """
    for name in FORMAT_OPTIONS:
        if name in options:
            raise InvalidRequestError(f"The client decides about {name!r}.", hint="Leave it out.")
    try:
        request = model.model_validate({**values, **options})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise InvalidRequestError(f"{field}: {first['msg']}.", hint="Correct the argument.") from error
    return request.model_dump(mode="json", by_alias=True, exclude_unset=True)
