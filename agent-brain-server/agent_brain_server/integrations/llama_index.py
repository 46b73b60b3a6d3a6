"""Agent Brain as a LlamaIndex retriever.

Example:
    nodes = AgentBrainRetriever(Path.cwd(), top_k=5).retrieve("where is the lock released?")
"""

import asyncio
import time
from pathlib import Path
from typing import Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from agent_brain_server.discovery import request_json, resolve_server
from agent_brain_server.errors import DeadlineError, ServerRefusedError
from agent_brain_server.models import TERMINAL_STATES
from agent_brain_server.project_root import locate_project, make_too_wide_error
from agent_brain_server.runtime import RuntimeState

FIRST_INDEX_TIMEOUT_S = 600.0  # keyword answers for 100,000 files take minutes
POLL_INTERVAL_S = 0.1


class AgentBrainRetriever(BaseRetriever):
    """Retrieve the chunks of a project that answer a query, from its own server or the shared daemon.

    The server is started if none runs, and a project that was never indexed is indexed first.

    Args:
        project: Any path in the project.
        top_k: Number of chunks to return.
        index_timeout_s: Longest wait for the first index, in seconds.
        options: Further fields of `POST /query`: `mode`, `alpha`, `languages`, `source_types`, `file_paths`, …

    Raises:
        ConfigError: The path is in no project, and is `/`, the home directory or one above it.
    """

    def __init__(
        self,
        project: Path,
        *,
        top_k: int = 10,
        index_timeout_s: float = FIRST_INDEX_TIMEOUT_S,
        **options: Any,  # noqa: ANN401 - fields of a model
    ) -> None:
        super().__init__()
        self._project = locate_project(project)
        if self._project.is_too_wide:
            raise make_too_wide_error(self._project.root)
        self._index_timeout_s = index_timeout_s
        self._fields = {"top_k": top_k, **options}

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        """Query the server; nodes have path, lines, language and symbols as metadata.

        Raises:
            AgentBrainError: The server cannot be started or refuses the query, or the first index failed.
        """
        server = resolve_server(self._project, start=True).require_state()
        query = {"query": query_bundle.query_str, **self._fields, "project_id": server.project_id}
        answer = request_json(server, "POST", "/query", query)
        if answer["index"]["last_indexed_at"] is None:
            await_first_index(server, time.monotonic() + self._index_timeout_s)
            answer = request_json(server, "POST", "/query", query)
        return [_node_of(result) for result in answer["results"]]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        """Run `_retrieve` in a thread, as starting a server would block the event loop."""
        return await asyncio.to_thread(self._retrieve, query_bundle)


def await_first_index(server: RuntimeState, deadline: float) -> None:
    """Wait until keyword search works in a project that was never indexed; start a job if none runs.

    Args:
        server: The server of the project.
        deadline: On the monotonic clock.

    Raises:
        DeadlineError: The index was not ready in time; the job continues in the server.
        ServerRefusedError: The job failed.
    """
    parameters = f"?project_id={server.project_id}"
    job = request_json(server, "GET", f"/health/status{parameters}")["current_job"]
    if job is None:
        submitted = {"folder_path": ".", "project_id": server.project_id}
        job = request_json(server, "POST", "/index", submitted)
    path = f"/index/jobs/{job['job_id']}{parameters}"
    while (job := request_json(server, "GET", path))["state"] not in TERMINAL_STATES:
        if job["progress"]["keywords_ready"]:
            return
        if time.monotonic() >= deadline:
            raise DeadlineError("The project is still being indexed.", hint="See how far it is: agent-brain status")
        time.sleep(POLL_INTERVAL_S)
    if job["state"] == "failed":
        raise ServerRefusedError(job["error"] or "The first index failed.", code="job_failed")


def _node_of(result: dict[str, Any]) -> NodeWithScore:
    described = ("source", "start_line", "end_line", "language", "source_type", "symbols", "heading")
    metadata = {name: result[name] for name in described}
    return NodeWithScore(
        node=TextNode(id_=result["chunk_id"], text=result["text"], metadata=metadata), score=result["score"]
    )
