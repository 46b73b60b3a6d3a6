"""The texts of the tools' answers. Each ends with a line about the index: the project, its commit, what is pending."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ValidationError

from agent_brain_server.errors import InvalidRequestError
from agent_brain_server.models import TERMINAL_STATES
from agent_brain_server.models.index import IndexRequest
from agent_brain_server.models.query import IndexFreshness, QueryRequest
from agent_brain_server.models.symbols import (
    MAX_LIMIT,
    FileRequest,
    OutlineRequest,
    ReferencesRequest,
    RelatedRequest,
    SymbolAnswer,
    SymbolRequest,
    SymbolsRequest,
)
from agent_brain_server.services.answer_format import write_compact
from agent_brain_server.services.symbol_format import write_compact_symbols
from agent_brain_server.support.text import pluralize, visible

if TYPE_CHECKING:
    from agent_brain_server.mcp.tools import ReadArguments, SearchArguments, StatusArguments, SymbolsArguments
    from agent_brain_server.project.services import ProjectServices
    from agent_brain_server.services.freshness import Barrier

WAIT_MS = 500
"""Longest wait for changes made before the call; a saved file is indexed in about 150 ms."""

FIRST_INDEX_S = 20.0
"""Longest wait for the first index of a project; hosts give up on a tool after a minute or so."""

POLL_S = 0.05
COMMIT_DIGITS = 8

Request = TypeVar("Request", bound=BaseModel)


def search(services: "ProjectServices", arguments: "SearchArguments") -> str:
    """Return the answer to one or several questions."""
    _await_first_index(services)
    request = _check(
        QueryRequest,
        {
            "query": arguments.query,
            "queries": arguments.also,
            "file_paths": [arguments.path] if arguments.path else [],
            "languages": [arguments.language] if arguments.language else [],
            "source_types": [] if arguments.type == "any" else [arguments.type],
            "wait_ms": WAIT_MS,
            "format": "compact",
            "max_tokens": arguments.max_tokens,
        },
    )
    answer = services.queries.answer(request)
    compact = write_compact(request, answer, services.project_root, services.tokens.count)
    return _finish(services, compact.text, answer.index)


def symbols(services: "ProjectServices", arguments: "SymbolsArguments") -> str:
    """Return definitions, references, an outline or related code, one on each line."""
    barrier = _await_changes(services)
    budget = {"max_tokens": arguments.max_tokens}
    named = {"name": arguments.name, "path": [arguments.path] if arguments.path else [], "limit": MAX_LIMIT, **budget}
    request: SymbolRequest
    answer: SymbolAnswer
    if arguments.find == "definitions":
        request = _check(SymbolsRequest, named)
        answer = services.symbols.find_symbols(request, barrier)
    elif arguments.find == "references":
        request = _check(ReferencesRequest, named)
        answer = services.symbols.find_references(request, barrier)
    elif arguments.find == "outline":
        request = _check(OutlineRequest, {"path": arguments.name, **budget})
        answer = services.symbols.outline(request, barrier)
    else:
        path, _, line = arguments.name.rpartition(":")
        request = _check(RelatedRequest, {"path": path, "line": line, **budget})
        answer = services.symbols.related.find_related(request, barrier)
    return _write(services, request, answer)


def read(services: "ProjectServices", arguments: "ReadArguments") -> str:
    """Return lines of a file, numbered, as many as fit into the budget."""
    values = {
        "from": arguments.first,
        "to": arguments.last or None,
        "numbers": True,
        "max_tokens": arguments.max_tokens,
    }
    request = _check(FileRequest, values)
    return _write(services, request, services.symbols.read_file(arguments.path, request, _await_changes(services)))


def status(services: "ProjectServices", _arguments: "StatusArguments") -> str:
    """Return what is indexed and skipped, and what the server is doing."""
    state, freshness = services.status_and_freshness()
    lines = [
        f"{pluralize(state.total_documents, 'file')}, {pluralize(state.total_chunks, 'chunk')}, "
        f"{state.vector_coverage:.0%} of them with a vector; "
        f"last complete comparison: {state.last_indexed_at or 'never'}."
    ]
    if state.skipped:
        skipped = ", ".join(f"{count} {reason}" for reason, count in sorted(state.skipped.items()))
        lines.append(f"Skipped: {skipped}.")
    if state.current_job is not None:
        progress = state.current_job.progress
        lines.append(f"Indexing: {progress.files_done} of {pluralize(progress.files_changed, 'changed file')} read.")
    if state.last_job is not None and state.last_job.error:
        lines.append(f"The last job failed: {state.last_job.error}")
    if state.vector_fault:
        lines.append(f"Searching by keywords only: {state.vector_fault}")
    return _finish(services, "\n".join(lines), freshness)


def _write(services: "ProjectServices", request: SymbolRequest, answer: SymbolAnswer) -> str:
    compact = write_compact_symbols(request, answer, services.project_root, services.tokens.count)
    return _finish(services, compact.text, compact.index)


def _check(model: type[Request], values: Mapping[str, object]) -> Request:
    """Return the request of the HTTP API with these values.

    Raises:
        InvalidRequestError: A value is invalid.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise InvalidRequestError(describe_invalid(error), hint="Correct the argument.") from error


def describe_invalid(error: ValidationError) -> str:
    """Return which arguments are invalid and what is allowed, as one sentence."""
    parts = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors(include_url=False)]
    return f"{'; '.join(parts)}."


def _await_changes(services: "ProjectServices") -> "Barrier":
    """Wait for the changes made before the call, also for the first index; return the barrier behind them."""
    _await_first_index(services)
    barrier = services.queries.changes.barrier(may_wait=True)
    if not barrier.is_met():
        barrier.wait(WAIT_MS / 1000)
    return barrier


def _await_first_index(services: "ProjectServices") -> None:
    """Index a project that was never indexed, and wait until its files can be found or `FIRST_INDEX_S` have passed."""
    if services.queries.freshness().last_indexed_at is not None:
        return
    jobs = services.indexing.jobs
    job = jobs.current()
    if job is None:
        job = services.indexing.submit(IndexRequest(folder_path="."))
    deadline = time.monotonic() + FIRST_INDEX_S
    while job.state not in TERMINAL_STATES and not job.progress.keywords_ready and time.monotonic() < deadline:
        time.sleep(POLL_S)
        job = jobs.get(job.job_id)


def _finish(services: "ProjectServices", text: str, index: IndexFreshness) -> str:
    """Append the line about the index."""
    commit = services.commit.read()
    at = f" at commit {commit[:COMMIT_DIGITS]}" if commit else ""
    if index.last_indexed_at is None:
        state = "the first index is not complete: answers may lack files"
    elif index.checking:
        state = "files are being compared with the index: answers may lack changes"
    else:
        state = f"{pluralize(index.files_pending, 'file')} pending"
    return f"{text}\n\n[{visible(str(services.project_root))}{at}; {state}]"
