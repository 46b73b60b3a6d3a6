"""The tail of a log is for people."""

import logging

from agent_brain_server.lifecycle.log import TAIL_LINE_LENGTH, JsonFormatter, read_log_tail


def test_the_tail_is_put_into_words(tmp_path):
    path = tmp_path / "some.log"
    record = logging.LogRecord("x", logging.ERROR, "f", 1, "Port %d is taken", (80,), None)
    path.write_text(f"old\nnot json\n{JsonFormatter().format(record)}\n[3]\n{'y' * 9000}\n")
    tail = read_log_tail(path, offset=4)
    assert tail[:3] == ["not json", "error: Port 80 is taken", "[3]"]
    assert len(tail[3]) == TAIL_LINE_LENGTH
    assert read_log_tail(path, lines=1) == tail[3:]
    assert read_log_tail(tmp_path / "missing") == []
