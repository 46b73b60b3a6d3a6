"""The worker's answers, and the end of the process."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from agent_brain_server.config.settings import ProjectConfig
from agent_brain_server.indexing.frames import Frame, read_frame, write_frame
from agent_brain_server.indexing.worker import LOWEST_PRIORITY, Worker

LIMIT_S = 30.0


def ask_for_chunks(root: Path, *files: str) -> Frame:
    listed = [[path, 1, 2] for path in files]
    header = {"op": "chunk", "root": str(root), "files": listed, "chunk_size": 512, "chunk_overlap": 50}
    return Frame({**header, "max_bytes": 1_000})


def test_files_come_back_as_chunks_or_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("def first():\n    return 1\n")
    (tmp_path / "long.txt").write_text("word " * 1_000)
    reply = Worker().answer(ask_for_chunks(tmp_path, "a.py", "long.txt", "gone.py"))
    (file,) = reply.header["files"]
    assert (file["record"]["path"], file["language"]) == ("a.py", "python")
    assert [chunk["symbols"] for chunk in file["chunks"]] == [("first",)]
    assert reply.header["skipped"] == [["long.txt", "too_large"], ["gone.py", "missing"]]


def test_texts_come_back_as_unit_vectors_in_their_order() -> None:
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
        ({"op": "embed", "model": "nobody:nothing", "texts": ["x"]}, "invalid_config"),
        ({"op": "chunk", "root": "/", "files": [["a"]]}, "worker_failed"),
    ],
)
def test_a_request_that_fails_is_answered(request_header: dict, code: str) -> None:
    reply = Worker().answer(Frame(request_header))
    assert reply.header["error"]
    assert reply.header["code"] == code


@pytest.fixture
def process():
    command = [sys.executable, "-m", "agent_brain_server.indexing.worker"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as started:
        yield started
        started.kill()


def test_the_process_answers_in_order_with_the_lowest_priority(process, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    for path in ("a.py", "gone.py"):
        write_frame(process.stdin, ask_for_chunks(tmp_path, path))
    assert read_frame(process.stdout).header["skipped"] == []
    assert read_frame(process.stdout).header["skipped"] == [["gone.py", "missing"]]
    nice = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[16]
    assert int(nice) == LOWEST_PRIORITY


def test_the_process_ends_when_its_server_is_gone_even_at_work(process, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n" * 100)
    for _ in range(50):
        write_frame(process.stdin, ask_for_chunks(tmp_path, *["a.py"] * 20))
    process.stdin.close()
    assert process.wait(LIMIT_S) == 0
