"""The server process: `python -m agent_brain_server`, or `agent-brain-serve`.

It finds the root, takes the lock, reads the settings and binds the socket before it loads anything heavy, so that a
process that cannot become the server exits at once. Started by the user, it stays in the foreground until Ctrl-C.
"""

import argparse
import contextlib
import errno
import gc
import logging
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from agent_brain_server import __version__
from agent_brain_server.config.settings import DaemonSettings, Settings, load_settings
from agent_brain_server.config.trust import Ignored
from agent_brain_server.errors import AgentBrainError, ConfigError, PortInUseError, StartError
from agent_brain_server.lifecycle.log import configure_logging, read_log_tail
from agent_brain_server.lifecycle.registry import claim_state_dir
from agent_brain_server.lifecycle.spawn import ReadyPipe
from agent_brain_server.locking import PROBE_PATIENCE_S, StateLock, log_crash, read_holder, remove_stale_files
from agent_brain_server.models import MODES
from agent_brain_server.project.context import ServerContext
from agent_brain_server.project_root import require_project, resolve_project_root
from agent_brain_server.runtime import RuntimeState, read_runtime
from agent_brain_server.storage_paths import (
    brain_home,
    make_child_environment,
    prepare_state_dir,
    resolve_log_dir,
    resolve_state_dir,
)
from agent_brain_server.support.processes import measure_process_age
from agent_brain_server.support.telemetry import disable_telemetry

logger = logging.getLogger(__name__)

SINGLE_THREADED = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Read by NumPy's BLAS when it is loaded. A query reads 15 MB once; a second thread for it triples the CPU time and
slows concurrent queries down."""

PRIVATE_UMASK = 0o077  # files of the server and of libraries are readable by this user only


def main(argv: Sequence[str] | None = None) -> int:
    """Run the server; return the exit code."""
    # measured before the fork, which starts a new process
    process_began = time.monotonic() - (measure_process_age() or 0.0)
    arguments = parse_arguments(argv)
    if arguments.ready_fd is not None:
        leave_starter()
    pipe = ReadyPipe(arguments.ready_fd)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, exit_quietly)
    os.umask(PRIVATE_UMASK)
    raise_descriptor_limit()
    for name in SINGLE_THREADED:
        os.environ.setdefault(name, "1")
    disable_telemetry()
    try:
        return serve(arguments, pipe, process_began)
    except KeyboardInterrupt:
        return 0
    except AgentBrainError as error:
        report_failure(error, pipe)
        return error.exit_code
    except Exception as exc:  # noqa: BLE001 - boundary: the starter must learn of any failure; it is logged
        failure = StartError(f"The server failed: {type(exc).__name__}: {exc}.")
        failure.__notes__ = getattr(exc, "__notes__", [])
        report_failure(failure, pipe)
        return failure.exit_code


def run() -> NoReturn:
    """Run the server, then exit without finalizing the interpreter.

    Everything is closed by then; freeing the objects of NumPy, Chroma and the model would take another half second.
    """
    code = main()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(
        prog="agent-brain-serve", description="Serve the search index of one project, or as the daemon of many."
    )
    parser.add_argument("--mode", choices=MODES, default="project", help="one project, or the daemon")
    parser.add_argument(
        "--project-root", type=Path, help="root of the project (default: found from the working directory)"
    )
    parser.add_argument("--state-dir", type=Path, help="state directory (default: .claude/Agent Brain in the root)")
    parser.add_argument("--host", help="address to listen on; overrides the setting bind_host")
    parser.add_argument("--port", help="port to listen on, 0 for any; overrides the setting port")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="set any setting")
    parser.add_argument("--started-by", choices=("user", "agent"), default="user", help=argparse.SUPPRESS)
    parser.add_argument("--ready-fd", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--version", action="version", version=__version__)
    arguments = parser.parse_args(argv)
    if arguments.mode == "shared" and (arguments.project_root or arguments.state_dir):
        parser.error("--project-root and --state-dir cannot be used with --mode shared")
    return arguments


def collect_overrides(arguments: argparse.Namespace) -> dict[str, str | None]:
    """Return the settings from the command line.

    Raises:
        ConfigError: A `--set` is not NAME=VALUE.
    """
    overrides: dict[str, str | None] = {}
    for pair in arguments.set:
        name, separator, value = pair.partition("=")
        if not separator:
            raise ConfigError(f"--set {pair} is not NAME=VALUE.")
        overrides[name] = value
    flags = {"bind_host": arguments.host, "port": arguments.port}
    return overrides | {name: value for name, value in flags.items() if value is not None}


def serve(arguments: argparse.Namespace, pipe: ReadyPipe, process_began: float) -> int:
    """Take the lock and serve until the process is asked to stop; return the exit code.

    Args:
        arguments: The command line.
        pipe: Connected to the process that waits for the start.
        process_began: Start of the process on the monotonic clock.

    Raises:
        AgentBrainError: The server cannot start.
    """
    root = None if arguments.mode == "shared" else find_root(arguments.project_root)
    state_dir = brain_home() if root is None else resolve_state_dir(root, arguments.state_dir)
    prepare_state_dir(state_dir)
    lock = StateLock(state_dir)
    if not lock.acquire(patience_s=PROBE_PATIENCE_S):
        return report_held(state_dir, pipe)
    try:
        remove_stale_files(state_dir, lock.crashed_holder)
        if root is not None:
            claim_state_dir(root, state_dir)
        overrides = collect_overrides(arguments)
        daemon = DaemonSettings.load(overrides) if root is None else None
        own = Settings(daemon.server, daemon.origins) if daemon else load_settings(state_dir, overrides)
        context = ServerContext.make(root, state_dir, own.config, daemon, process_began)
        serve_locked(context, lock, pipe, ignored=own.ignored, stops_when_idle=arguments.started_by == "agent")
    finally:
        lock.release()
    return 0


def find_root(named: Path | None) -> Path:
    """Return the root of the project to serve.

    Raises:
        ConfigError: It is not a directory, or is the home directory and was not named explicitly.
    """
    root = named.resolve() if named else resolve_project_root(Path.cwd())
    if named is None:
        require_project(root)
    if not root.is_dir():
        raise ConfigError(f"{root} is not a directory.", hint="Name an existing one with --project-root.")
    return root


def serve_locked(
    context: ServerContext, lock: StateLock, pipe: ReadyPipe, *, ignored: Ignored | None, stops_when_idle: bool
) -> None:
    """Bind the socket, load the application and serve.

    Args:
        context: The server's identity, directories and settings.
        lock: The held lock of the state directory.
        pipe: Connected to the process that waits for the start.
        ignored: Settings of the project's file that are ignored, for the log.
        stops_when_idle: Stop after a time without requests.

    Raises:
        AgentBrainError: The server cannot start.
    """
    settings = context.settings
    log_dir = resolve_log_dir(context.state_dir, settings.log_dir)
    log_path = configure_logging(log_dir, settings.log_level, console=not pipe.is_open, instance_id=context.instance_id)
    earlier_runs = log_path.stat().st_size
    log_crash(context.state_dir)
    if ignored:
        logger.warning("%s %s", ignored.describe(), ignored.hint)

    def tell_ready(state: RuntimeState) -> None:
        if not pipe.is_open:
            served = context.project_root or "all registered projects"
            print(f"Agent Brain serves {served} at {state.base_url} (Ctrl-C stops it)", flush=True)
        pipe.send_ready(state)

    try:
        with bind_socket(settings.bind_host, settings.port) as sock:
            leave_directory()
            gc.disable()  # until the server is ready: loading modules leaves almost no garbage to find
            from agent_brain_server.api.server import run_server  # noqa: PLC0415 - heavy, needed by the server only
            from agent_brain_server.project.projects import open_projects  # noqa: PLC0415 - likewise

            run_server(sock, context, open_projects, lock=lock, stops_when_idle=stops_when_idle, on_ready=tell_ready)
    except Exception as error:
        logger.exception("The server stops because of an error")
        error.add_note("\n".join([f"Last lines of {log_path}:", *read_log_tail(log_path, offset=earlier_runs)]))
        raise


def leave_directory() -> None:
    """Change to `/`: libraries read files such as `.env` from the working directory, which may be a hostile clone."""
    os.environ.update(make_child_environment())
    os.chdir("/")


def bind_socket(host: str, port: int) -> socket.socket:
    """Return a bound socket; it is kept, so that no other process can take the port.

    Args:
        host: Address or name to listen on.
        port: 0 for a free port.

    Raises:
        PortInUseError: The port is taken.
        StartError: The address does not belong to this machine, or this user may not bind the port.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, protocol)
    except (OSError, ValueError) as exc:  # ValueError: not a valid host name
        raise StartError(f"The address {ascii(host)} is unknown: {exc}.", code="bad_bind_host") from exc
    try:
        if port:
            # allow a port that the previous server has just closed
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
    except OSError as exc:
        sock.close()
        if exc.errno == errno.EADDRINUSE:
            raise PortInUseError(f"Port {port} on {host} is in use by another process.") from exc
        raise StartError(f"Cannot listen on {host}:{port}: {exc.strerror}.", code="bind_failed") from exc
    return sock


def raise_descriptor_limit() -> None:
    """Raise the limit of open files to the maximum: the usual 1,024 is too low for a thousand connections."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # not permitted: keep the current limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def leave_starter() -> None:
    """Daemonize: the parent exits at once, so that the starter has no child to wait for."""
    if os.fork():
        os._exit(0)


def exit_quietly(_number: int, _frame: FrameType | None) -> None:
    """Exit on a signal before the server runs; the lock is released on the way."""
    raise SystemExit(0)


def report_held(state_dir: Path, pipe: ReadyPipe) -> int:
    """Report that another process holds the lock; return the exit code.

    Raises:
        StartError: No starter waits that would use the running server.
    """
    if pipe.is_open:
        pipe.send_held()
        return 0
    state = read_runtime(state_dir)
    if state is None:
        holder = read_holder(state_dir)
        server = f"by process {holder[0]}" if holder else "by another process"
        message = f"The state directory {state_dir} is in use {server}, which is starting or stopping."
    else:
        served = state.project_root or "all registered projects"
        message = f"Agent Brain already serves {served} at {state.base_url} (pid {state.pid})."
    option = " --mode shared" if state is not None and state.mode == "shared" else ""
    raise StartError(
        message, hint=f"Use that server, or stop it with: agent-brain stop{option}", code="already_running"
    )


def report_failure(error: AgentBrainError, pipe: ReadyPipe) -> None:
    """Send an error to the starter, or print it to stderr."""
    if pipe.is_open:
        pipe.send_failed(error)
    else:
        print(f"{error.message}\n{error.hint}", file=sys.stderr)


if __name__ == "__main__":
    run()
