"""The indexing worker as a real process: it chunks, it embeds, it dies, and the server goes on."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from agent_brain_server.indexing.frames import Frame
from agent_brain_server.indexing.worker_client import (
    ChunkOptions,
    WorkerClient,
    WorkerDiedError,
    WorkerRequestError,
)
from agent_brain_server.types import FileStat

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


def test_files_come_back_chunked_in_order(client: WorkerClient, tmp_path: Path) -> None:
    files = write_files(tmp_path, 7)
    results = list(client.chunk_files(tmp_path, [files[:3], files[3:6], files[6:]], OPTIONS))
    chunked = [file for result in results for file in result.files]
    assert [file.record.path for file in chunked] == [file.path for file in files]
    assert chunked[4].chunks[0].symbols == ("function_4",)
    assert chunked[4].chunks[0].text.startswith("def function_4")


def test_what_cannot_be_chunked_is_a_skip_with_its_reason(client: WorkerClient, tmp_path: Path) -> None:
    (tmp_path / "image.dat").write_bytes(b"\0\1\2" * 100)
    (result,) = client.chunk_files(tmp_path, [[FileStat("image.dat", 300, 0), FileStat("gone.py", 5, 0)]], OPTIONS)
    assert {skip.path: skip.reason for skip in result.skipped} == {"image.dat": "binary", "gone.py": "missing"}


def test_texts_become_unit_vectors_in_order(client: WorkerClient) -> None:
    texts = ["open a file", "close the socket", "", "open a file"]
    first, second = client.embed(MODEL, [texts[:3], texts[3:]])
    assert first.shape == (3, 384)
    assert np.allclose(np.linalg.norm(first, axis=1), 1, atol=1e-3)
    assert np.allclose(first[0], second[0], atol=1e-3)
    assert float(first[0] @ first[1]) < 0.9


def test_an_unknown_model_is_an_answer_not_a_death(client: WorkerClient) -> None:
    with pytest.raises(WorkerRequestError, match="nonsense"):
        list(client.embed("nonsense", [["text"]]))
    (vectors,) = client.embed(MODEL, [["text"]])
    assert vectors.shape == (1, 384)


def test_a_worker_that_is_killed_is_replaced_and_nothing_is_lost(client: WorkerClient, tmp_path: Path) -> None:
    files = write_files(tmp_path, 40)
    results = client.chunk_files(tmp_path, [files[i : i + 2] for i in range(0, 40, 2)], OPTIONS)
    chunked = list(next(results).files)
    assert client.pid is not None
    os.kill(client.pid, signal.SIGKILL)
    chunked += [file for result in results for file in result.files]
    assert [file.record.path for file in chunked] == [file.path for file in files]


def test_a_single_file_is_read_although_its_worker_was_killed(client: WorkerClient, tmp_path: Path) -> None:
    files = write_files(tmp_path, 1)
    for _ in range(2):
        (result,) = client.chunk_files(tmp_path, [files], OPTIONS)
        assert [file.record.path for file in result.files] == [files[0].path]
        assert client.pid is not None
        os.kill(client.pid, signal.SIGKILL)


def test_a_file_that_ends_its_worker_twice_is_skipped(client: WorkerClient, tmp_path: Path) -> None:
    files = write_files(tmp_path, 3)
    # of three files together, the first, the second, the second again, the third
    kills = iter([True, False, True, True, False])

    def receive(receive_one: Callable[[], Frame] = client._receive) -> Frame:
        if next(kills, False) and client.pid is not None:
            os.kill(client.pid, signal.SIGKILL)
            os.waitid(os.P_PID, client.pid, os.WEXITED | os.WNOWAIT)
            assert client._process is not None and client._process.stdout is not None
            client._process.stdout.read()
        return receive_one()

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(client, "_receive", receive)
        results = list(client.chunk_files(tmp_path, [files], OPTIONS))
    read = [file.record.path for result in results for file in result.files]
    skipped = [(skip.path, skip.reason) for result in results for skip in result.skipped]
    assert (read, skipped) == ([files[0].path, files[2].path], [(files[1].path, "parser_crashed")])


def test_closing_ends_the_worker_and_refuses_more(client: WorkerClient, tmp_path: Path) -> None:
    files = write_files(tmp_path, 4)
    results = client.chunk_files(tmp_path, [[file] for file in files], OPTIONS)
    next(results)
    client.close()
    with pytest.raises(WorkerDiedError):
        list(results)


def test_the_worker_ends_when_its_server_is_gone(client: WorkerClient, tmp_path: Path) -> None:
    (vectors,) = client.embed(MODEL, [["warm"]])
    assert len(vectors) == 1
    process = client._process
    assert process is not None
    assert process.stdin is not None
    process.stdin.close()  # what the kernel does to the pipe of a server that was killed
    deadline = time.monotonic() + 5
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process.poll() == 0
