"""Replies of the worker, and the exit of its process."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from agent_brain_server.config.settings import ProjectConfig
from agent_brain_server.indexing.worker.__main__ import LOWEST_PRIORITY, Worker
from agent_brain_server.indexing.worker.protocol import Frame, decode_file, read_frames, write_frame
from agent_brain_server.support.limits import allow_cpu

LIMIT_S = 600.0


@pytest.fixture(autouse=True)
def no_cpu_limit() -> Iterator[None]:
    yield
    allow_cpu(0)  # the request has limited this process


def ask_for_chunks(root: Path, path: str, **fields: object) -> Frame:
    header = {"op": "chunk", "root": str(root), "file": [path, 1, 2], "chunk_size": 512, "chunk_overlap": 50}
    limits = {"cpu_s": LIMIT_S, "by_lines": None, "known_limits": {}}
    return Frame({**header, "max_bytes": 1_000, "index_secrets": False, "index_generated": False, **limits, **fields})


def test_chunk_request_returns_chunks_or_skip_reason(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("def first():\n    return 1\n")
    (tmp_path / "long.txt").write_text("word " * 1_000)
    file = decode_file(Worker().answer(ask_for_chunks(tmp_path, "a.py")).header["file"])
    assert (file.record.path, file.language, file.limit) == ("a.py", "python", None)
    assert [chunk.symbols for chunk in file.chunks] == [("first",)]
    for path, reason in (("long.txt", "too_large"), ("gone.py", "missing")):
        assert Worker().answer(ask_for_chunks(tmp_path, path)).header == {"skip": reason}


def test_chunk_request_with_known_limit_splits_by_lines(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text("<h1>Title</h1>\n")
    parsed = decode_file(Worker().answer(ask_for_chunks(tmp_path, "a.html")).header["file"])
    known = {parsed.record.content_hash: "memory_limit"}
    for fields in ({"by_lines": "memory_limit"}, {"known_limits": known}):
        file = decode_file(Worker().answer(ask_for_chunks(tmp_path, "a.html", **fields)).header["file"])
        assert ([chunk.text for chunk in file.chunks], file.limit) == (["<h1>Title</h1>"], "memory_limit")
    other = decode_file(
        Worker().answer(ask_for_chunks(tmp_path, "a.html", known_limits={"0" * 64: "x"})).header["file"]
    )
    assert [chunk.text for chunk in other.chunks] == ["# Title"]
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.7")
    assert Worker().answer(ask_for_chunks(tmp_path, "a.pdf", by_lines="cpu_limit")).header == {"skip": "cpu_limit"}


def test_embed_request_returns_unit_vectors_in_order() -> None:
    worker = Worker()
    model = ProjectConfig().embedding_model
    replies = [worker.answer(Frame({"op": "embed", "model": model, "texts": texts})) for texts in (["a", "bc"], ["bc"])]
    vectors = [np.frombuffer(reply.payload, np.float32).reshape(reply.header["count"], -1) for reply in replies]
    assert vectors[0].shape == (2, replies[0].header["dimension"])
    assert np.linalg.norm(vectors[0], axis=1) == pytest.approx(1, abs=1e-5)
    assert vectors[0][1] == pytest.approx(vectors[1][0], abs=1e-5)


@pytest.mark.parametrize(
    ("request_header", "code"),
    [
        ({}, "worker_failed"),
        ({"op": "embed", "model": "unknown:model", "texts": ["x"]}, "invalid_config"),
        ({"op": "chunk", "root": "/", "file": ["a"]}, "worker_failed"),
    ],
)
def test_failed_request_is_answered(request_header: dict, code: str) -> None:
    reply = Worker().answer(Frame(request_header))
    assert reply.header["error"]
    assert reply.header["code"] == code


@pytest.fixture
def process():
    command = [sys.executable, "-m", "agent_brain_server.indexing.worker"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as started:
        yield started
        started.kill()


@pytest.mark.process
def test_process_answers_in_order_at_lowest_priority(process, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    for path in ("a.py", "gone.py"):
        write_frame(process.stdin, ask_for_chunks(tmp_path, path))
    replies = read_frames(process.stdout)
    assert decode_file(next(replies).header["file"]).record.path == "a.py"
    assert next(replies).header["skip"] == "missing"
    nice = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[16]
    assert int(nice) == LOWEST_PRIORITY


@pytest.mark.process
def test_process_exits_when_stdin_closes_during_work(process, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n" * 100)
    for _ in range(1_000):
        write_frame(process.stdin, ask_for_chunks(tmp_path, "a.py"))
    process.stdin.close()
    assert process.wait(LIMIT_S) == 0
