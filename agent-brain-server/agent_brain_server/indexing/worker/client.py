"""The server's side of the indexing workers: starts them, keeps them busy, survives their death."""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from agent_brain_server.errors import AgentBrainError
from agent_brain_server.indexing.reading.limits import FIRST_TRY_CPU_S
from agent_brain_server.indexing.worker.process import DeathReason, Role, WorkerDiedError, WorkerProcess
from agent_brain_server.indexing.worker.wire import Frame, decode_file
from agent_brain_server.types import FileChunks, FileStat, LimitReason, Skip, Vectors

logger = logging.getLogger(__name__)

FILES_AHEAD = 32
"""Files that the reader is sent before it has answered; a batch of them is read while the server writes another."""

TEXT_BATCHES_AHEAD = 2
"""The embedder finds its next request waiting, and the server is at most this far behind when it is cancelled."""


class WorkerRequestError(AgentBrainError):
    """The worker answered that it could not do what was asked."""

    default_code = "worker_failed"
    default_hint = "See why with: agent-brain logs. Then index again: agent-brain index"


@dataclass(frozen=True, slots=True)
class ChunkOptions:
    """How files are read and chunked: tokens, tokens, bytes, and whether private keys are read at all."""

    chunk_size: int
    chunk_overlap: int
    max_file_bytes: int
    index_secrets: bool = False


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """A file to read and what it may cost.

    Attributes:
        cpu_s: CPU time after which the reader is ended.
        by_lines: The limit that the file is known to exceed: it is only cut by lines.
        known_limits: Content hashes of the file's size that are known to exceed a limit, each with the limit.
    """

    file: FileStat
    cpu_s: float = FIRST_TRY_CPU_S
    by_lines: LimitReason | None = None
    known_limits: Mapping[str, LimitReason] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReadOutcome:
    """What became of a file: exactly one of `chunks`, `skip` and `failure` is set.

    Attributes:
        failure: Why the reader ended while it read the file; the file was not read.
    """

    file: FileStat
    chunks: FileChunks | None = None
    skip: Skip | None = None
    failure: DeathReason | None = None


@dataclass(slots=True, eq=False)
class Workers:
    """The worker processes of one indexing slot: one that reads and one that embeds, each if it was needed yet."""

    processes: dict[Role, WorkerProcess] = field(default_factory=dict)

    def end(self, role: Role | None = None) -> None:
        """End the process of a role, or all."""
        for process in [self.processes.pop(name) for name in list(self.processes) if role in (None, name)]:
            process.end()


class WorkerClient:
    """The worker processes, started by the first request and again after a death. Requests come from one thread.

    Args:
        log_path: Where the workers' stderr goes.
    """

    def __init__(self, log_path: Path) -> None:
        self._log_path = log_path
        self._workers = Workers()
        self._closed = False

    @property
    def pids(self) -> dict[Role, int]:
        """The process ids of the workers that run."""
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

        A file that ends the reader, because it exceeds a limit or crashes a parser, costs the other files nothing: it
        is reported as a failure, and the next file is read by a new process.

        Args:
            root: The project root.
            requests: The files.
            options: How they are read and chunked.
            should_interrupt: Asked several times a second while a file is read; `True` ends the reader.
            role: Which process reads.

        Raises:
            WorkerDiedError: The client was closed meanwhile.
            InterruptedReadError: `should_interrupt` returned `True`; the remaining files were not read.
        """
        remaining = deque(requests)
        while remaining:
            frames = (_chunk_request(root, request, options) for request in tuple(remaining))
            try:
                for reply in self._exchange(role, frames, FILES_AHEAD, should_interrupt):
                    yield _read_reply(remaining.popleft().file, reply)
            except WorkerDiedError as error:
                if self._closed:
                    raise
                file = remaining.popleft().file
                logger.warning("%s It was reading %s; another continues with the next file", error.message, file.path)
                if error.reason is None:
                    yield ReadOutcome(file, skip=Skip(file.path, "unreadable"))
                else:
                    yield ReadOutcome(file, failure=error.reason)

    def embed(self, model: str, batches: Iterable[Sequence[str]]) -> Iterator[Vectors]:
        """Embed texts, a batch at a time, in order: one array of shape (len(batch), dimension) each.

        Raises:
            WorkerDiedError: The worker ended; what was not yielded was not embedded.
            WorkerRequestError: The model could not be opened or failed.
        """
        frames = (Frame({"op": "embed", "model": model, "texts": list(batch)}) for batch in batches)
        for reply in self._exchange("embedder", frames, TEXT_BATCHES_AHEAD):
            if "error" in reply.header:
                raise WorkerRequestError(reply.header["error"], code=reply.header["code"])
            shape = (reply.header["count"], reply.header["dimension"])
            yield np.frombuffer(reply.payload, dtype=np.float32).reshape(shape)

    def release(self, role: Role | None = None) -> None:
        """End the workers, or that of a role, and free their memory; the next request starts another."""
        self._workers.end(role)

    def adopt(self, workers: Workers | None) -> None:
        """Continue with workers that another client handed over; `None` changes nothing."""
        if workers is not None:
            self.release()
            self._workers = workers
            if self._closed:  # closed meanwhile, when they were not there to be killed
                self.release()

    def hand_over(self) -> Workers | None:
        """Give the workers away, between two requests; `None` if there are none that could work for another client."""
        if self._closed:
            self.release()
        workers, self._workers = self._workers, Workers()
        return workers if workers.processes else None

    def close(self) -> None:
        """End the workers for good, from any thread; a request under way raises `WorkerDiedError`."""
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
        """Send requests ahead of the replies that are read; a caller who stops early ends the worker."""
        waiting = 0
        known = self._workers.processes.get(role)
        if known is not None and not known.is_alive():
            self._workers.end(role)  # it was ended while it had nothing to do, by none of these requests
        try:
            for request in requests:
                waiting += 1
                self._running(role).send(request)
                if waiting == ahead:
                    reply = self._running(role).receive(should_interrupt)
                    waiting -= 1
                    yield reply
            while waiting:
                reply = self._running(role).receive(should_interrupt)
                waiting -= 1
                yield reply
        finally:
            if waiting:
                self._workers.end(role)

    def _running(self, role: Role) -> WorkerProcess:
        """Return the worker of a role, started if there is none."""
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
            "cpu_s": request.cpu_s,
            "by_lines": request.by_lines,
            "known_limits": dict(request.known_limits),
        }
    )


def _read_reply(file: FileStat, reply: Frame) -> ReadOutcome:
    header = reply.header
    if "error" in header:  # logged by the worker
        return ReadOutcome(file, failure="parser_crashed")
    if "skip" in header:
        return ReadOutcome(file, skip=Skip(file.path, header["skip"]))
    return ReadOutcome(file, chunks=decode_file(header["file"]))
