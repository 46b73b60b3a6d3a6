"""Start and stop a project's server or the shared daemon, for users and for agents.

The lock decides. A start that finds it held waits for the holder's runtime file. A stop signals only a process that is
proven to be the holder, and returns when that process has ended and its files are removed.
"""

import contextlib
import logging
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent_brain_server.errors import (
    AgentBrainError,
    ConfigError,
    DeadlineError,
    NotRunningError,
    PortInUseError,
    ServerRefusedError,
)
from agent_brain_server.lifecycle.registry import make_owner_error, require_own_state_dir
from agent_brain_server.lifecycle.spawn import LaunchPlan, StartedBy, capitalize, launch
from agent_brain_server.locking import cleanup_stale, is_stale, read_holder
from agent_brain_server.project_root import require_text
from agent_brain_server.runtime import RuntimeState, is_process_alive, read_runtime, validate_runtime
from agent_brain_server.storage_paths import (
    brain_home,
    lock_path,
    prepare_brain_home,
    prepare_state_dir,
    resolve_state_dir,
    shared_config_path,
)
from agent_brain_server.support.http_client import HEALTH_TIMEOUT_S, fetch_instance_id, request_json
from agent_brain_server.support.processes import ProcessHandle, has_file_open

logger = logging.getLogger(__name__)

DEFAULT_LIMIT_S = 30.0  # a start takes about a second, a stop as long as its slowest request
WAIT_INTERVAL_S = 0.01  # between two reads of a file that another process is about to write
KILL_LIMIT_S = 10.0  # SIGKILL waits only for a system call that cannot be interrupted
SILENT_LIMIT_S = 1.0  # after two seconds spent on finding the server: a query ends within 5 s
PROOF_TIMEOUT_S = 0.5  # short, because a hung server must be stoppable too; no answer does not prevent a stop
REPLACE_AFTER_S = 5.0  # idle time before a server is replaced; a client in the middle of a task queries sooner

STOP_COMMAND = "agent-brain stop"
STOP_DAEMON_COMMAND = "agent-brain stop --mode shared"


@dataclass(frozen=True, slots=True)
class StartResult:
    """A running server.

    Attributes:
        state: Address and token.
        started: Whether this call started it.
        replaced: The server of another version that was stopped first.
        in_use: Why a server of another version was not replaced.
    """

    state: RuntimeState
    started: bool
    replaced: RuntimeState | None = None
    in_use: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Time limits of a start, in seconds.

    Attributes:
        timeout_s: Until a server answers.
        silent_timeout_s: For a server that has published its address and does not answer.
    """

    timeout_s: float
    silent_timeout_s: float


@dataclass(frozen=True, slots=True)
class StopResult:
    """Result of a stop.

    Attributes:
        stopped: Whether a server was running.
        forced: Whether it had to be killed.
        pid: The process that was ended.
    """

    stopped: bool
    forced: bool
    pid: int | None


def start_server(
    project_root: Path,
    *,
    state_dir: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    started_by: StartedBy = "user",
    timeout_s: float = DEFAULT_LIMIT_S,
    silent_timeout_s: float | None = None,
    replace_other_version: bool = False,
) -> StartResult:
    """Return the server of a project; start it if none runs. Simultaneous calls return the same server.

    Args:
        project_root: Root of the project.
        state_dir: The state directory, if it is not the default one.
        overrides: Settings by name that override all others. They do not change a running server.
        started_by: A server that an agent started ends by itself after a time without requests. A running server keeps
            its value.
        timeout_s: Seconds to wait until a server answers.
        silent_timeout_s: Seconds to wait for a published server that does not answer; `timeout_s` by default.
        replace_other_version: Stop a running server of another version and start this one, unless it is in use.

    Raises:
        StateDirError: The state directory is unusable, or belongs to another project.
        ConfigError: A setting is invalid, or the project is not a directory.
        StartError: The server could not start; its last log lines are in the notes.
        DeadlineError: No server answered in time.
    """
    root = project_root.expanduser().resolve()
    if not root.is_dir():
        raise ConfigError(f"{root} is not a directory.", hint="Name an existing one with --project-root.")
    location = resolve_state_dir(root, state_dir)
    for path in (root, location):
        require_text(path)
    require_own_state_dir(root, location)
    prepare_state_dir(location)
    plan = LaunchPlan(
        name=f"the server of {root}",
        state_dir=location,
        arguments=("--project-root", str(root), "--state-dir", str(location)),
        status_command="agent-brain status",
        stop_command=STOP_COMMAND,
        project_root=root,
    )
    limits = Limits(timeout_s, timeout_s if silent_timeout_s is None else silent_timeout_s)
    return _start(plan, overrides or {}, started_by, limits, replace_other_version=replace_other_version)


def start_daemon(
    *,
    overrides: Mapping[str, Any] | None = None,
    started_by: StartedBy = "user",
    timeout_s: float = DEFAULT_LIMIT_S,
    silent_timeout_s: float | None = None,
    replace_other_version: bool = False,
) -> StartResult:
    """Return the daemon that all projects of this user can share; start it if none runs.

    Args:
        overrides: As for `start_server`.
        started_by: As for `start_server`.
        timeout_s: As for `start_server`.
        silent_timeout_s: As for `start_server`.
        replace_other_version: As for `start_server`.

    Raises:
        AgentBrainError: As for `start_server`.
    """
    plan = LaunchPlan(
        name="the shared daemon",
        state_dir=prepare_brain_home(),
        arguments=("--mode", "shared"),
        status_command="agent-brain status --mode shared",
        stop_command=STOP_DAEMON_COMMAND,
    )
    limits = Limits(timeout_s, timeout_s if silent_timeout_s is None else silent_timeout_s)
    try:
        return _start(plan, overrides or {}, started_by, limits, replace_other_version=replace_other_version)
    except PortInUseError as error:
        error.hint = f'Set another "port" in {shared_config_path()}, or free the port.'
        raise


def stop_daemon(*, timeout_s: float = DEFAULT_LIMIT_S, force: bool = False) -> StopResult:
    """Stop the shared daemon.

    Args:
        timeout_s: As for `stop_server`.
        force: As for `stop_server`.

    Raises:
        AgentBrainError: As for `stop_server`.
    """
    return stop_server(brain_home(), timeout_s=timeout_s, force=force, command=STOP_DAEMON_COMMAND)


def stop_server(
    state_dir: Path, *, timeout_s: float = DEFAULT_LIMIT_S, force: bool = False, command: str = STOP_COMMAND
) -> StopResult:
    """Stop the server of a state directory. On return it has ended and its files are removed.

    Args:
        state_dir: Absolute.
        timeout_s: Seconds to wait for a regular shutdown.
        force: Kill the process if it does not end in time.
        command: The command that stops this server, for messages.

    Raises:
        DeadlineError: The server still runs, or the holder of the lock cannot be proven to be the server.
        StateDirError: Its files cannot be removed.
    """
    deadline = time.monotonic() + timeout_s
    while not cleanup_stale(state_dir):
        process = _find_holder(state_dir)
        if process is not None:
            with process:
                forced = _end_process(process, deadline, force=force, command=command)
            cleanup_stale(state_dir)
            return StopResult(stopped=True, forced=forced, pid=process.pid)
        # the holder has not written its pid yet, or is about to release the lock
        if time.monotonic() >= deadline:
            raise DeadlineError(
                f"The lock of {state_dir} is held by a process that cannot be proven to be its server.",
                hint=f'Find it with: fuser -v "{lock_path(state_dir)}"',
            )
        time.sleep(WAIT_INTERVAL_S)
    return StopResult(stopped=False, forced=False, pid=None)


def _start(
    plan: LaunchPlan,
    overrides: Mapping[str, Any],
    started_by: StartedBy,
    limits: Limits,
    *,
    replace_other_version: bool,
) -> StartResult:
    deadline = time.monotonic() + limits.timeout_s
    replaced = None
    while True:
        running = _await_holder(plan, deadline, limits.silent_timeout_s)
        if running is None:
            started = launch(plan, overrides, started_by, deadline)
            if started is not None:
                return StartResult(started, started=True, replaced=replaced)
            continue
        _require_same_project(running, plan)
        if not running.has_version_skew or not replace_other_version:
            return StartResult(running, started=False)
        in_use = _describe_use(running)
        if in_use is not None:
            return StartResult(running, started=False, in_use=in_use)
        if _stop_instance(plan, running, deadline):
            replaced = running


def _describe_use(running: RuntimeState) -> str | None:
    """Return why a server may not be replaced now, or `None` if it is idle."""
    path = "/projects" if running.mode == "shared" else "/health/status"
    try:
        answer = request_json(running, "GET", path, timeout=HEALTH_TIMEOUT_S)
    except NotRunningError:  # it has ended by itself
        return None
    except (DeadlineError, ServerRefusedError) as exc:
        return f"it does not report whether it is idle ({exc.message})"
    document = answer if isinstance(answer, dict) else {}
    if document.get("indexing_in_progress"):
        return "it is indexing"
    idle_s = document.get("idle_seconds", REPLACE_AFTER_S)
    if isinstance(idle_s, int | float) and idle_s < REPLACE_AFTER_S:
        return f"it was used {idle_s:.1f} s ago" if idle_s > 0 else "it is working"
    return None


def _stop_instance(plan: LaunchPlan, running: RuntimeState, deadline: float) -> bool:
    """Stop a given server. Return `False` if another process holds the lock by now.

    Raises:
        DeadlineError: It did not end in time.
    """
    # another `start` may have replaced it already, and its successor must not be stopped
    if read_holder(plan.state_dir) != (running.pid, running.pid_started_at):
        if time.monotonic() >= deadline:
            raise DeadlineError(f"The process of {plan.name} cannot be identified.")
        time.sleep(WAIT_INTERVAL_S)
        return False
    process = ProcessHandle.open(running.pid, running.pid_started_at)
    if process is not None:
        with process:
            _end_process(process, deadline, force=False, command=plan.stop_command)
    return True


def _await_holder(plan: LaunchPlan, deadline: float, silent_timeout_s: float) -> RuntimeState | None:
    """Return the server that holds the lock, or `None` once no process does.

    Raises:
        DeadlineError: The holder does not answer.
    """
    silent_since = None
    while not is_stale(plan.state_dir):
        state, now = read_runtime(plan.state_dir), time.monotonic()
        is_published = state is not None and is_process_alive(state)
        silent_since = (silent_since or now) if is_published else None
        until = deadline if silent_since is None else min(deadline, silent_since + silent_timeout_s)
        if state is not None and validate_runtime(state, state_dir=plan.state_dir, timeout=_bound_check(until - now)):
            return state
        if time.monotonic() >= until:
            holder = read_holder(plan.state_dir)
            process = f"process {holder[0]}" if holder else "unknown process"
            raise DeadlineError(
                f"{capitalize(plan.name)} is running ({process}), but does not answer.",
                hint=f"Wait and try again, or end it with: {plan.stop_command} --force",
            )
        time.sleep(WAIT_INTERVAL_S)
    return None


def _bound_check(remaining_s: float) -> float:
    """Return the time limit of one health check: a suspended server accepts connections and never answers."""
    return max(PROOF_TIMEOUT_S, min(HEALTH_TIMEOUT_S, remaining_s))


def _require_same_project(state: RuntimeState, plan: LaunchPlan) -> None:
    if plan.project_root is None or state.project_root == str(plan.project_root):
        return
    raise make_owner_error(plan.state_dir, state.project_root)


def _find_holder(state_dir: Path) -> ProcessHandle | None:
    """Return this user's process that holds the lock, if start time and instance id prove that it is the server.

    Where the system tells neither start times nor open files, the runtime file must name the same process.
    """
    holder = read_holder(state_dir)
    # a planted lock file may name any process
    if holder is None or not has_file_open(holder[0], lock_path(state_dir)):
        return None
    process = ProcessHandle.open(*holder)
    if process is None:
        return None
    state = None
    with contextlib.suppress(AgentBrainError):  # a runtime file of another version proves nothing against the process
        state = read_runtime(state_dir)
    is_named = state is not None and state.pid == process.pid
    if not is_named and process.is_unknown():
        process.close()
        return None
    if state is not None and is_named:
        answer = fetch_instance_id(state.base_url, timeout=PROOF_TIMEOUT_S)
        if answer is not None and answer != state.instance_id:
            process.close()
            return None
    return process


def _end_process(process: ProcessHandle, deadline: float, *, force: bool, command: str) -> bool:
    """End a process; return whether it had to be killed."""
    process.send(signal.SIGTERM)
    if process.wait(deadline - time.monotonic()):
        return False
    if force:
        logger.warning("Killing process %d, which did not end in time", process.pid)
        process.send(signal.SIGKILL)
        if process.wait(KILL_LIMIT_S):
            return True
    raise DeadlineError(
        f"The server (process {process.pid}) did not end in time.", hint=f"Kill it with: {command} --force"
    )
