"""The log: one JSON object per line, rotated, with an id that says whose work a line was."""

import json
import logging
import subprocess
import sys
import warnings

import pytest

from agent_brain_server.lifecycle import log
from agent_brain_server.lifecycle.log import (
    JsonFormatter,
    bind_correlation_id,
    bind_job,
    configure_logging,
    correlation_id,
)


@pytest.fixture
def logger(tmp_path):
    """A logger whose lines go to tmp_path/server.log; the process's logging is as before afterwards."""
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


def test_a_line_says_when_who_what_and_for_whom(tmp_path, logger):
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


def test_an_exception_stays_on_one_line(tmp_path, logger):
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logger.exception("failed")
    (line,) = read_lines(tmp_path)
    assert "ValueError: two\nlines" in line["exception"]


def test_anything_can_be_logged(tmp_path, logger):
    logger.info("lone surrogate \udce4 and object", extra={"thing": object()})
    (line,) = read_lines(tmp_path)
    assert line["thing"].startswith("<object")


def test_details_are_left_out_unless_asked_for(tmp_path, logger):
    logger.debug("detail")
    logging.getLogger("httpx").info("chatter")
    assert read_lines(tmp_path) == []


def test_warnings_of_libraries_are_logged(tmp_path, logger):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        logging.captureWarnings(False)
    assert "old" in read_lines(tmp_path)[0]["message"]


@pytest.mark.process
def test_the_log_is_rotated_by_size_and_five_old_ones_are_kept(tmp_path):
    # in a process of its own, so that the limit can be small without waiting for two megabytes
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


def test_a_line_of_a_job_names_the_job_and_whoever_asked_for_it(tmp_path, logger):
    with bind_job("job_1", "req-1"):
        logger.info("asked for")
    with bind_job("job_2", None):
        logger.info("the tree was seen to change")
    logger.info("outside")
    asked, seen, outside = read_lines(tmp_path)
    assert (asked["job_id"], asked["correlation_id"]) == ("job_1", "req-1")
    assert (seen["job_id"], seen["correlation_id"]) == ("job_2", "job_2")
    assert not {"job_id", "correlation_id", "instance_id"} & outside.keys()


def test_each_line_names_its_run_and_the_exception_of_another_process():
    record = logging.makeLogRecord({"msg": "failed", "levelname": "WARNING", "exc_text": "ValueError: far away"})
    line = json.loads(JsonFormatter({"instance_id": "ds_1"}).format(record))
    assert (line["instance_id"], line["exception"]) == ("ds_1", "ValueError: far away")


@pytest.mark.process
def test_the_end_of_the_previous_run_outlives_any_number_of_rotations(tmp_path):
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
