"""The server's side of the indexing worker: starts it, keeps it busy, survives its death."""

import contextlib
import logging
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from agent_brain_server.errors import AgentBrainError
from agent_brain_server.indexing.frames import Frame, read_frame, write_frame
from agent_brain_server.indexing.worker_log import relay_records
from agent_brain_server.state_files import open_log
from agent_brain_server.types import Chunk, FileChunks, FileRecord, FileStat, Skip, Vectors

logger = logging.getLogger(__name__)

Worker = subprocess.Popen[bytes]

REQUEST_TIMEOUT_S = 60.0
"""A request of a few files takes a second; past this the worker hangs and is ended."""

REQUESTS_AHEAD = 2
"""The worker finds its next request waiting, and the server is never more than this behind when it is cancelled."""

END_TIMEOUT_S = 1.0
"""A worker whose pipe broke is ending; it may finish by itself, so that its own exit code can be told."""

MAX_STDERR_BYTES = 1_000_000
"""Size of the file for the messages of crashing native code, beyond which an empty one takes its place."""


class WorkerDiedError(AgentBrainError):
    """The worker ended or hung in the middle of a request."""

    default_code = "worker_died"


class WorkerRequestError(AgentBrainError):
    """The worker answered that it could not do what was asked."""

    default_code = "worker_failed"
    default_hint = "See why with: agent-brain logs. Then index again: agent-brain index"


@dataclass(frozen=True, slots=True)
class ChunkOptions:
    """How files are read and cut: tokens, tokens, bytes, and whether private keys are read at all."""

    chunk_size: int
    chunk_overlap: int
    max_file_bytes: int
    index_secrets: bool = False


@dataclass(frozen=True, slots=True)
class ChunkedFiles:
    """What the worker made of some files: each is in one of the two."""

    files: tuple[FileChunks, ...]
    skipped: tuple[Skip, ...]


class WorkerClient:
    """One worker process, started at the first request and again after a death. Requests come from one thread.

    Args:
        log_path: Where the worker's stderr goes.
    """

    def __init__(self, log_path: Path) -> None:
        self._log_path = log_path
        self._process: Worker | None = None
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The worker's process id; None while there is none."""
        process = self._process
        return process.pid if process else None

    def chunk_files(
        self, root: Path, batches: Iterable[Sequence[FileStat]], options: ChunkOptions
    ) -> Iterator[ChunkedFiles]:
        """Read and chunk files, a batch at a time, in order.

        A batch on which the worker dies or hangs is tried again file by file. A file that ends it twice, alone, is
        skipped with the reason `parser_crashed`; once may be the system's want of memory, or somebody's kill.

        Raises:
            WorkerDiedError: The client was closed meanwhile.
            WorkerRequestError: The worker could not do it.
        """
        remaining = deque((batch, False) for batch in batches)
        while remaining:
            try:
                for reply in self._exchange(_chunk_request(root, batch, options) for batch, _ in tuple(remaining)):
                    remaining.popleft()
                    yield _decode_chunked(reply)
            except WorkerDiedError as error:
                if self._closed:
                    raise
                logger.warning("%s Reading on with another, from %s", error.message, remaining[0][0][0].path)
                batch, is_second_try = remaining.popleft()
                if is_second_try:
                    logger.warning("%s ended the worker twice and is left out; change it, or exclude it", batch[0].path)
                    yield ChunkedFiles((), (Skip(batch[0].path, "parser_crashed"),))
                else:
                    remaining.extendleft(([file], len(batch) == 1) for file in reversed(batch))

    def embed(self, model: str, batches: Iterable[Sequence[str]]) -> Iterator[Vectors]:
        """Embed texts, a batch at a time, in order: one array of shape (len(batch), dimension) each.

        Raises:
            WorkerDiedError: The worker ended; what was not yielded was not embedded.
            WorkerRequestError: The model could not be opened or failed.
        """
        for reply in self._exchange(Frame({"op": "embed", "model": model, "texts": list(batch)}) for batch in batches):
            shape = (reply.header["count"], reply.header["dimension"])
            yield np.frombuffer(reply.payload, dtype=np.float32).reshape(shape)

    def release(self) -> None:
        """End the worker and give its memory back; the next request starts another."""
        process, self._process = self._process, None
        if process is not None:
            end_worker(process)

    def adopt(self, process: Worker | None) -> None:
        """Go on with a worker that another client handed over; None changes nothing."""
        if process is not None:
            self.release()
            self._process = process
            if self._closed:  # closed meanwhile, when it was not there to be killed
                self.release()

    def hand_over(self) -> Worker | None:
        """Give the worker away, between two requests; None where there is none that could work for another client."""
        if self._closed:
            self.release()
        process, self._process = self._process, None
        return process

    def close(self) -> None:
        """End the worker for good, from any thread; a request under way raises `WorkerDiedError`."""
        self._closed = True
        process = self._process
        if process is not None:
            process.kill()

    def _exchange(self, requests: Iterable[Frame]) -> Iterator[Frame]:
        """Send requests ahead of the replies that are read; a caller who stops early ends the worker."""
        waiting = 0
        if self._process is not None and self._process.poll() is not None:
            self.release()  # it was ended while it had nothing to do, by none of these requests
        try:
            for request in requests:
                self._send(request)
                waiting += 1
                if waiting == REQUESTS_AHEAD:
                    reply = self._receive()
                    waiting -= 1
                    yield reply
            while waiting:
                reply = self._receive()
                waiting -= 1
                yield reply
        finally:
            if waiting:
                self.release()

    def _send(self, request: Frame) -> None:
        if self._closed:
            raise WorkerDiedError("The indexing worker was closed.")
        if self._process is None:
            self._process = _start_worker(self._log_path)
        try:
            write_frame(_opened(self._process.stdin), request)
        except OSError as error:
            raise self._died() from error

    def _receive(self) -> Frame:
        process = self._process
        if process is None:
            raise WorkerDiedError("The indexing worker was closed.")
        watchdog = threading.Timer(REQUEST_TIMEOUT_S, process.kill)
        watchdog.daemon = True
        watchdog.start()
        try:
            reply = read_frame(_opened(process.stdout))
        finally:
            watchdog.cancel()
        if reply is None:
            raise self._died()
        relay_records(reply.header.pop("log", ()), process.pid)
        if "error" in reply.header:
            raise WorkerRequestError(reply.header["error"], code=reply.header["code"])
        return reply

    def _died(self) -> WorkerDiedError:
        """The error that says how the worker ended: its pipe broke, so that it has ended or is about to."""
        process = self._process
        if process is None:
            return WorkerDiedError("The indexing worker was closed.")
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(END_TIMEOUT_S)  # a kill from here would hide the end of its own
        self.release()
        return WorkerDiedError(f"The indexing worker (pid {process.pid}) {_describe_end(process.returncode)}.")


def end_worker(process: Worker) -> None:
    """Kill a worker and let go of its pipes."""
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):
            _opened(stream).close()


def _describe_end(return_code: int) -> str:
    if return_code >= 0:
        return f"ended unexpectedly with exit code {return_code}"
    return f"was ended by signal {-return_code} ({signal.strsignal(-return_code)})"


def _start_worker(log_path: Path) -> Worker:
    # -P: a project's own files must not be importable; close_fds keeps lock and socket with the server alone
    command = [sys.executable, "-P", "-m", "agent_brain_server.indexing.worker"]
    with open(open_log(log_path, max_bytes=MAX_STDERR_BYTES), "ab") as log:
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, cwd="/")


def _opened(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise WorkerDiedError("The indexing worker has no pipe.")
    return stream


def _chunk_request(root: Path, batch: Sequence[FileStat], options: ChunkOptions) -> Frame:
    return Frame(
        {
            "op": "chunk",
            "root": str(root),
            "files": [[file.path, file.size, file.mtime_ns] for file in batch],
            "chunk_size": options.chunk_size,
            "chunk_overlap": options.chunk_overlap,
            "max_bytes": options.max_file_bytes,
            "index_secrets": options.index_secrets,
        }
    )


def _decode_chunked(reply: Frame) -> ChunkedFiles:
    return ChunkedFiles(
        tuple(_decode_file(file) for file in reply.header["files"]),
        tuple(Skip(path, reason) for path, reason in reply.header["skipped"]),
    )


def _decode_file(file: dict[str, Any]) -> FileChunks:
    chunks = tuple(Chunk(**{**chunk, "symbols": tuple(chunk["symbols"])}) for chunk in file["chunks"])
    return FileChunks(FileRecord(**file["record"]), file["language"], file["source_type"], chunks)
