"""`agent-brain logs` with the log of a real server."""

import select
import signal
import subprocess
import sys
import time

import pytest

from agent_brain_server.storage_paths import resolve_state_dir

LIMIT_S = 600.0


@pytest.fixture(scope="module")
def served(indexed):
    """Run commands in a project whose server was started twice."""
    assert indexed("stop").code == 0
    assert indexed("start").code == 0
    return indexed


def test_logs_shows_last_lines_with_their_job(served):
    shown = served("logs", "-n", "200")
    assert shown.code == 0, shown.err
    assert "Serving" in shown.out.splitlines()[-1]
    assert "keyword answers are complete" in shown.out
    assert "job_id=job_" in shown.out
    assert "\x1b" not in shown.out
    assert len(served("logs", "-n", "3").out.splitlines()) == 3


def test_logs_filters_by_previous_run_and_level(served):
    serving = [line for line in served("logs", "--json").json["lines"] if line["message"].startswith("Serving")]
    first, second = (line["instance_id"] for line in serving)
    before = served("logs", "--previous", "--json").json["lines"]
    assert {line["instance_id"] for line in before} == {first} != {second}
    assert served("logs", "--level", "error", "--json").json["lines"] == []


def test_logs_json_names_the_file(served):
    document = served("logs", "--json", "-n", "2").json
    assert document["log_file"] == str(resolve_state_dir(served.project) / "logs" / "server.log")
    assert [line["level"] for line in document["lines"]] == ["info", "info"]


def test_logs_never_contain_the_token(served):
    token = served("start", "--json").json["token"]
    assert token not in served("logs", "-n", "10000").out


def test_logs_follow_ends_with_ctrl_c_and_0(served):
    command = [sys.executable, "-m", "agent_brain_cli", "logs", "-f", "-n", "0"]
    with subprocess.Popen(
        command,
        cwd=served.project,
        env=served.environment | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    ) as following:
        try:
            assert following.stdout is not None
            deadline = time.monotonic() + LIMIT_S
            line = ""
            while "job_" not in line:  # until the command follows
                assert served("index", "--force").code == 0
                while select.select([following.stdout], [], [], 0.5)[0] and "job_" not in line:
                    line = following.stdout.readline()
                assert time.monotonic() < deadline
            following.send_signal(signal.SIGINT)
            assert following.wait(LIMIT_S) == 0
        finally:
            following.kill()  # after a failure


def test_logs_on_terminal_colours_levels_unless_no_color(served):
    log = resolve_state_dir(served.project) / "logs" / "server.log"
    before = log.read_bytes()
    log.write_bytes(before + b'{"level": "error", "message": "broken \\u001b[2J"}\n')
    try:
        coloured = served.run_on_terminal("logs", "-n", "1")
        plain = served.run_on_terminal("logs", "-n", "1", NO_COLOR="1")
    finally:
        log.write_bytes(before)
    assert "\x1b[31m" in coloured
    assert "\x1b" not in plain
    assert "\x1b[2J" not in coloured + plain


def test_logs_without_log_shows_how_to_start_a_server(agent_brain):
    outcome = agent_brain("logs")
    assert outcome.code == 3
    assert "agent-brain start" in outcome.error_lines[1]
    shared = agent_brain("logs", "--mode", "shared")
    assert shared.code == 3
    assert "--mode shared" in shared.error_lines[1]
    assert list((agent_brain.project / ".claude").iterdir()) == []


@pytest.mark.parametrize("option", ["--json", "--previous"])
def test_logs_follow_with_json_is_a_usage_error(agent_brain, option):
    assert agent_brain("logs", "-f", option).code == 2
