"""The indexing worker: a process of lowest priority that reads and chunks files, or embeds texts, and holds no state.

The server runs one as `reader`, and at times one as `slow_reader`, which the kernel confines to the limits of
`reading_limits`, and one as `embedder`, which keeps the model and has no such limits. It answers request frames on
stdin with reply frames on stdout, in order:

    {"op": "chunk", "root", "file": [path, size, mtime_ns], "chunk_size", "chunk_overlap", "max_bytes", "index_secrets",
     "cpu_s", "by_lines", "known_limits"}
        → {"file": a file as `file_wire` encodes it} or {"skip": reason}, with {"content_hash"} if it could be read
    {"op": "embed", "model", "texts": […]}
        → {"dimension", "count"} and float32 rows as payload

A request that fails is answered {"error": …, "code": …}. Every reply includes what was logged since the last one, as
"log": the server writes it into its own log, beside the job that it was written for. When stdin closes, the server is
gone and the worker ends at once, in the middle of whatever it was doing.
"""

import faulthandler
import logging
import os
import queue
import sys
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from agent_brain_server.indexing.reading.limits import EXIT_OUT_OF_MEMORY, allow_cpu, confine_process
from agent_brain_server.indexing.worker.wire import Frame, RecordCollector, read_frame, write_frame
from agent_brain_server.support.processes import return_free_memory
from agent_brain_server.support.text import pluralize
from agent_brain_server.types import FileStat, Skip

if TYPE_CHECKING:
    from agent_brain_server.types import Embedder

logger = logging.getLogger("agent_brain_server.indexing.worker")  # run as a program, this module is `__main__`

EMBEDDER_ROLE = "embedder"
"""Argument of a process that embeds; all others are confined to the limits of reading."""

LOWEST_PRIORITY = 19
"""Nice level: a query that needs a core gets it before the worker does."""

LARGE_FILE_BYTES = 200_000
"""Bytes; the syntax tree of a larger file takes tens of megabytes."""

EMBEDDING_THREADS = 2
"""Texts are embedded side by side; more threads than this would take the machine from its owner."""


class Worker:
    """Answers requests; imports what a request needs when the first one needs it."""

    def __init__(self) -> None:
        self._embedders: dict[str, Embedder] = {}

    def answer(self, request: Frame) -> Frame:
        """Return the reply to one request; a failure is a reply too."""
        work = describe_request(request.header)
        try:
            if request.header["op"] == "chunk":
                return self._chunk_file(request.header)
            return self._embed_texts(request.header)
        except MemoryError:
            raise
        except Exception as error:  # border: one bad request must not end the worker
            logger.warning("%s failed", work, exc_info=True)
            message = f"{work} failed: {type(error).__name__}: {error}."
            return Frame({"error": message, "code": getattr(error, "code", "worker_failed")})

    def _chunk_file(self, header: dict[str, Any]) -> Frame:
        from agent_brain_server.indexing.chunking.chunker import chunk_file  # noqa: PLC0415 - not needed to embed
        from agent_brain_server.indexing.reading.loader import ReadingLimits, load_file  # noqa: PLC0415 - not needed to embed
        from agent_brain_server.indexing.worker.wire import encode_file  # noqa: PLC0415 - not needed to embed

        found = FileStat(*header["file"])
        limits = ReadingLimits(header["by_lines"], header["known_limits"])
        allow_cpu(header["cpu_s"])
        loaded = load_file(
            Path(header["root"]), found, header["max_bytes"], index_secrets=header["index_secrets"], limits=limits
        )
        if isinstance(loaded, Skip):
            return Frame({"skip": loaded.reason})
        chunks = chunk_file(loaded, chunk_size=header["chunk_size"], chunk_overlap=header["chunk_overlap"])
        if loaded.size > LARGE_FILE_BYTES:
            return_free_memory()  # what it leaves behind would count towards the limit of the next file
        return Frame({"file": encode_file(chunks)})

    def _embed_texts(self, header: dict[str, Any]) -> Frame:
        embedder = self._embedder(header["model"])
        vectors = embedder.embed(header["texts"])
        return Frame({"dimension": embedder.dimension, "count": len(vectors)}, vectors.tobytes())

    def _embedder(self, model: str) -> "Embedder":
        if model not in self._embedders:
            from agent_brain_server.embedding.named import open_embedder  # noqa: PLC0415 - not needed to chunk

            self._embedders[model] = open_embedder(model, threads=EMBEDDING_THREADS)
        return self._embedders[model]


def describe_request(header: dict[str, Any]) -> str:
    """Say what a request asks for, naming its file or its model."""
    if header.get("op") not in ("chunk", "embed"):
        return "A request of no known kind"
    if header["op"] == "embed":
        return f"Embedding {pluralize(len(header['texts']), 'text')} with the model {header['model']}"
    return f"Reading {header['file'][0]}"


def serve(requests: IO[bytes], replies: IO[bytes], collector: RecordCollector) -> None:
    """Answer frames until the server is gone.

    Args:
        requests: Frames to answer.
        replies: Where the answers go.
        collector: Has what was logged meanwhile.

    A thread of its own reads, so that the server never blocks on a full pipe and the end of the server is noticed at
    once, even while a long request is being answered.
    """
    inbox: queue.SimpleQueue[Frame] = queue.SimpleQueue()

    def receive() -> None:
        while (request := read_frame(requests)) is not None:
            inbox.put(request)
        os._exit(0)  # the server is gone: nobody wants the answer, and native code can't be interrupted otherwise

    threading.Thread(target=receive, name="requests", daemon=True).start()
    worker = Worker()
    while True:
        try:
            reply = worker.answer(inbox.get())
            write_frame(replies, Frame({**reply.header, "log": collector.take()}, reply.payload))
            del reply
        except MemoryError:
            os._exit(EXIT_OUT_OF_MEMORY)  # whatever else is tried here may fail in the same way
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
    faulthandler.enable()  # native code that crashes leaves on stderr where it was
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints must not fall between the frames
    serve(sys.stdin.buffer, replies, collector)


if __name__ == "__main__":
    main()
