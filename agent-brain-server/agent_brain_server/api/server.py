"""The server process, from its bound socket to its end.

The runtime file is published once the server answers, and withdrawn before it stops answering.
"""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from agent_brain_server import __version__
from agent_brain_server.api.access import ConnectionGuard
from agent_brain_server.api.connection import BoundedProtocol
from agent_brain_server.api.deps import AppState, Projects
from agent_brain_server.api.main import create_app
from agent_brain_server.api.middleware import Activity
from agent_brain_server.errors import AgentBrainError, StartError
from agent_brain_server.lifecycle.publisher import RuntimePublisher
from agent_brain_server.locking import StateLock
from agent_brain_server.project.context import ServerContext
from agent_brain_server.project_root import generate_project_id
from agent_brain_server.runtime import RuntimeState, format_base_url
from agent_brain_server.services.metrics import Metrics
from agent_brain_server.support.processes import read_start_time

logger = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
TICK_S = 1.0  # the Date header changes every second; nothing else waits for a tick
DRAIN_LIMIT_S = 5  # a query takes milliseconds; an open event stream would never end
KEEP_ALIVE_S = 30  # a client that sends another request within a conversation reuses the connection


class ProjectServer(uvicorn.Server):
    """Uvicorn with hooks before and after it serves, woken by signals instead of polling ten times a second.

    Args:
        config: Uvicorn's settings.
        publish: Called once the server answers.
        withdraw: Called before it stops answering.
        find_stop_reason: Called at each tick; a text stops the server.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        publish: Callable[[], None],
        withdraw: Callable[[], None],
        find_stop_reason: Callable[["ProjectServer"], str | None],
    ) -> None:
        super().__init__(config)
        self._publish = publish
        self._withdraw = withdraw
        self._find_stop_reason = find_stop_reason
        self._stop_requested = asyncio.Event()

    @property
    def is_serving(self) -> bool:
        """Whether a request is being answered."""
        return bool(self.server_state.tasks)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, listen, then publish."""
        await super().startup(sockets=sockets)
        if self.should_exit:
            return
        try:
            self._publish()
        except BaseException:
            await self.shutdown(sockets=sockets)
            raise

    async def main_loop(self) -> None:
        """Serve until a signal arrives or there is a reason to stop."""
        while not self.should_exit:
            await self.on_tick(0)
            reason = self._find_stop_reason(self)
            if reason is not None:
                logger.info("Stopping: %s", reason)
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop_requested.wait(), TICK_S)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Withdraw, finish the requests in progress, close the application."""
        self._withdraw()
        await super().shutdown(sockets=sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle stop signals, also after serving: a second signal must not interrupt the shutdown."""
        loop = asyncio.get_running_loop()

        def stop(number: int, _frame: FrameType | None) -> None:
            if self.should_exit and number == signal.SIGINT:
                self.force_exit = True
            self.should_exit = True
            with contextlib.suppress(RuntimeError):  # the loop is closed, so nothing waits
                loop.call_soon_threadsafe(self._stop_requested.set)

        for number in STOP_SIGNALS:
            signal.signal(number, stop)
        yield


def run_server(
    sock: socket.socket,
    context: ServerContext,
    open_projects: Callable[[ServerContext, Metrics], Projects],
    *,
    lock: StateLock,
    stops_when_idle: bool,
    on_ready: Callable[[RuntimeState], None],
) -> None:
    """Serve on a bound socket until the process is asked to stop.

    Args:
        sock: Bound, not listening yet.
        context: The server's identity, directories and settings.
        open_projects: Opens the stores.
        lock: The held lock of the state directory.
        stops_when_idle: Stop after `idle_stop_seconds` without a request or a job.
        on_ready: Called with the published state once the server answers.

    Raises:
        AgentBrainError: The application could not start.
    """
    app_state = AppState(context)
    app = create_app(app_state, partial(open_projects, context, app_state.metrics))
    runtime = describe_server(context, sock.getsockname()[1])
    publisher = RuntimePublisher(context.state_dir, runtime, lock)
    idle_limit_s = context.settings.idle_stop_seconds if stops_when_idle else 0

    def publish() -> None:
        gc.freeze()  # loaded modules stay: scanning them for garbage takes 50 ms each time
        gc.enable()
        publisher.publish()
        elapsed_s = time.monotonic() - context.process_began
        app_state.metrics.start_seconds.set(elapsed_s)
        app_state.projects.publish(runtime)
        served = runtime.project_root or "all registered projects"
        logger.info("Serving %s at %s after %.2f s", served, runtime.base_url, elapsed_s, extra=describe_run(context))
        on_ready(runtime)

    def withdraw() -> None:
        app_state.shutting_down.set()
        publisher.withdraw()

    def find_stop_reason(server: ProjectServer) -> str | None:
        if not lock.is_intact():
            return "the state directory was removed"
        publisher.tick()
        app_state.projects.tick()
        return find_idle_reason(app_state.activity, is_serving=server.is_serving, limit_s=idle_limit_s)

    config = make_uvicorn_config(app, app_state.guard)
    server = ProjectServer(config, publish=publish, withdraw=withdraw, find_stop_reason=find_stop_reason)
    try:
        server.run(sockets=[sock])
    except SystemExit as exc:
        error = app_state.startup_error
        if error is None:
            raise
        raise translate_startup_error(error) from exc


def make_uvicorn_config(app: ASGIApp, guard: ConnectionGuard) -> uvicorn.Config:
    """Return uvicorn's settings: no access log, no optional parts, and limits for each connection.

    Args:
        app: The application.
        guard: Limits the connections of untrusted clients.
    """
    return uvicorn.Config(
        app,
        loop="uvloop",
        http=partial(BoundedProtocol, guard=guard),  # type: ignore[arg-type]  # called like a class
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=DRAIN_LIMIT_S,
    )


def describe_server(context: ServerContext, port: int) -> RuntimeState:
    """Return the contents of the runtime file of this process.

    Args:
        context: The server's identity, directories and settings.
        port: The bound port.
    """
    pid, root = os.getpid(), context.project_root
    bind_host = context.settings.bind_host
    return RuntimeState(
        mode=context.mode,
        project_root=None if root is None else str(root),
        project_id=None if root is None else generate_project_id(root),
        instance_id=context.instance_id,
        base_url=format_base_url(bind_host, port),
        bind_host=bind_host,
        port=port,
        pid=pid,
        pid_started_at=read_start_time(pid),
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        version=__version__,
        token=context.token,
    )


def describe_run(context: ServerContext) -> dict[str, object]:
    """Return what the log records once for each run: version, process and model."""
    return {
        "version": __version__,
        "pid": os.getpid(),
        "mode": context.mode,
        "state_dir": str(context.state_dir),
        "embedding_model": context.settings.embedding_model,
    }


def find_idle_reason(activity: Activity, *, is_serving: bool, limit_s: float) -> str | None:
    """Return why an idle server may stop; `None` if it is in use or has no limit (0)."""
    if not limit_s:
        return None
    if is_serving:
        activity.touch()
    idle_s = activity.measure_idle_seconds()
    return f"no request for {idle_s:.0f} s" if idle_s >= limit_s else None


def translate_startup_error(error: Exception) -> AgentBrainError:
    """Return an error for the user from what the application raised when it started."""
    if isinstance(error, AgentBrainError):
        return error
    return StartError(f"The server could not start: {type(error).__name__}: {error}.")
