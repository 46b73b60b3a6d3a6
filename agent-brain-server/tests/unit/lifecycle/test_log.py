"""The log has one JSON object per line, with ids of requests and jobs, and is rotated."""

import json
import logging
import subprocess
import sys
import warnings

import pytest

from agent_brain_server.lifecycle import log
from agent_brain_server.lifecycle.log import (
    TAIL_LINE_LENGTH,
    JsonFormatter,
    bind_correlation_id,
    bind_job,
    configure_logging,
    correlation_id,
    read_log_tail,
)


@pytest.fixture
def logger(tmp_path):
    """Return a logger that writes to tmp_path/server.log; restore the logging of the process afterwards."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    configure_logging(tmp_path)
    yield logging.getLogger("agent_brain_server.test")
    logging.captureWarnings(False)
    root.setLevel(level)
    for handler in set(root.handlers) - set(handlers):
        root.removeHandler(handler)
        handler.close()


def read_lines(tmp_path):
    return [json.loads(line) for line in (tmp_path / "server.log").read_text(encoding="utf-8").splitlines()]


def test_line_has_time_level_message_and_ids(tmp_path, logger):
    with bind_correlation_id("req-1"):
        logger.info("Indexed %d files in %s", 3, "große Projekte", extra={"job_id": "j1"})
    logger.info("outside")
    inside, outside = read_lines(tmp_path)
    assert inside["message"] == "Indexed 3 files in große Projekte"
    assert inside["level"] == "info"
    assert inside["logger"] == "agent_brain_server.test"
    assert inside["correlation_id"] == "req-1"
    assert inside["job_id"] == "j1"
    assert inside["time"].endswith("+00:00")
    assert "correlation_id" not in outside
    assert correlation_id.get() is None


def test_exception_is_on_one_line(tmp_path, logger):
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logger.exception("failed")
    (line,) = read_lines(tmp_path)
    assert "ValueError: two\nlines" in line["exception"]


def test_surrogates_and_objects_are_logged(tmp_path, logger):
    logger.info("lone surrogate \udce4 and object", extra={"thing": object()})
    (line,) = read_lines(tmp_path)
    assert line["thing"].startswith("<object")


def test_debug_lines_are_omitted_by_default(tmp_path, logger):
    logger.debug("detail")
    logging.getLogger("httpx").info("chatter")
    assert read_lines(tmp_path) == []


def test_python_warnings_are_logged(tmp_path, logger):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        logging.captureWarnings(False)
    assert "old" in read_lines(tmp_path)[0]["message"]


@pytest.mark.process
def test_log_is_rotated_by_size(tmp_path):
    # in another process, where the limit can be lowered
    script = (
        "import logging, sys\nfrom pathlib import Path\nfrom agent_brain_server.lifecycle import log\n"
        "log.MAX_LOG_BYTES = 1000\nlog.configure_logging(Path(sys.argv[1]))\n"
        "for number in range(200): logging.info('line %d', number)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["server.log", *(f"server.log.{number}" for number in range(1, log.KEPT_LOGS + 1))]
    assert all(path.stat().st_size <= 1000 for path in tmp_path.iterdir())
    assert "line 199" in (tmp_path / "server.log").read_text()


def test_bind_job_marks_lines_with_job_and_request(tmp_path, logger):
    with bind_job("job_1", "req-1"):
        logger.info("asked for")
    with bind_job("job_2", None):
        logger.info("started by the watcher")
    logger.info("outside")
    asked, seen, outside = read_lines(tmp_path)
    assert (asked["job_id"], asked["correlation_id"]) == ("job_1", "req-1")
    assert (seen["job_id"], seen["correlation_id"]) == ("job_2", "job_2")
    assert not {"job_id", "correlation_id", "instance_id"} & outside.keys()


def test_format_adds_instance_id_and_remote_exception():
    record = logging.makeLogRecord({"msg": "failed", "levelname": "WARNING", "exc_text": "ValueError: far away"})
    line = json.loads(JsonFormatter({"instance_id": "ds_1"}).format(record))
    assert (line["instance_id"], line["exception"]) == ("ds_1", "ValueError: far away")


@pytest.mark.process
def test_rotation_keeps_the_end_of_the_previous_run(tmp_path):
    script = (
        "import logging, sys\nfrom pathlib import Path\nfrom agent_brain_server.lifecycle import log\n"
        "log.MAX_LOG_BYTES = 1000\nlog.configure_logging(Path(sys.argv[1]))\n"
        "for number in range(int(sys.argv[3])): logging.info('%s %d', sys.argv[2], number)\n"
    )
    for run, lines in (("first", 300), ("second", 3), ("third", 300)):
        subprocess.run([sys.executable, "-c", script, str(tmp_path), run, str(lines)], check=True)
    kept = (tmp_path / "server.previous.log").read_text()
    assert "second 2" in kept
    numbered = "".join(path.read_text() for path in tmp_path.glob("server.log*"))
    assert "second" not in numbered
    assert "third 299" in numbered


def test_read_log_tail_returns_readable_lines(tmp_path):
    path = tmp_path / "some.log"
    record = logging.LogRecord("x", logging.ERROR, "f", 1, "Port %d is taken", (80,), None)
    path.write_text(f"old\nnot json\n{JsonFormatter().format(record)}\n[3]\n{'y' * 9000}\n")
    tail = read_log_tail(path, offset=4)
    assert tail[:3] == ["not json", "error: Port 80 is taken", "[3]"]
    assert len(tail[3]) == TAIL_LINE_LENGTH
    assert read_log_tail(path, lines=1) == tail[3:]
    assert read_log_tail(tmp_path / "missing") == []
