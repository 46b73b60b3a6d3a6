"""`/mcp`: the Model Context Protocol over streamable HTTP, without sessions.

The official SDK implements the protocol: revision 2026-07-28, where each request stands alone, and the older ones that
begin with `initialize`. It is imported with the first request, because that takes a second of CPU and 25 MB. Without
sessions, a client does not notice that the server was restarted, and nothing has to be kept for clients that vanish.
"""

import asyncio
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from agent_brain_server import __version__
from agent_brain_server.api.deps import AppState
from agent_brain_server.errors import AgentBrainError, InvalidRequestError
from agent_brain_server.models import MIN_BUDGET
from agent_brain_server.shared.names import choose_projects

if TYPE_CHECKING:
    import mcp_types as protocol
    from mcp.server.context import ServerRequestContext
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

PROJECT_PARAMETER = "project_id"


class McpEndpoint:
    """An ASGI application that answers the requests to `/mcp`.

    Args:
        state: The state of the server; its projects are set when the first request arrives.
    """

    def __init__(self, state: AppState) -> None:
        self._state = state
        self._starting = asyncio.Lock()
        self._manager: StreamableHTTPSessionManager | None = None
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        async with self._starting:
            if self._manager is None:
                self._manager = await self._start()
        await self._manager.handle_request(scope, receive, send)

    async def close(self) -> None:
        """End what the requests have started."""
        self._stop.set()
        if self._task is not None:
            await self._task

    async def _start(self) -> "StreamableHTTPSessionManager":
        manager = await run_in_threadpool(self._make_manager)
        ready = asyncio.Event()
        self._task = asyncio.create_task(self._run(manager, ready))
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait((self._task, waiting), return_when=asyncio.FIRST_COMPLETED)
        if not ready.is_set():  # it failed: this request reports it, and the next one tries again
            waiting.cancel()
            task, self._task = self._task, None
            await task
        return manager

    async def _run(self, manager: "StreamableHTTPSessionManager", ready: asyncio.Event) -> None:
        """Run the manager until `close`."""
        async with manager.run():
            ready.set()
            await self._stop.wait()

    def _make_manager(self) -> "StreamableHTTPSessionManager":
        from mcp.server.lowlevel import Server  # noqa: PLC0415 - see the module's docstring
        from mcp.server.streamable_http_manager import StreamableHTTPSessionManager  # noqa: PLC0415
        from mcp.server.transport_security import TransportSecuritySettings  # noqa: PLC0415

        from agent_brain_server.mcp.tools import INSTRUCTIONS  # noqa: PLC0415

        server: Server[Any] = Server(
            "agent-brain",
            version=__version__,
            title="Agent Brain",
            instructions=INSTRUCTIONS,
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
        )
        # `AccessMiddleware` has checked host, origin and credentials already
        checked = TransportSecuritySettings(enable_dns_rebinding_protection=False)
        return StreamableHTTPSessionManager(server, json_response=True, stateless=True, security_settings=checked)

    async def _list_tools(
        self, _context: "ServerRequestContext[Any, Any]", _params: "protocol.PaginatedRequestParams | None"
    ) -> "protocol.ListToolsResult":
        import mcp_types as protocol  # noqa: PLC0415 - see the module's docstring

        from agent_brain_server.mcp.tools import TOOLS  # noqa: PLC0415

        return protocol.ListToolsResult(
            tools=[
                protocol.Tool(
                    name=tool.name,
                    title=tool.title,
                    description=tool.description,
                    input_schema=tool.describe_arguments(),
                    annotations=protocol.ToolAnnotations(read_only_hint=True, open_world_hint=False),
                )
                for tool in TOOLS
            ]
        )

    async def _call_tool(
        self, context: "ServerRequestContext[Any, Any]", params: "protocol.CallToolRequestParams"
    ) -> "protocol.CallToolResult":
        import mcp_types as protocol  # noqa: PLC0415 - see the module's docstring

        request = context.request
        project_id = None if request is None else request.query_params.get(PROJECT_PARAMETER)
        text, failed = await run_in_threadpool(self._answer, project_id, params.name, params.arguments or {})
        return protocol.CallToolResult(content=[protocol.TextContent(type="text", text=text)], is_error=failed)

    def _answer(self, project_id: str | None, name: str, arguments: dict[str, Any]) -> tuple[str, bool]:
        """Return the text of a tool's answer, and whether it is an error."""
        from agent_brain_server.mcp.tools import call_tool  # noqa: PLC0415 - see the module's docstring

        try:
            chosen, shared = self._choose_projects(project_id, name, arguments)
            texts = []
            for each in chosen:
                with self._state.projects.lease(each) as services:
                    texts.append(call_tool(services, name, shared))
            return "\n\n".join(texts), False
        except AgentBrainError as error:
            return f"{error.message} {error.hint}".rstrip(), True

    def _choose_projects(
        self, project_id: str | None, name: str, arguments: dict[str, Any]
    ) -> tuple[list[str | None], dict[str, Any]]:
        """Return the projects that a call concerns, and the arguments for each of them.

        Raises:
            AgentBrainError: An argument is invalid, or this server serves one project only.
        """
        from agent_brain_server.mcp.tools import ALL_PROJECTS, SEARCH, check_arguments  # noqa: PLC0415 - as above

        if name != SEARCH or not arguments.get("projects"):
            return [project_id], arguments
        checked = check_arguments(name, arguments)
        if self._state.context.mode != "shared":
            raise InvalidRequestError(
                "This server serves one project.", hint="Leave `projects` out, or use the shared daemon."
            )
        roots = {each.project_id: each.project_root for each in self._state.projects.list_projects()}
        names = [] if ALL_PROJECTS in checked.projects else checked.projects
        chosen = choose_projects(roots, names)
        budget = max(MIN_BUDGET, checked.max_tokens // max(1, len(chosen)))
        return list(chosen), {**arguments, "projects": [], "max_tokens": budget}
