import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from agent_brain_server.support.text import count_hidden


def test_a_question_to_a_project_that_was_never_indexed_is_answered(agent_brain):
    outcome = agent_brain("query", "where is the lock freed", "-k", "3")
    assert outcome.code == 0, outcome.err
    assert "src/locking.py:" in outcome.out
    assert "def release" in outcome.out
    assert "Starting the server" in outcome.err
    assert "never indexed" in outcome.err

    again = agent_brain("query", "turnstile", "--mode", "bm25")
    assert again.out.startswith("src/locking.py:")
    assert "never indexed" not in again.err
    assert "Starting" not in again.err


def test_two_first_queries_at_once_are_both_answered(agent_brain):
    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(lambda mode: agent_brain("query", "turnstile", "--mode", mode), ("bm25", "hybrid")))
    for outcome in outcomes:
        assert outcome.code == 0, outcome.err
        assert "src/locking.py:" in outcome.out, outcome.err


def test_json_is_the_one_thing_on_stdout_even_when_everything_has_to_be_started(agent_brain):
    outcome = agent_brain("query", "turnstile", "--json")
    assert outcome.code == 0, outcome.err
    best = outcome.json["results"][0]
    assert best["source"] == "src/locking.py"
    assert best["start_line"] <= 8 <= best["end_line"]


def test_filters_and_explain_reach_the_server(indexed):
    docs = indexed("query", "wombat installation", "--type", "doc", "--json").json["results"]
    assert {result["source"] for result in docs} == {"guide.md"}
    code = indexed("query", "lock", "--path", "src/**", "--language", "python", "--json", "--explain").json["results"]
    assert {result["source"] for result in code} == {"src/locking.py"}
    assert all(result["explanation"] is not None for result in code)
    assert len(indexed("query", "lock", "-k", "1", "--json").json["results"]) == 1


def test_path_of_a_result_can_be_passed_to_path(indexed):
    elsewhere = indexed.project / "src"
    for name in ("src/locking.py", "guide.md"):
        word = "turnstile" if name.endswith(".py") else "wombat"
        shown = indexed("query", word, "-k", "1", cwd=elsewhere).out.split(" ", 1)[0]
        again = indexed("query", "lock wombat", "--path", shown, "--json", cwd=elsewhere)
        assert {result["source"] for result in again.json["results"]} == {name}, (shown, again)
    refused = indexed("query", "lock", "--path", "../../x", cwd=elsewhere)
    assert (refused.code, len(refused.complaint)) == (2, 2)


def test_no_result_is_no_error_and_has_a_hint(indexed):
    outcome = indexed("query", "wombat", "--path", "nowhere/**")
    assert outcome.code == 0
    assert outcome.out == ""
    assert "No results" in outcome.err
    assert "filter" in outcome.err


def test_index_says_what_it_did_and_does_nothing_twice(agent_brain):
    first = agent_brain("index", "--json").json
    assert first["progress"]["keywords_ready"] is True
    assert first["progress"]["files_total"] == 3
    second = agent_brain("index", "--wait", "--json").json
    assert second["state"] == "done"
    assert second["progress"]["files_changed"] == 0
    forced = agent_brain("index", "--wait", "--force", "--json").json
    assert forced["progress"]["files_changed"] == 3
    assert forced["progress"]["vectors_done"] == forced["progress"]["vectors_total"] > 0
    assert "3 files" in agent_brain("index", "--wait").out

    status = agent_brain("status")
    assert "3 files" in status.out
    assert "100 %" in status.out


def test_index_without_waiting_gives_the_job(indexed):
    outcome = indexed("index", "--no-wait", "--json")
    assert outcome.code == 0
    assert outcome.json["job_id"]
    assert outcome.json["state"] in ("queued", "running", "done")


def test_patterns_choose_files(agent_brain):
    outcome = agent_brain("index", "--include", "**/*.md", "--exclude", "src/**", "--wait", "--json")
    assert outcome.json["progress"]["files_total"] == 1


def test_a_path_is_meant_from_where_the_user_is(indexed):
    outcome = indexed("index", ".", "--wait", "--json", cwd=indexed.project / "src")
    assert outcome.code == 0, outcome.err
    assert outcome.json["progress"]["files_total"] == 1


@pytest.mark.parametrize("path", ["missing", "/"])
def test_a_path_that_cannot_be_indexed_is_refused_with_a_reason(indexed, path):
    outcome = indexed("index", path)
    assert outcome.code == 4
    assert outcome.out == ""
    assert len(outcome.complaint) == 2


def test_escape_sequences_of_indexed_files_do_not_reach_the_terminal(indexed):
    shown = indexed("query", "turnip").out
    assert "turnip" in shown
    assert not set("\x1b\x9b\U000e0068") & set(shown)
    assert "<U+E0068><U+E0069>" in shown
    on_terminal = run_on_terminal(indexed, "query", "turnip")
    assert "turnip" in on_terminal
    result = indexed("query", "turnip", "-k", "1", "--json").json["results"][0]
    assert result["text"].count("\U000e0068") == 1
    assert result["hidden_characters"] == count_hidden(result["text"] + result["source"]) >= 4
    assert "\x1b]0;owned" not in on_terminal
    assert "\x1b[31m.py" not in on_terminal
    assert "\x9b" not in on_terminal


def test_a_long_line_is_read_whole_on_a_narrow_terminal(indexed):
    shown = run_on_terminal(indexed, "query", "turnstile", "-k", "1", NO_COLOR="1", COLUMNS="40")
    words = "Free the lock, so that the next one in the queue may enter the turnstile."
    assert words in " ".join(re.sub(r"\x1b\[[0-9;]*m", "", shown).split())


@pytest.mark.parametrize("arguments", [["query", "turnstile"], ["index"], ["doctor"], ["logs"], ["status"], ["list"]])
def test_a_dumb_terminal_gets_text_alone(indexed, arguments):
    assert "\x1b" not in run_on_terminal(indexed, *arguments, TERM="dumb")


def run_on_terminal(command, *arguments: str, **variables: str) -> str:
    """Return what the command writes to a terminal; the server must be running already."""
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "agent_brain_cli", *arguments],
        cwd=command.project,
        env=command.environment | {"TERM": "xterm-256color"} | variables,
        stdin=follower,
        stdout=follower,
        stderr=follower,
    ) as process:
        os.close(follower)
        shown = read_terminal(leader)
        process.wait(120)
    return shown


def read_terminal(leader: int) -> str:
    parts = []
    while select.select([leader], [], [], 30)[0]:
        try:
            part = os.read(leader, 65_536)
        except OSError:
            break  # how Linux says that the other side was closed
        if not part:
            break
        parts.append(part)
    os.close(leader)
    return b"".join(parts).decode()


def test_a_terminal_gets_colour_unless_it_is_unwanted(indexed):
    coloured = run_on_terminal(indexed, "query", "turnstile")
    assert "\x1b[" in coloured
    assert "release" in coloured
    plain = run_on_terminal(indexed, "query", "turnstile", NO_COLOR="1")
    assert "\x1b[3" not in plain
    assert "src/locking.py:" in plain


def test_a_terminal_gets_progress_bars(indexed):
    shown = run_on_terminal(indexed, "index", "--force", "--wait")
    assert "3/3" in shown
    assert "Indexed 3 files" in shown


def test_a_reader_that_goes_away_is_no_error(indexed):
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f'"{sys.executable}" -m agent_brain_cli query lock --full | true'],
        cwd=indexed.project,
        env=indexed.environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 128 + signal.SIGPIPE


def test_interrupting_leaves_the_job_running_and_says_so(agent_brain, project):
    write_modules(project, 400)
    process = start_indexing(agent_brain)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "continues" in err
    assert "Traceback" not in err
    index = agent_brain("status", "--json").json["index"]
    assert (index["current_job"] or index["last_job"])["state"] != "cancelled"


def test_a_server_that_dies_while_it_indexes_is_said_to_have_ended(agent_brain, project):
    write_modules(project, 400)
    process = start_indexing(agent_brain)
    os.kill(agent_brain("status", "--json").json["pid"], signal.SIGKILL)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 3
    assert "ended while it was indexing" in err


def test_waiting_has_a_limit_and_the_job_goes_on(agent_brain, project):
    write_modules(project, 400)
    outcome = agent_brain("index", "--wait", "--timeout", "0.2")
    assert outcome.code == 6
    assert "goes on" in outcome.err
    index = agent_brain("status", "--json").json["index"]
    assert index["current_job"] or index["last_job"]["state"] == "done"


def write_modules(project, count: int) -> None:
    """Give the server work for some seconds."""
    for number in range(count):
        functions = (f"def function_{number}_{k}(value):\n    return value + {k}\n" for k in range(30))
        (project / "src" / f"module_{number}.py").write_text("\n\n".join(functions))


def start_indexing(command) -> subprocess.Popen[str]:
    """Start `index --wait` and return once its job runs."""
    command("start")
    process = subprocess.Popen(
        [sys.executable, "-m", "agent_brain_cli", "index", "--wait"],
        cwd=command.project,
        env=command.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 180
    while not command("status", "--json").json["index"]["current_job"]:
        assert time.monotonic() < deadline
        assert process.poll() is None
    return process
