"""Log records of the worker in the server's log, with the context of the job."""

import json
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent_brain_server.indexing.worker.client import ChunkOptions, ReadRequest, WorkerClient, WorkerRequestError
from agent_brain_server.indexing.worker.protocol import MAX_RECORDS, RecordCollector, relay_records
from agent_brain_server.lifecycle.log import JsonFormatter, bind_job
from agent_brain_server.types import FileStat

OPTIONS = ChunkOptions(chunk_size=512, chunk_overlap=50, max_file_bytes=1_000_000)


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[list[dict[str, object]]]:
    """Lines of the server's log, added during the test."""
    written: list[dict[str, object]] = []

    class Writer(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            written.append(json.loads(JsonFormatter().format(record)))

    caplog.set_level(logging.INFO)
    handler = Writer()
    logging.getLogger("agent_brain_server").addHandler(handler)
    yield written
    logging.getLogger("agent_brain_server").removeHandler(handler)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[WorkerClient]:
    client = WorkerClient(tmp_path / "worker.log")
    yield client
    client.release()


@pytest.mark.process
def test_worker_log_has_file_job_request_and_pid(
    client: WorkerClient, tmp_path: Path, lines: list[dict[str, object]]
) -> None:
    pytest.importorskip("pypdf")
    (tmp_path / "torn.pdf").write_bytes(b"%PDF-1.7 and nothing more")
    with bind_job("job_1", "req-1"):
        list(client.read_files(tmp_path, [ReadRequest(FileStat("torn.pdf", 25, 0))], OPTIONS))
    (line,) = [line for line in lines if "torn.pdf" in str(line["message"])]
    assert (line["job_id"], line["correlation_id"], line["level"]) == ("job_1", "req-1", "info")
    assert line["worker_pid"] == client.pids["reader"]
    assert "Traceback" in str(line["exception"])


@pytest.mark.process
def test_worker_log_model_failure_has_next_step(client: WorkerClient, lines: list[dict[str, object]]) -> None:
    with pytest.raises(WorkerRequestError, match="with the model nonsense failed") as caught:
        list(client.embed("nonsense", [["text"]]))
    assert "agent-brain logs" in caught.value.hint
    assert any("nonsense" in str(line["message"]) for line in lines)


@pytest.mark.process
def test_worker_log_death_has_cause_and_file(
    client: WorkerClient, tmp_path: Path, lines: list[dict[str, object]]
) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    request = ReadRequest(FileStat("a.py", 6, 0))
    list(client.read_files(tmp_path, [request], OPTIONS))
    results = client.read_files(tmp_path, [request] * 500, OPTIONS)
    next(results)
    os.kill(client.pids["reader"], signal.SIGKILL)
    assert len(list(results)) >= 1
    (ended,) = [str(line["message"]) for line in lines if "was ended by signal 9" in str(line["message"])]
    assert "a.py" in ended


def test_record_collector_escapes_and_bounds_records() -> None:
    collector = RecordCollector()
    for number in range(MAX_RECORDS + 50):
        collector.handle(logging.makeLogRecord({"msg": f"\udce4 {number}"}))
    records = collector.take()
    assert len(records) == MAX_RECORDS
    assert records[0]["msg"] == "\\udce4 0"
    assert collector.take() == []


def test_relay_records_respects_log_level(lines: list[dict[str, object]]) -> None:
    logging.getLogger("agent_brain_server").setLevel(logging.WARNING)
    try:
        record = {"name": "agent_brain_server.indexing.x", "created": 1.0, "msg": "m"}
        relay_records([{**record, "levelno": logging.INFO}, {**record, "levelno": logging.ERROR}], 7)
    finally:
        logging.getLogger("agent_brain_server").setLevel(logging.NOTSET)
    assert [line["level"] for line in lines] == ["error"]
    assert str(lines[0]["time"]).startswith("1970-01-01T00:00:01")
