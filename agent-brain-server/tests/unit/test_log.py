"""The log: one JSON object per line, rotated, with an id that says whose work a line was."""

import json
import logging
import subprocess
import sys
import warnings

import pytest

from agent_brain_server import log
from agent_brain_server.log import bind_correlation_id, configure_logging, correlation_id


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


def test_the_log_is_rotated_by_size_and_five_old_ones_are_kept(tmp_path):
    # in a process of its own, so that the limit can be small without waiting for two megabytes
    script = (
        "import logging, sys\nfrom pathlib import Path\nfrom agent_brain_server import log\n"
        "log.MAX_LOG_BYTES = 1000\nlog.configure_logging(Path(sys.argv[1]))\n"
        "for number in range(200): logging.info('line %d', number)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["server.log", *(f"server.log.{number}" for number in range(1, log.KEPT_LOGS + 1))]
    assert all(path.stat().st_size <= 1000 for path in tmp_path.iterdir())
    assert "line 199" in (tmp_path / "server.log").read_text()
