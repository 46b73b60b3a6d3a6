"""The log is read backwards through its rotated files, and followed through further rotations."""

import json
import logging
import threading
import time

import pytest

from agent_brain_cli.commands.logs import LineFilter, follow, open_log, parse_line, read_last
from agent_brain_server.lifecycle import log

EVERYTHING = LineFilter()
FOLLOW_LIMIT_S = 600.0


@pytest.fixture
def write_run(tmp_path, monkeypatch):
    """Return a function that writes lines as one run of a server, through the server's own handler."""
    monkeypatch.setattr(log, "MAX_LOG_BYTES", 1000)

    def write(run, numbers, level=logging.INFO):
        handler = log.RunKeepingHandler(tmp_path / "server.log")
        handler.setFormatter(log.JsonFormatter({"instance_id": run}))
        for number in numbers:
            handler.handle(logging.LogRecord("x", level, "f", 1, "%s %d", (run, number), None))
            time.sleep(0)
        handler.close()

    return write


def read(log_dir, count, line_filter=EVERYTHING, *, previous=False):
    with open_log(log_dir) as newest:
        return [entry["message"] for entry in read_last(log_dir, newest, count, line_filter, previous=previous)]


def test_read_last_reads_rotated_files(tmp_path, write_run):
    write_run("a", range(30))
    assert (tmp_path / "server.log.2").exists()
    assert read(tmp_path, 20) == [f"a {number}" for number in range(10, 30)]
    assert read(tmp_path, 0) == []


def test_read_last_finds_the_previous_run(tmp_path, write_run):
    write_run("a", range(3))
    write_run("b", range(3))
    assert read(tmp_path, 2, previous=True) == ["a 1", "a 2"]
    write_run("c", range(100))
    assert not any("b 2" in path.read_text() for path in tmp_path.glob("server.log*"))
    assert read(tmp_path, 50, previous=True) == ["b 0", "b 1", "b 2"]


def test_read_last_previous_of_first_run_is_empty(tmp_path, write_run):
    write_run("a", range(3))
    assert read(tmp_path, 10, previous=True) == []


def test_read_last_skips_lines_below_the_level(tmp_path, write_run):
    write_run("a", [1], logging.WARNING)
    write_run("a", [2, 3, 4])
    write_run("a", [5], logging.ERROR)
    assert read(tmp_path, 2, LineFilter("warning")) == ["a 1", "a 5"]


@pytest.mark.parametrize("line", [b"torn {", b"[1]", b'{"message": 3}', b"\xff\xfe", b"[" * 100_000])
def test_parse_line_of_foreign_line_keeps_its_text(line):
    entry = parse_line(line)
    assert entry == {"message": line.decode("utf-8", "replace")}
    assert LineFilter("error").matches(entry)


def test_follow_shows_every_line_once_through_rotations(tmp_path, write_run):
    write_run("a", range(3))
    newest = open_log(tmp_path)
    assert [entry["message"] for entry in read_last(tmp_path, newest, 1, EVERYTHING)] == ["a 2"]
    with (tmp_path / "server.log").open("ab") as file:
        file.write(b'{"message": "half')
    lines = follow(tmp_path, newest, EVERYTHING)
    seen = []
    deadline = time.monotonic() + FOLLOW_LIMIT_S

    def write_slowly():
        with (tmp_path / "server.log").open("ab") as file:
            file.write(b' a line"}\n')
        for number in range(10, 40):
            write_run("b", [number])
            time.sleep(0.1)  # so that at most one rotation happens between two reads

    writer = threading.Thread(target=write_slowly)
    writer.start()
    while "b 39" not in seen:
        seen.append(next(lines)["message"])
        assert time.monotonic() < deadline
    writer.join()
    lines.close()
    assert seen == ["half a line", *(f"b {number}" for number in range(10, 40))]


def test_parse_line_keeps_extra_keys():
    assert parse_line(json.dumps({"message": "m", "job_id": "j"}).encode())["job_id"] == "j"


def test_line_filter_by_project():
    mine, other, unowned = ({"message": "m", "project_id": name} for name in ("p_1", "p_2", None))
    del unowned["project_id"]
    line_filter = LineFilter(project_id="p_1")
    assert [line_filter.matches(entry) for entry in (mine, other, unowned)] == [True, False, True]
    assert LineFilter().matches(other)
