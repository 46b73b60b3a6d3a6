"""`agent-brain logs` with the log of a real server."""

import os
import pty
import select
import signal
import subprocess
import sys
import time

import pytest

from agent_brain_server.storage_paths import resolve_state_dir

LIMIT_S = 120


@pytest.fixture(scope="module")
def served(indexed):
    """Run the command in a project whose server has been started twice."""
    assert indexed("stop").code == 0
    assert indexed("start").code == 0
    return indexed


def test_the_last_lines_are_readable_and_say_whose_work_they_were(served):
    shown = served("logs", "-n", "200")
    assert shown.code == 0, shown.err
    assert "Serving" in shown.out.splitlines()[-1]
    assert "keyword answers are complete" in shown.out
    assert "job_id=job_" in shown.out
    assert "\x1b" not in shown.out
    assert len(served("logs", "-n", "3").out.splitlines()) == 3


def test_the_run_before_and_a_level_can_be_asked_for(served):
    serving = [line for line in served("logs", "--json").json["lines"] if line["message"].startswith("Serving")]
    first, second = (line["instance_id"] for line in serving)
    before = served("logs", "--previous", "--json").json["lines"]
    assert {line["instance_id"] for line in before} == {first} != {second}
    assert served("logs", "--level", "error", "--json").json["lines"] == []


def test_json_names_the_file(served):
    document = served("logs", "--json", "-n", "2").json
    assert document["log_file"] == str(resolve_state_dir(served.project) / "logs" / "server.log")
    assert [line["level"] for line in document["lines"]] == ["info", "info"]


def test_the_token_is_in_no_line(served):
    token = served("start", "--json").json["token"]
    assert token not in served("logs", "-n", "10000").out


def test_following_shows_what_comes_and_ctrl_c_ends_it_with_0(served):
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
            while "job_" not in line:  # until the command has begun to follow
                assert served("index", "--force").code == 0
                while select.select([following.stdout], [], [], 0.5)[0] and "job_" not in line:
                    line = following.stdout.readline()
                assert time.monotonic() < deadline
            following.send_signal(signal.SIGINT)
            assert following.wait(LIMIT_S) == 0
        finally:
            following.kill()  # a failure must not wait for it


def test_on_a_terminal_levels_have_colours_unless_they_are_not_wanted(served):
    log = resolve_state_dir(served.project) / "logs" / "server.log"
    before = log.read_bytes()
    log.write_bytes(before + b'{"level": "error", "message": "broken \\u001b[2J"}\n')
    try:
        coloured = run_on_terminal(served, {})
        plain = run_on_terminal(served, {"NO_COLOR": "1"})
    finally:
        log.write_bytes(before)
    assert "\x1b[31m" in coloured
    assert "\x1b" not in plain
    assert "\x1b[2J" not in coloured + plain


def run_on_terminal(served, environment) -> str:
    main, side = pty.openpty()
    command = [sys.executable, "-m", "agent_brain_cli", "logs", "-n", "1"]
    with subprocess.Popen(
        command, cwd=served.project, env=served.environment | environment, stdout=side, stdin=subprocess.DEVNULL
    ) as process:
        os.close(side)
        shown = b""
        try:
            while piece := os.read(main, 65536):
                shown += piece
        except OSError:  # how Linux says that the other end is closed
            pass
        finally:
            os.close(main)
        assert process.wait(LIMIT_S) == 0
    return shown.decode()


def test_without_a_log_it_says_how_one_comes_about(agent_brain):
    outcome = agent_brain("logs")
    assert outcome.code == 3
    assert "agent-brain start" in outcome.complaint[1]
    shared = agent_brain("logs", "--mode", "shared")
    assert shared.code == 3
    assert "--mode shared" in shared.complaint[1]
    assert list((agent_brain.project / ".claude").iterdir()) == []


@pytest.mark.parametrize("option", ["--json", "--previous"])
def test_what_does_not_end_goes_with_nothing_that_must(agent_brain, option):
    assert agent_brain("logs", "-f", option).code == 2
