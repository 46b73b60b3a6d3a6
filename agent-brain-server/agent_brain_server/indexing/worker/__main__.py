"""Indexing worker: a stateless process of lowest priority that reads and chunks files, or embeds texts.

The server runs one as `reader` and occasionally one as `slow_reader`, both confined by the limits of
`support/limits.py`, and one as `embedder`, which keeps the model in memory and is not confined. A worker reads request
frames from stdin and writes reply frames to stdout, in order:

    {"op": "chunk", "root", "file": [path, size, mtime_ns], "chunk_size", "chunk_overlap", "max_bytes", "index_secrets",
     "index_generated", "cpu_s", "by_lines", "known_limits"}
        → {"file": a file encoded by `protocol.encode_file`} or {"skip": reason}
    {"op": "embed", "model", "texts": […]}
        → {"dimension", "count"} with float32 rows as payload

The reply to a failed request is {"error": …, "code": …}. Each reply has the log records since the previous one as
"log"; the server writes them to its log in the context of the job. The worker exits immediately when stdin is closed,
because the server has exited.
"""

import faulthandler
import io
import logging
import os
import queue
import sys
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from agent_brain_server.indexing.worker.protocol import Frame, RecordCollector, encode_file, read_frames, write_frame
from agent_brain_server.support.limits import EXIT_OUT_OF_MEMORY, allow_cpu, confine_process
from agent_brain_server.support.processes import return_free_memory
from agent_brain_server.support.text import pluralize
from agent_brain_server.types import FileStat, Skip

if TYPE_CHECKING:
    from agent_brain_server.types import Embedder

logger = logging.getLogger("agent_brain_server.indexing.worker")  # `__name__` is `__main__`

EMBEDDER_ROLE = "embedder"  # command-line argument; processes of other roles are confined
LOWEST_PRIORITY = 19  # nice level, so that queries get the CPU first
LARGE_FILE_BYTES = 200_000  # size from which a syntax tree takes tens of megabytes
EMBEDDING_THREADS = 2  # more would slow down the user's machine


class Worker:
    """Processes requests; the modules for a request are imported by its first occurrence."""

    def __init__(self) -> None:
        self._embedders: dict[str, Embedder] = {}

    def answer(self, request: Frame) -> Frame:
        """Return the reply to one request; errors are reported in the reply."""
        work = describe_request(request.header)
        try:
            if request.header["op"] == "chunk":
                return self._chunk_file(request.header)
            return self._embed_texts(request.header)
        except MemoryError:
            raise
        except Exception as error:  # boundary: a bad request must not end the worker
            logger.warning("%s failed", work, exc_info=True)
            message = f"{work} failed: {type(error).__name__}: {error}."
            return Frame({"error": message, "code": getattr(error, "code", "worker_failed")})

    def _chunk_file(self, header: dict[str, Any]) -> Frame:
        from agent_brain_server.indexing.chunking.chunker import chunk_file  # noqa: PLC0415 - not needed to embed
        from agent_brain_server.indexing.reading.loader import ReadingLimits, load_file  # noqa: PLC0415 - as above

        found = FileStat(*header["file"])
        limits = ReadingLimits(header["by_lines"], header["known_limits"])
        allow_cpu(header["cpu_s"])
        loaded = load_file(
            Path(header["root"]),
            found,
            header["max_bytes"],
            index_secrets=header["index_secrets"],
            index_generated=header["index_generated"],
            limits=limits,
        )
        if isinstance(loaded, Skip):
            return Frame({"skip": loaded.reason})
        chunks = chunk_file(loaded, chunk_size=header["chunk_size"], chunk_overlap=header["chunk_overlap"])
        if loaded.size > LARGE_FILE_BYTES:
            return_free_memory()  # otherwise it counts towards the memory limit of the next file
        return Frame({"file": encode_file(chunks)})

    def _embed_texts(self, header: dict[str, Any]) -> Frame:
        embedder = self._embedder(header["model"])
        vectors = embedder.embed(header["texts"])
        return Frame({"dimension": embedder.dimension, "count": len(vectors)}, vectors.tobytes())

    def _embedder(self, model: str) -> "Embedder":
        if model not in self._embedders:
            from agent_brain_server.embedding.embedders import open_embedder  # noqa: PLC0415 - not needed to chunk

            self._embedders[model] = open_embedder(model, threads=EMBEDDING_THREADS)
        return self._embedders[model]


def describe_request(header: dict[str, Any]) -> str:
    """Return a description of a request for messages, with its file or model."""
    if header.get("op") not in ("chunk", "embed"):
        return "A request of unknown kind"
    if header["op"] == "embed":
        return f"Embedding {pluralize(len(header['texts']), 'text')} with the model {header['model']}"
    return f"Reading {header['file'][0]}"


def serve(requests: io.BufferedIOBase, replies: IO[bytes], collector: RecordCollector) -> None:
    """Process requests until the server exits.

    A separate thread reads, so that the server never blocks on a full pipe, and so that the server's exit is noticed
    immediately, even during a long request.

    Args:
        requests: Stream of request frames.
        replies: Stream for reply frames.
        collector: Collects the log records for each reply.
    """
    inbox: queue.SimpleQueue[Frame] = queue.SimpleQueue()

    def receive() -> None:
        for request in read_frames(requests):
            inbox.put(request)
        os._exit(0)  # native code cannot be interrupted in any other way

    threading.Thread(target=receive, name="requests", daemon=True).start()
    worker = Worker()
    while True:
        try:
            reply = worker.answer(inbox.get())
            write_frame(replies, Frame({**reply.header, "log": collector.take()}, reply.payload))
            del reply
        except MemoryError:
            os._exit(EXIT_OUT_OF_MEMORY)  # a regular exit could fail for lack of memory, too
        except OSError:
            return


def main() -> None:
    """Run the worker on this process's stdin and stdout."""
    os.nice(LOWEST_PRIORITY)
    if sys.argv[1:] != [EMBEDDER_ROLE]:
        confine_process()
    collector = RecordCollector()
    logging.basicConfig(handlers=[collector], level=logging.WARNING)
    logging.getLogger("agent_brain_server").setLevel(logging.INFO)
    faulthandler.enable()  # a crash of native code prints the Python stack to stderr
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # output of libraries must not corrupt the frames
    serve(os.fdopen(os.dup(sys.stdin.fileno()), "rb"), replies, collector)


if __name__ == "__main__":
    main()
