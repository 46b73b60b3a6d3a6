"""One worker process as the server sees it: frames in and out, and how it ended."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from agent_brain_server.errors import AgentBrainError
from agent_brain_server.indexing.reading.limits import (
    CPU_SIGNAL,
    EXIT_OUT_OF_MEMORY,
    LIBRARY_BYTES,
    MAX_MEMORY_BYTES,
)
from agent_brain_server.indexing.worker.wire import Frame, FrameBuffer, relay_records, write_frame
from agent_brain_server.support.processes import read_cpu_seconds, read_resident_bytes
from agent_brain_server.support.state_files import open_log
from agent_brain_server.types import LimitReason

Role = Literal["reader", "slow_reader", "embedder"]
"""Slow files are read by a process of their own, so that it can be ended for others and a warm one reads them."""

DeathReason = LimitReason | Literal["killed"]

REQUEST_TIMEOUT_S = 60.0
"""A worker that neither answers nor uses CPU for so long hangs, as on a network file system, and is ended."""

WATCH_INTERVAL_S = 0.1
"""How often a worker that is slow to answer is looked at."""

INTERRUPT_AFTER_S = 0.5
"""Ending the reader of ordinary files for something else is not worth it earlier, as another has to be started."""

END_TIMEOUT_S = 1.0
"""A worker whose pipe broke is ending; it may finish by itself, so that its own exit code is seen."""

REAP_INTERVAL_S = 0.005

PIPE_BYTES = 1 << 20
"""Room for replies, so that a worker continues while the server writes to its stores."""

READ_BYTES = 1 << 18

MAX_STDERR_BYTES = 1_000_000
"""Size of the file for the messages of crashing native code, beyond which an empty one takes its place."""

MEMORY_SHARE = 0.75
"""Native code that gets no memory crashes in its own way; a peak above this share of the limit tells why."""


class WorkerDiedError(AgentBrainError):
    """The worker ended or hung in the middle of a request.

    Attributes:
        reason: What the worker died of: a limit, a crash, or a kill from outside; `None` if it hung or was closed.
    """

    default_code = "worker_died"

    def __init__(self, message: str, reason: DeathReason | None = None) -> None:
        super().__init__(message)
        self.reason = reason


class InterruptedReadError(Exception):
    """The caller had the worker ended, to use the time for something else."""


@dataclass(slots=True)
class _Watch:
    """When a worker last got on with a request."""

    cpu_s: float | None
    since: float
    began: float


class WorkerProcess:
    """A running worker. Requests come from one thread; `kill` may be called from any.

    Args:
        role: What it is used for.
        log_path: Where its stderr goes.
    """

    def __init__(self, role: Role, log_path: Path) -> None:
        self.role = role
        self._process = _start(role, log_path)
        self._replies = FrameBuffer()
        self._poll = select.poll()
        self._poll.register(_opened(self._process.stdout), select.POLLIN)
        self._exceeded: LimitReason | None = None
        self._is_hung = False

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def is_alive(self) -> bool:
        """Return whether the process runs."""
        return self._process.poll() is None

    def send(self, request: Frame) -> None:
        """Send a request.

        Raises:
            WorkerDiedError: The worker has ended.
        """
        try:
            write_frame(_opened(self._process.stdin), request)
        except (OSError, ValueError) as error:
            raise self._describe_death() from error

    def receive(self, should_interrupt: Callable[[], bool] | None = None) -> Frame:
        """Wait for the next reply and write what the worker logged into this process's log.

        Args:
            should_interrupt: Asked several times a second; `True` ends the worker.

        Raises:
            WorkerDiedError: The worker ended, hung, or exceeded a limit.
            InterruptedReadError: `should_interrupt` returned `True`.
        """
        began = time.monotonic()
        watch = _Watch(None, began, began)
        while (reply := self._replies.take()) is None:
            if not self._poll.poll(WATCH_INTERVAL_S * 1000):
                self._check(watch, should_interrupt)
                continue
            data = os.read(_opened(self._process.stdout).fileno(), READ_BYTES)
            if not data:
                raise self._describe_death()
            self._replies.add(data)
        relay_records(reply.header.pop("log", ()), self.pid)
        return reply

    def kill(self) -> None:
        """End the process from any thread; a `receive` under way raises `WorkerDiedError`."""
        self._process.kill()

    def end(self) -> None:
        """End the process and close its pipes."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                _opened(stream).close()

    def _check(self, watch: _Watch, should_interrupt: Callable[[], bool] | None) -> None:
        """End a worker that is not to continue."""
        waited_s = time.monotonic() - watch.began
        is_due = self.role == "slow_reader" or waited_s >= INTERRUPT_AFTER_S
        if should_interrupt is not None and is_due and should_interrupt():
            self.end()
            raise InterruptedReadError
        if self.role != "embedder" and read_resident_bytes(self.pid) > MAX_MEMORY_BYTES:
            self._exceeded = "memory_limit"
            self._process.kill()
        if watch.cpu_s is None:
            watch.cpu_s = read_cpu_seconds(self.pid)
        if time.monotonic() - watch.since >= REQUEST_TIMEOUT_S:
            cpu_s = read_cpu_seconds(self.pid)
            if cpu_s is None or cpu_s == watch.cpu_s:
                self._is_hung = True
                self._process.kill()
            watch.cpu_s, watch.since = cpu_s, time.monotonic()

    def _describe_death(self) -> WorkerDiedError:
        """Return the error that tells how the worker ended; its pipe broke, so it has ended or is about to."""
        peak_bytes = self._reap()
        self.end()
        code = self._process.returncode
        if self._is_hung:
            return WorkerDiedError(f"The indexing worker (pid {self.pid}) hung and was ended.")
        reason = self._exceeded or _find_reason(code, peak_bytes)
        return WorkerDiedError(f"The indexing worker (pid {self.pid}) {_describe_end(code)}.", reason)

    def _reap(self) -> int:
        """Wait for a process that is ending; return its peak memory in bytes, 0 if unknown."""
        deadline = time.monotonic() + END_TIMEOUT_S
        while time.monotonic() < deadline and self._process.returncode is None:
            try:
                pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            except ChildProcessError:  # another thread's `kill` has noticed the end
                return 0
            if pid:
                self._process.returncode = os.waitstatus_to_exitcode(status)
                return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
            time.sleep(REAP_INTERVAL_S)
        return 0


def _find_reason(code: int, peak_bytes: int) -> DeathReason:
    if code == -CPU_SIGNAL:
        return "cpu_limit"
    if code == -signal.SIGKILL:  # by the system, short of memory, or by a user: says nothing about the file
        return "killed"
    if code == EXIT_OUT_OF_MEMORY or (peak_bytes > MEMORY_SHARE * (MAX_MEMORY_BYTES - LIBRARY_BYTES)):
        return "memory_limit"
    return "parser_crashed"


def _describe_end(return_code: int) -> str:
    if return_code == -CPU_SIGNAL:
        return "used up the CPU time for one file"
    if return_code == EXIT_OUT_OF_MEMORY:
        return "used up the memory for one file"
    if return_code >= 0:
        return f"ended unexpectedly with exit code {return_code}"
    return f"was ended by signal {-return_code} ({signal.strsignal(-return_code)})"


def _start(role: Role, log_path: Path) -> "subprocess.Popen[bytes]":
    # -P: a project's own files must not be importable; close_fds keeps lock and socket with the server alone
    command = [sys.executable, "-P", "-m", "agent_brain_server.indexing.worker", role]
    with open(open_log(log_path, max_bytes=MAX_STDERR_BYTES), "ab") as log:
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, cwd="/", pipesize=PIPE_BYTES
        )


def _opened(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise WorkerDiedError("The indexing worker has no pipe.")
    return stream
