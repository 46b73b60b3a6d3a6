"""The server process from its bound socket to its end.

Order is everything here: the runtime file appears only once the server answers, and is withdrawn before it stops to.
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
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.config import STARTUP_FAILURE

from agent_brain_server import __version__
from agent_brain_server.api.connection import BoundedProtocol
from agent_brain_server.api.connection_guard import ConnectionGuard
from agent_brain_server.api.main import create_app
from agent_brain_server.api.middleware import Activity
from agent_brain_server.errors import AgentBrainError, StartError
from agent_brain_server.lifecycle.publisher import Presence
from agent_brain_server.locking import StateLock
from agent_brain_server.project.context import ServerContext
from agent_brain_server.project_root import generate_project_id
from agent_brain_server.runtime import RuntimeState, format_base_url
from agent_brain_server.support.processes import read_start_time

logger = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
TICK_S = 1.0  # the Date header counts seconds; nothing else waits for a tick
DRAIN_LIMIT_S = 5  # a query takes milliseconds; an open event stream would never end by itself
KEEP_ALIVE_S = 30  # a client that asks again within a conversation spares itself the connection


class ProjectServer(uvicorn.Server):
    """Uvicorn with our order of events, woken by signals instead of looking for them ten times a second.

    Args:
        config: Uvicorn's settings.
        announce: Called once the server answers.
        withdraw: Called before it stops answering.
        find_stop_reason: Called at each tick; a text ends the server.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        announce: Callable[[], None],
        withdraw: Callable[[], None],
        find_stop_reason: Callable[["ProjectServer"], str | None],
    ) -> None:
        super().__init__(config)
        self._announce = announce
        self._withdraw = withdraw
        self._find_stop_reason = find_stop_reason
        self._stop_requested = asyncio.Event()

    @property
    def is_serving(self) -> bool:
        """True while a request is being answered."""
        return bool(self.server_state.tasks)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, listen, then announce."""
        await super().startup(sockets=sockets)
        if self.should_exit:
            return
        try:
            self._announce()
        except BaseException:
            await self.shutdown(sockets=sockets)
            raise

    async def main_loop(self) -> None:
        """Serve until a signal or a reason to stop comes."""
        while not self.should_exit:
            await self.on_tick(0)
            reason = self._find_stop_reason(self)
            if reason is not None:
                logger.info("Stopping: %s", reason)
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop_requested.wait(), TICK_S)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Withdraw, answer what was asked, close the application."""
        self._withdraw()
        await super().shutdown(sockets=sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take the signals and keep them: a second one, while the process ends, must not cut that short."""
        loop = asyncio.get_running_loop()

        def stop(number: int, _frame: FrameType | None) -> None:
            if self.should_exit and number == signal.SIGINT:
                self.force_exit = True
            self.should_exit = True
            with contextlib.suppress(RuntimeError):  # the loop is closed: nothing is left to be woken
                loop.call_soon_threadsafe(self._stop_requested.set)

        for number in STOP_SIGNALS:
            signal.signal(number, stop)
        yield


class StartupErrors:
    """Keeps the exception with which the application failed to start, which uvicorn only logs.

    Args:
        app: The application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.error: Exception | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on."""
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        except Exception as exc:
            self.error = exc
            raise


def run_server(
    sock: socket.socket,
    context: ServerContext,
    *,
    lock: StateLock,
    stops_when_idle: bool,
    on_ready: Callable[[RuntimeState], None],
) -> None:
    """Serve a project, or as the daemon all that register, on a bound socket until told to stop.

    Args:
        sock: Bound, not listening yet.
        context: What is served, and from where.
        lock: The held lock of the state directory.
        stops_when_idle: End after `idle_stop_seconds` without a request or a job.
        on_ready: Called with the published state once the server answers.

    Raises:
        AgentBrainError: The application could not start.
    """
    app = create_app(context)
    state = describe_server(context, sock.getsockname()[1])
    presence = Presence(context.state_dir, state, lock)
    idle_limit_s = context.settings.idle_stop_seconds if stops_when_idle else 0

    def announce() -> None:
        gc.freeze()  # what was loaded stays: to look through it for garbage again and again takes 50 ms each time
        presence.announce()
        elapsed_s = time.monotonic() - context.process_began
        app.state.metrics.start_seconds.set(elapsed_s)
        app.state.projects.publish(state)
        served = state.project_root or "every project that registers"
        logger.info("Serving %s at %s after %.2f s", served, state.base_url, elapsed_s, extra=describe_run(context))
        on_ready(state)

    def withdraw() -> None:
        app.state.shutting_down.set()
        presence.withdraw()

    def find_stop_reason(server: ProjectServer) -> str | None:
        if not lock.is_intact():
            return "the state directory was removed"
        presence.look_after()
        app.state.projects.look_after()
        return find_idle_reason(app, server, idle_limit_s)

    startup_errors = StartupErrors(app)
    server = ProjectServer(
        make_uvicorn_config(startup_errors, app.state.guard),
        announce=announce,
        withdraw=withdraw,
        find_stop_reason=find_stop_reason,
    )
    try:
        server.run(sockets=[sock])
    except SystemExit as exc:
        if exc.code != STARTUP_FAILURE:
            raise
        raise translate_startup_error(startup_errors.error) from exc


def make_uvicorn_config(app: ASGIApp, guard: ConnectionGuard) -> uvicorn.Config:
    """Return uvicorn's settings, without its logging and its optional parts.

    Args:
        app: The application.
        guard: Limits the connections.
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
    """Return what clients are told of this process.

    Args:
        context: Identity and places.
        port: The port that is bound.
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
    """Return what a log should say once of a run: version, process and model."""
    return {
        "version": __version__,
        "pid": os.getpid(),
        "mode": context.mode,
        "state_dir": str(context.state_dir),
        "embedding_model": context.settings.embedding_model,
    }


def find_idle_reason(app: FastAPI, server: ProjectServer, limit_s: float) -> str | None:
    """Return why the server may end now, or None while it is in use or has no limit (0)."""
    activity: Activity | None = getattr(app.state, "activity", None)
    if not limit_s or activity is None:
        return None
    if server.is_serving:
        activity.touch()
    idle_s = activity.measure_idle_seconds()
    return f"nothing was asked for {idle_s:.0f} s" if idle_s >= limit_s else None


def translate_startup_error(error: Exception | None) -> AgentBrainError:
    """Return an error for a person out of what the application raised while it started."""
    if isinstance(error, AgentBrainError):
        return error
    return StartError(f"The server could not start: {type(error).__name__}: {error}.")
