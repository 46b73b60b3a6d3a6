"""Real worker processes: reading, embedding, and recovery from their death."""

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agent_brain_server.indexing.worker.client import (
    ChunkOptions,
    InterruptedReadError,
    ReadOutcome,
    ReadRequest,
    WorkerClient,
    WorkerDiedError,
    WorkerRequestError,
)
from agent_brain_server.types import FileStat, Skip

pytestmark = pytest.mark.process

OPTIONS = ChunkOptions(chunk_size=512, chunk_overlap=50, max_file_bytes=1_000_000)
MODEL = "all-MiniLM-L6-v2"


@pytest.fixture
def client(tmp_path: Path) -> Iterator[WorkerClient]:
    client = WorkerClient(tmp_path / "worker.log")
    yield client
    client.release()


def write_files(root: Path, count: int) -> list[FileStat]:
    files = []
    for number in range(count):
        path = root / f"mödule {number}.py"
        path.write_text(f"def function_{number}():\n    return {number}\n", encoding="utf-8")
        found = path.stat()
        files.append(FileStat(path.name, found.st_size, found.st_mtime_ns))
    return files


def read(
    client: WorkerClient, root: Path, *requests: ReadRequest, options: ChunkOptions = OPTIONS
) -> list[ReadOutcome]:
    return list(client.read_files(root, requests, options))


def stat_file(root: Path, name: str) -> FileStat:
    found = (root / name).stat()
    return FileStat(name, found.st_size, found.st_mtime_ns)


def test_read_files_returns_chunks_in_order(client: WorkerClient, tmp_path: Path) -> None:
    files = write_files(tmp_path, 70)
    chunked = [outcome.chunks for outcome in read(client, tmp_path, *map(ReadRequest, files))]
    assert [file.record.path for file in chunked if file] == [file.path for file in files]
    assert chunked[4] is not None
    assert chunked[4].chunks[0].symbols == ("function_4",)
    assert chunked[4].chunks[0].text.startswith("def function_4")


def test_read_files_reports_skips_with_reason(client: WorkerClient, tmp_path: Path) -> None:
    (tmp_path / "image.dat").write_bytes(b"\0\1\2" * 100)
    files = [FileStat("image.dat", 300, 0), FileStat("gone.py", 5, 0)]
    outcomes = read(client, tmp_path, *map(ReadRequest, files))
    assert [outcome.skip for outcome in outcomes] == [Skip("image.dat", "binary"), Skip("gone.py", "missing")]


@pytest.mark.parametrize(
    ("data", "cpu_s", "reason"),
    [(b"x = [1, 2, 3]\n" * 70_000, 0.05, "cpu_limit"), (b"ab\n" * 10_000_000, 60.0, "memory_limit")],
)
def test_read_files_over_limit_costs_no_other_file(
    client: WorkerClient, tmp_path: Path, data: bytes, cpu_s: float, reason: str
) -> None:
    files = write_files(tmp_path, 3)
    (tmp_path / "costly.py").write_bytes(data)
    costly = ReadRequest(stat_file(tmp_path, "costly.py"), cpu_s)
    first, failed, *others = read(
        client,
        tmp_path,
        *(ReadRequest(files[0]), costly, ReadRequest(files[1]), ReadRequest(files[2])),
        options=replace(OPTIONS, max_file_bytes=100_000_000),
    )
    assert failed == ReadOutcome(costly.file, failure=reason)
    assert [outcome.chunks.record.path for outcome in (first, *others) if outcome.chunks] == [f.path for f in files]


def test_read_files_is_interrupted_while_a_file_is_read(client: WorkerClient, tmp_path: Path) -> None:
    (tmp_path / "slow.txt").write_text("ab\n" * 2_000_000)
    requests = [ReadRequest(stat_file(tmp_path, "slow.txt"), 60.0)]
    options = replace(OPTIONS, max_file_bytes=100_000_000)
    with pytest.raises(InterruptedReadError):
        list(client.read_files(tmp_path, requests, options, lambda: True))
    assert client.pids == {}


def test_embed_returns_unit_vectors_in_order(client: WorkerClient) -> None:
    texts = ["open a file", "close the socket", "", "open a file"]
    first, second = client.embed(MODEL, [texts[:3], texts[3:]])
    assert first.shape == (3, 384)
    assert np.allclose(np.linalg.norm(first, axis=1), 1, atol=1e-3)
    assert np.allclose(first[0], second[0], atol=1e-3)
    assert float(first[0] @ first[1]) < 0.9


def test_embed_unknown_model_raises_request_error(client: WorkerClient) -> None:
    with pytest.raises(WorkerRequestError, match="nonsense"):
        list(client.embed("nonsense", [["text"]]))
    (vectors,) = client.embed(MODEL, [["text"]])
    assert vectors.shape == (1, 384)


def test_read_files_replaces_killed_reader(client: WorkerClient, tmp_path: Path) -> None:
    files = write_files(tmp_path, 300)
    results = client.read_files(tmp_path, map(ReadRequest, files), OPTIONS)
    outcomes = [next(results)]
    os.kill(client.pids["reader"], signal.SIGKILL)
    outcomes += results
    assert [outcome.file for outcome in outcomes] == files
    assert [outcome.failure for outcome in outcomes if outcome.chunks is None] in ([], ["killed"])


def test_read_files_after_idle_kill_reads_all(client: WorkerClient, tmp_path: Path) -> None:
    files = write_files(tmp_path, 1)
    for _ in range(2):
        (outcome,) = read(client, tmp_path, ReadRequest(files[0]))
        assert outcome.chunks is not None
        os.kill(client.pids["reader"], signal.SIGKILL)
        os.waitid(os.P_PID, client.pids["reader"], os.WEXITED | os.WNOWAIT)


def test_close_ends_worker_and_refuses_requests(client: WorkerClient, tmp_path: Path) -> None:
    files = write_files(tmp_path, 40)
    results = client.read_files(tmp_path, map(ReadRequest, files), OPTIONS)
    next(results)
    client.close()
    with pytest.raises(WorkerDiedError):
        list(results)


def test_worker_exits_with_its_server(client: WorkerClient, tmp_path: Path) -> None:
    (vectors,) = client.embed(MODEL, [["warm"]])
    assert len(vectors) == 1
    process = client._workers.processes["embedder"]._process
    assert process.stdin is not None
    process.stdin.close()  # as the kernel does if the server is killed
    deadline = time.monotonic() + 180
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process.poll() == 0
