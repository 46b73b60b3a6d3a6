"""Start and supervise the indexing workers: send requests ahead, enforce limits, and survive a worker's death."""

import contextlib
import logging
import os
import select
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal

import numpy as np

from agent_brain_server.errors import AgentBrainError
from agent_brain_server.indexing.worker.protocol import (
    READ_BYTES,
    Frame,
    FrameBuffer,
    InvalidFactsError,
    decode_file,
    relay_records,
    write_frame,
)
from agent_brain_server.support.limits import (
    CPU_SIGNAL,
    EXIT_OUT_OF_MEMORY,
    FIRST_TRY_CPU_S,
    LIBRARY_BYTES,
    MAX_MEMORY_BYTES,
)
from agent_brain_server.support.processes import read_cpu_seconds, read_resident_bytes
from agent_brain_server.support.state_files import open_log
from agent_brain_server.types import FileChunks, FileStat, LimitReason, Skip, Vectors

logger = logging.getLogger(__name__)

Role = Literal["reader", "slow_reader", "embedder"]
"""Slow files have a separate process, so that it can be interrupted while the warm reader stays available."""

DeathReason = LimitReason | Literal["killed"]

FILES_AHEAD = 32  # requests sent before the first reply, so that the worker reads while the server writes
TEXT_BATCHES_AHEAD = 2  # keeps the embedder busy, and bounds the work that a cancellation discards
REQUEST_TIMEOUT_S = 60.0  # without a reply and without CPU use, a worker hangs (network file system) and is killed
WATCH_INTERVAL_S = 0.1  # between two checks of a worker that has not replied
INTERRUPT_AFTER_S = 0.5  # interrupting the reader earlier does not pay, because a new one has to start
END_TIMEOUT_S = 1.0  # time for a worker whose pipe broke to exit, so that its exit code is known
REAP_INTERVAL_S = 0.005
PIPE_BYTES = 1 << 20  # buffer for replies, so that a worker continues while the server writes to its stores
MAX_STDERR_BYTES = 1_000_000  # size at which the file for crash messages of native code is truncated
MEMORY_SHARE = 0.75  # native code crashes if an allocation fails; a peak above this share of the limit is the cause


class WorkerRequestError(AgentBrainError):
    """A worker could not process a request."""

    default_code = "worker_failed"
    default_hint = "See why with: agent-brain logs. Then index again: agent-brain index"


class WorkerDiedError(AgentBrainError):
    """A worker exited or hung during a request.

    Attributes:
        reason: A limit, a crash, or a kill from outside; `None` if the worker hung or was closed.
    """

    default_code = "worker_died"

    def __init__(self, message: str, reason: DeathReason | None = None) -> None:
        super().__init__(message)
        self.reason = reason


class InterruptedReadError(Exception):
    """The caller interrupted the worker."""


@dataclass(slots=True)
class _Progress:
    """The CPU time of a worker at the last check, when that was, and when the request began."""

    cpu_s: float | None
    since: float
    began: float


class WorkerProcess:
    """A running worker. One thread sends requests; any thread may call `kill`.

    Args:
        role: Kind of requests that it processes.
        log_path: File for its stderr.
    """

    def __init__(self, role: Role, log_path: Path) -> None:
        self.role = role
        self._process = _start(role, log_path)
        self._replies = FrameBuffer()
        self._poll = select.poll()
        self._poll.register(_require_pipe(self._process.stdout), select.POLLIN)
        self._exceeded: LimitReason | None = None
        self._is_hung = False

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def is_alive(self) -> bool:
        """Return whether the process is running."""
        return self._process.poll() is None

    def send(self, request: Frame) -> None:
        """Send a request.

        Raises:
            WorkerDiedError: The worker has exited.
        """
        try:
            write_frame(_require_pipe(self._process.stdin), request)
        except (OSError, ValueError) as error:
            raise self._describe_death() from error

    def receive(self, should_interrupt: Callable[[], bool] | None = None) -> Frame:
        """Wait for the next reply, and copy the worker's log records into this process's log.

        Args:
            should_interrupt: Called several times a second; `True` kills the worker.

        Raises:
            WorkerDiedError: The worker exited, hung, or exceeded a limit.
            InterruptedReadError: `should_interrupt` returned `True`.
        """
        began = time.monotonic()
        progress = _Progress(None, began, began)
        while (reply := self._replies.take()) is None:
            if not self._poll.poll(WATCH_INTERVAL_S * 1000):
                self._check(progress, should_interrupt)
                continue
            data = os.read(_require_pipe(self._process.stdout).fileno(), READ_BYTES)
            if not data:
                raise self._describe_death()
            self._replies.add(data)
        relay_records(reply.header.pop("log", ()), self.pid)
        return reply

    def kill(self) -> None:
        """Kill the process from any thread; a concurrent `receive` raises `WorkerDiedError`."""
        self._process.kill()

    def end(self) -> None:
        """Kill the process, wait for it, and close its pipes."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                _require_pipe(stream).close()

    def _check(self, progress: _Progress, should_interrupt: Callable[[], bool] | None) -> None:
        """Kill a worker that is interrupted, uses too much memory, or hangs."""
        waited_s = time.monotonic() - progress.began
        is_due = self.role == "slow_reader" or waited_s >= INTERRUPT_AFTER_S
        if should_interrupt is not None and is_due and should_interrupt():
            self.end()
            raise InterruptedReadError
        if self.role != "embedder" and read_resident_bytes(self.pid) > MAX_MEMORY_BYTES:
            self._exceeded = "memory_limit"
            self._process.kill()
        if progress.cpu_s is None:
            progress.cpu_s = read_cpu_seconds(self.pid)
        if time.monotonic() - progress.since >= REQUEST_TIMEOUT_S:
            cpu_s = read_cpu_seconds(self.pid)
            if cpu_s is None or cpu_s == progress.cpu_s:
                self._is_hung = True
                self._process.kill()
            progress.cpu_s, progress.since = cpu_s, time.monotonic()

    def _describe_death(self) -> WorkerDiedError:
        """Return the error for a worker whose pipe broke, with the cause of its death."""
        peak_bytes = self._reap()
        self.end()
        code = self._process.returncode
        if self._is_hung:
            return WorkerDiedError(f"The indexing worker (pid {self.pid}) hung and was killed.")
        reason = self._exceeded or _find_reason(code, peak_bytes)
        return WorkerDiedError(f"The indexing worker (pid {self.pid}) {_describe_exit(code)}.", reason)

    def _reap(self) -> int:
        """Wait for the process to exit; return its peak memory in bytes, 0 if unknown."""
        deadline = time.monotonic() + END_TIMEOUT_S
        while time.monotonic() < deadline and self._process.returncode is None:
            try:
                pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            except ChildProcessError:  # another thread reaped it in `kill`
                return 0
            if pid:
                self._process.returncode = os.waitstatus_to_exitcode(status)
                return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
            time.sleep(REAP_INTERVAL_S)
        return 0


def _find_reason(code: int, peak_bytes: int) -> DeathReason:
    if code == -CPU_SIGNAL:
        return "cpu_limit"
    if code == -signal.SIGKILL:  # by the OOM killer or a user: not the fault of the file
        return "killed"
    if code == EXIT_OUT_OF_MEMORY or (peak_bytes > MEMORY_SHARE * (MAX_MEMORY_BYTES - LIBRARY_BYTES)):
        return "memory_limit"
    return "parser_crashed"


def _describe_exit(return_code: int) -> str:
    if return_code == -CPU_SIGNAL:
        return "used up the CPU time for one file"
    if return_code == EXIT_OUT_OF_MEMORY:
        return "used up the memory for one file"
    if return_code >= 0:
        return f"ended unexpectedly with exit code {return_code}"
    return f"was ended by signal {-return_code} ({signal.strsignal(-return_code)})"


def _start(role: Role, log_path: Path) -> "subprocess.Popen[bytes]":
    # -P keeps a project's files from being imported; close_fds keeps the server's lock and socket from being inherited
    command = [sys.executable, "-P", "-m", "agent_brain_server.indexing.worker", role]
    with open(open_log(log_path, max_bytes=MAX_STDERR_BYTES), "ab") as log:
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, cwd="/", pipesize=PIPE_BYTES
        )


def _require_pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise WorkerDiedError("The indexing worker has no pipe.")
    return stream


@dataclass(frozen=True, slots=True)
class ChunkOptions:
    """Options for reading and chunking a file.

    Attributes:
        chunk_size: Maximum tokens of a chunk.
        chunk_overlap: Tokens shared by consecutive pieces of a long paragraph.
        max_file_bytes: Larger files are skipped.
        index_secrets: Whether files that contain private keys or logins are indexed.
        index_generated: Whether code whose header says that it is generated is indexed.
    """

    chunk_size: int
    chunk_overlap: int
    max_file_bytes: int
    index_secrets: bool = False
    index_generated: bool = False


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """A file to read, and its limits.

    Attributes:
        cpu_s: CPU seconds after which the reader is killed.
        by_lines: A limit that the file is known to exceed; it is then split by lines only.
        known_limits: Content hashes of this size that are known to exceed a limit.
    """

    file: FileStat
    cpu_s: float = FIRST_TRY_CPU_S
    by_lines: LimitReason | None = None
    known_limits: Mapping[str, LimitReason] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReadOutcome:
    """Result of reading a file: exactly one of `chunks`, `skip` and `failure` is set.

    Attributes:
        failure: Why the reader died while it read the file.
    """

    file: FileStat
    chunks: FileChunks | None = None
    skip: Skip | None = None
    failure: DeathReason | None = None


@dataclass(slots=True, eq=False)
class Workers:
    """The running worker processes of one indexing slot, by role."""

    processes: dict[Role, WorkerProcess] = field(default_factory=dict)

    def end(self, role: Role | None = None) -> None:
        """Kill the process of a role; `None` kills all."""
        for process in [self.processes.pop(name) for name in list(self.processes) if role in (None, name)]:
            process.end()


class WorkerClient:
    """Client of the worker processes, which start with the first request and after a death. Used by one thread.

    Args:
        log_path: File for the workers' stderr.
    """

    def __init__(self, log_path: Path) -> None:
        self._log_path = log_path
        self._workers = Workers()
        self._closed = False

    @property
    def pids(self) -> dict[Role, int]:
        """Process ids of the running workers."""
        return {role: process.pid for role, process in dict(self._workers.processes).items()}

    def read_files(
        self,
        root: Path,
        requests: Iterable[ReadRequest],
        options: ChunkOptions,
        should_interrupt: Callable[[], bool] | None = None,
        role: Role = "reader",
    ) -> Iterator[ReadOutcome]:
        """Read and chunk files, in order.

        If a file exceeds a limit or crashes a parser, it is reported as a failure, and a new process continues with
        the next file.

        Args:
            root: The project root.
            requests: The files.
            options: How to read and chunk them.
            should_interrupt: Called several times a second while a file is read; `True` kills the reader.
            role: The process that reads.

        Raises:
            WorkerDiedError: The client was closed.
            InterruptedReadError: `should_interrupt` returned `True`; the remaining files were not read.
        """
        remaining = deque(requests)
        while remaining:
            frames = (_chunk_request(root, request, options) for request in tuple(remaining))
            try:
                for reply in self._exchange(role, frames, FILES_AHEAD, should_interrupt):
                    yield _parse_reply(remaining.popleft().file, reply)
            except WorkerDiedError as error:
                if self._closed:
                    raise
                file = remaining.popleft().file
                logger.warning("%s It was reading %s; a new worker continues", error.message, file.path)
                if error.reason is None:
                    yield ReadOutcome(file, skip=Skip(file.path, "unreadable"))
                else:
                    yield ReadOutcome(file, failure=error.reason)

    def embed(self, model: str, batches: Iterable[Sequence[str]]) -> Iterator[Vectors]:
        """Embed batches of texts, in order: yields one array of shape (len(batch), dimension) per batch.

        Raises:
            WorkerDiedError: The worker died; batches that were not yielded are not embedded.
            WorkerRequestError: The model could not be opened or failed.
        """
        frames = (Frame({"op": "embed", "model": model, "texts": list(batch)}) for batch in batches)
        for reply in self._exchange("embedder", frames, TEXT_BATCHES_AHEAD):
            if "error" in reply.header:
                raise WorkerRequestError(reply.header["error"], code=reply.header["code"])
            shape = (reply.header["count"], reply.header["dimension"])
            yield np.frombuffer(reply.payload, dtype=np.float32).reshape(shape)

    def release(self, role: Role | None = None) -> None:
        """Kill the worker of a role, or all, to free memory; the next request starts a new one."""
        self._workers.end(role)

    def adopt(self, workers: Workers | None) -> None:
        """Take over the workers of another client; `None` has no effect."""
        if workers is not None:
            self.release()
            self._workers = workers
            if self._closed:  # `close` may have run before these workers were here
                self.release()

    def hand_over(self) -> Workers | None:
        """Detach the workers for use by another client, between two requests; `None` if none are running."""
        if self._closed:
            self.release()
        workers, self._workers = self._workers, Workers()
        return workers if workers.processes else None

    def close(self) -> None:
        """Kill the workers permanently, from any thread; a concurrent request raises `WorkerDiedError`."""
        self._closed = True
        for process in list(self._workers.processes.values()):
            process.kill()

    def _exchange(
        self,
        role: Role,
        requests: Iterable[Frame],
        ahead: int,
        should_interrupt: Callable[[], bool] | None = None,
    ) -> Iterator[Frame]:
        """Send up to `ahead` requests before the first reply; kill the worker if the caller stops early."""
        waiting = 0
        process = self._workers.processes.get(role)
        if process is not None and not process.is_alive():
            self._workers.end(role)  # it died while idle, so no request is to blame
        try:
            for request in requests:
                waiting += 1
                self._ensure_running(role).send(request)
                if waiting == ahead:
                    reply = self._ensure_running(role).receive(should_interrupt)
                    waiting -= 1
                    yield reply
            while waiting:
                reply = self._ensure_running(role).receive(should_interrupt)
                waiting -= 1
                yield reply
        finally:
            if waiting:
                self._workers.end(role)

    def _ensure_running(self, role: Role) -> WorkerProcess:
        """Return the worker of a role, starting it if necessary."""
        if self._closed:
            raise WorkerDiedError("The indexing worker was closed.")
        if role not in self._workers.processes:
            self._workers.processes[role] = WorkerProcess(role, self._log_path)
        return self._workers.processes[role]


def _chunk_request(root: Path, request: ReadRequest, options: ChunkOptions) -> Frame:
    file = request.file
    return Frame(
        {
            "op": "chunk",
            "root": str(root),
            "file": [file.path, file.size, file.mtime_ns],
            "chunk_size": options.chunk_size,
            "chunk_overlap": options.chunk_overlap,
            "max_bytes": options.max_file_bytes,
            "index_secrets": options.index_secrets,
            "index_generated": options.index_generated,
            "cpu_s": request.cpu_s,
            "by_lines": request.by_lines,
            "known_limits": dict(request.known_limits),
        }
    )


def _parse_reply(file: FileStat, reply: Frame) -> ReadOutcome:
    header = reply.header
    if "error" in header:  # already logged by the worker
        return ReadOutcome(file, failure="parser_crashed")
    if "skip" in header:
        return ReadOutcome(file, skip=Skip(file.path, header["skip"]))
    try:
        return ReadOutcome(file, chunks=decode_file(header["file"]))
    except InvalidFactsError as error:
        logger.warning("%s: %s", file.path, error)
        return ReadOutcome(file, failure="parser_crashed")
