"""The asynchronous client."""

import asyncio
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx

from agent_brain_server.client import flows
from agent_brain_server.client.blocking import FIRST_INDEX_TIMEOUT_S, TIMEOUT_S
from agent_brain_server.client.exchange import describe_connection, describe_request, parse_answer, translate_error
from agent_brain_server.discovery import resolve_server
from agent_brain_server.errors import AgentBrainError, NotRunningError
from agent_brain_server.models import DEFAULT_BUDGET
from agent_brain_server.models.index import JobStatus
from agent_brain_server.models.query import CompactResponse, QueryResponse
from agent_brain_server.models.status import IndexStatus
from agent_brain_server.models.symbols import FileLines, OutlineAnswer, ReferencesAnswer, SymbolsAnswer
from agent_brain_server.project_root import Project, locate_project, make_too_wide_error
from agent_brain_server.runtime import RuntimeState

T = TypeVar("T")


class AsyncAgentBrain:
    """Asks the server of one project in an event loop; requests can run at the same time.

    All methods raise `AgentBrainError`: `InvalidRequestError` for an invalid argument, `ServerRefusedError` with the
    server's code for a refused request, `NotRunningError` and `DeadlineError` if the server does not answer.

    Args:
        project: Any path in the project, or a located project; by default the current directory.
        state_dir: Directory of the server's files, if it is not the default one.
        timeout_s: Longest time for one request.
        index_timeout_s: Longest wait for the first index of a project.

    Raises:
        ConfigError: The path is in no project: it is `/`, the home directory or one above it.
    """

    def __init__(
        self,
        project: str | Path | Project = ".",
        *,
        state_dir: Path | None = None,
        timeout_s: float = TIMEOUT_S,
        index_timeout_s: float = FIRST_INDEX_TIMEOUT_S,
    ) -> None:
        self._project = project if isinstance(project, Project) else locate_project(Path(project), state_dir)
        if self._project.is_too_wide:
            raise make_too_wide_error(self._project.root)
        self._timeout_s = timeout_s
        self._index_timeout_s = index_timeout_s
        self._server: RuntimeState | None = None
        self._http: httpx.AsyncClient | None = None

    @property
    def project_root(self) -> Path:
        """Root of the project; the paths of results are relative to it."""
        return self._project.root

    async def query(self, question: str, **options: Any) -> QueryResponse:  # noqa: ANN401 - fields of a model
        """Search with a question, keywords or a name.

        Args:
            question: The query.
            options: Further fields of `QueryRequest`: `top_k`, `mode`, `languages`, `source_types`, `file_paths`, …
        """
        return await self._run(flows.query(question, options, self._index_timeout_s))

    async def query_text(
        self,
        question: str,
        *,
        max_tokens: int = DEFAULT_BUDGET,
        **options: Any,  # noqa: ANN401 - fields of a model
    ) -> CompactResponse:
        """Search, and return one text for a language model.

        Args:
            question: The query.
            max_tokens: Longest text.
            options: As for `query`.
        """
        return await self._run(flows.query_text(question, max_tokens, options, self._index_timeout_s))

    async def symbols(self, name: str, **options: Any) -> SymbolsAnswer:  # noqa: ANN401 - fields of a model
        """Return where a name is defined.

        Args:
            name: As in code, possibly qualified.
            options: Further fields of `SymbolsRequest`: `kind`, `language`, `path`, `limit`, …
        """
        return await self._run(flows.symbols(name, options, self._index_timeout_s))

    async def references(self, name: str, **options: Any) -> ReferencesAnswer:  # noqa: ANN401 - fields of a model
        """Return where a name is used.

        Args:
            name: As in code, possibly qualified.
            options: Further fields of `ReferencesRequest`: `kind`, `path`, `limit`, …
        """
        return await self._run(flows.references(name, options, self._index_timeout_s))

    async def outline(self, path: str = "", **options: Any) -> OutlineAnswer:  # noqa: ANN401 - fields of a model
        """Return what a file or a directory defines.

        Args:
            path: Relative to the project's root; "" is the whole project.
            options: Further fields of `OutlineRequest`: `limit`, `offset`, …
        """
        return await self._run(flows.outline(path, options, self._index_timeout_s))

    async def read(self, path: str, first: int = 1, last: int | None = None) -> FileLines:
        """Return lines of an indexed file as it is on disk now.

        Args:
            path: Relative to the project's root.
            first: First line, 1-based.
            last: Last line, inclusive; `None`: as many as the server returns at once.
        """
        return await self._run(flows.read(path, first, last, self._index_timeout_s))

    async def index(self, folder: str = ".", **options: Any) -> JobStatus:  # noqa: ANN401 - fields of a model
        """Bring the index up to date, and return the job when it has ended.

        Args:
            folder: A directory or file; relative paths start at the project's root.
            options: Further fields of `IndexRequest`: `force`, `include_patterns`, …
        """
        return await self._run(flows.index(folder, options))

    async def status(self) -> IndexStatus:
        """Return the contents of the index and the state of indexing."""
        return await self._run(flows.status())

    async def _run(self, flow: flows.Flow[T]) -> T:
        step = flow.send
        value: Any = None
        try:
            while True:
                request = step(value)
                if isinstance(request, flows.Pause):
                    await asyncio.sleep(request.seconds)
                    step, value = flow.send, None
                    continue
                try:
                    step, value = flow.send, await self._send(request)
                except AgentBrainError as error:
                    step, value = flow.throw, error
        except StopIteration as end:
            result: T = end.value
            return result

    async def _send(self, call: flows.Call) -> Any:  # noqa: ANN401 - the call's model
        """Send a call; if the server has ended, to the one that is started in its place."""
        known = self._server
        try:
            return await self._send_once(call)
        except NotRunningError:
            await self.aclose()
            if known is None:  # it was just found
                raise
        return await self._send_once(call)

    async def _send_once(self, call: flows.Call) -> Any:  # noqa: ANN401 - the call's model
        if self._server is None or self._http is None:
            found = await asyncio.to_thread(resolve_server, self._project, start=True)
            self._server = found.require_state()
            self._http = httpx.AsyncClient(**describe_connection(self._server, self._timeout_s))
        try:
            response = await self._http.request(**describe_request(call, self._server))
        except httpx.TransportError as error:
            raise translate_error(error, self._server) from error
        return parse_answer(call, response)

    async def aclose(self) -> None:
        """Close the connections; the server continues to run."""
        http, self._http, self._server = self._http, None, None
        if http is not None:
            await http.aclose()

    async def __aenter__(self) -> Self:
        """Return the client."""
        return self

    async def __aexit__(self, *error: object) -> None:
        """Close the connections."""
        await self.aclose()
