"""`agent-brain query` with real servers, in pipes and on terminals."""

import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from agent_brain_cli.client import Client
from agent_brain_cli.jobs import wait_for_job
from agent_brain_cli.servers import connect
from agent_brain_server.embedding.token_counter import TokenCounter
from agent_brain_server.support.text import count_hidden


def test_first_query_starts_the_server_and_indexes(agent_brain):
    first = replace(agent_brain, in_process=False)("query", "turnstile", "-k", "3", "--json")
    assert first.code == 0, first.err
    assert "Starting the server" in first.err
    assert "was never indexed" in first.err
    best = first.json["results"][0]
    assert best["source"] == "src/locking.py"
    assert best["start_line"] <= 8 <= best["end_line"]

    again = agent_brain("query", "where", "is", "the", "lock", "freed", "--mode", "bm25")
    assert again.out.startswith("src/locking.py:")
    assert "def release" in again.out
    assert again.err == ""


def test_two_first_queries_at_once_are_both_answered(agent_brain):
    spawned = replace(agent_brain, in_process=False)
    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(lambda mode: spawned("query", "turnstile", "--mode", mode), ("bm25", "hybrid")))
    for outcome in outcomes:
        assert outcome.code == 0, outcome.err
        assert "src/locking.py:" in outcome.out, outcome.err


@pytest.mark.parametrize("milestone", ["keywords", "end"])
def test_query_asks_again_after_a_concurrent_first_index(agent_brain, monkeypatch, milestone):
    class OvertakenClient(Client):
        """Another command's first index reaches its milestone between this query and its request for the status."""

        def get(self, path):
            if path == "/health/status":
                other = Client(self.state)
                wait_for_job(other, other.post("/index", {"folder_path": "."})["job_id"], milestone)
            return super().get(path)

    monkeypatch.setattr("agent_brain_cli.commands.query.connect", lambda target: OvertakenClient(connect(target).state))
    answer = agent_brain("query", "turnstile", "--json")
    assert answer.code == 0, answer.err
    assert answer.json["results"]


def test_query_sends_filters_and_explain(indexed):
    docs = indexed("query", "wombat installation", "--type", "doc", "--json").json["results"]
    assert {result["source"] for result in docs} == {"guide.md"}
    code = indexed("query", "lock", "--path", "src/**", "--language", "py", "--json", "--explain").json["results"]
    assert {result["source"] for result in code} == {"src/locking.py"}
    assert all(result["explanation"] for result in code)
    assert len(indexed("query", "lock", "-k", "1", "--json").json["results"]) == 1
    assert indexed("query", "x", "--path", "[z-a]").code == 4


def test_query_of_unknown_language_lists_the_known(indexed):
    refused = indexed("query", "turnstile", "--language", "pyhton")
    assert (refused.code, refused.out) == (2, "")
    assert "Did you mean 'python'?" in refused.err
    assert "typescript" in refused.err


def test_query_path_accepts_the_path_of_a_result(indexed):
    elsewhere = indexed.project / "src"
    for name in ("src/locking.py", "guide.md"):
        word = "turnstile" if name.endswith(".py") else "wombat"
        shown = indexed("query", word, "-k", "1", cwd=elsewhere).out.split(" ", 1)[0]
        again = indexed("query", "lock wombat", "--path", shown, "--json", cwd=elsewhere)
        assert {result["source"] for result in again.json["results"]} == {name}, (shown, again)
    refused = indexed("query", "lock", "--path", "../../x", cwd=elsewhere)
    assert (refused.code, len(refused.error_lines)) == (2, 2)


def test_query_without_results_succeeds_with_a_hint(indexed):
    outcome = indexed("query", "wombat", "--path", "nowhere/**")
    assert (outcome.code, outcome.out) == (0, "")
    assert "No results" in outcome.err
    assert "without a filter" in outcome.err


def test_escape_sequences_do_not_reach_the_terminal(indexed):
    shown = indexed("query", "turnip").out
    assert "turnip" in shown
    assert not set("\x1b\x9b\U000e0068") & set(shown)
    assert "<U+E0068><U+E0069>" in shown
    on_terminal = indexed.run_on_terminal("query", "turnip")
    assert "turnip" in on_terminal
    result = indexed("query", "turnip", "-k", "1", "--json").json["results"][0]
    assert result["text"].count("\U000e0068") == 1
    assert result["hidden_characters"] == count_hidden(result["text"] + result["source"]) >= 4
    assert "\x1b]0;owned" not in on_terminal
    assert "\x1b[31m.py" not in on_terminal
    assert "\x9b" not in on_terminal


def test_long_line_is_wrapped_on_a_narrow_terminal(indexed):
    shown = indexed.run_on_terminal("query", "turnstile", "-k", "1", NO_COLOR="1", COLUMNS="40")
    words = "Free the lock, so that the next one in the queue may enter the turnstile."
    assert words in " ".join(re.sub(r"\x1b\[[0-9;]*m", "", shown).split())


@pytest.mark.parametrize("arguments", [["query", "turnstile"], ["index"], ["doctor"], ["logs"], ["status"], ["list"]])
def test_dumb_terminal_gets_no_escape_sequences(indexed, arguments):
    assert "\x1b" not in indexed.run_on_terminal(*arguments, TERM="dumb")


def test_terminal_gets_colour_unless_no_color_is_set(indexed):
    coloured = indexed.run_on_terminal("query", "turnstile")
    assert "\x1b[" in coloured
    assert "release" in coloured
    plain = indexed.run_on_terminal("query", "turnstile", NO_COLOR="1")
    assert "\x1b[3" not in plain
    assert "src/locking.py:" in plain


def test_closed_pipe_exits_with_sigpipe_and_no_message(indexed):
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f'"{sys.executable}" -m agent_brain_cli query lock --full | true'],
        cwd=indexed.project,
        env=indexed.environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 128 + signal.SIGPIPE


def test_compact_answer_stays_within_its_budget(indexed):
    count = TokenCounter().count
    for budget in (50, 120, 1500):
        outcome = indexed("query", "free the turnstile lock", "--budget", str(budget))
        assert outcome.code == 0, outcome.err
        assert outcome.out.startswith("src/locking.py:")
        assert count(outcome.out) <= budget
        small = indexed("query", "free the turnstile lock", "--budget", str(budget), "--format", "json")
        assert count(small.out) <= budget
        assert small.json["total_results"] == 3


def test_compact_is_the_format_for_agents(indexed):
    agent = replace(indexed, environment=indexed.environment | {"CLAUDECODE": "1"})
    assert agent("query", "turnstile").out == indexed("query", "turnstile", "--format", "compact").out
    assert agent("query", "turnstile", "--format", "text").out == indexed("query", "turnstile").out
    assert agent("query", "turnstile", "--json").json["results"]
    assert "score" in agent.run_on_terminal("query", "turnstile", CLAUDECODE="1")


def test_compact_paths_open_from_the_current_directory(indexed):
    for directory in (indexed.project / "src", indexed.project.parent):
        shown = indexed(
            "query", "turnstile", "--format", "compact", "--project-root", str(indexed.project), cwd=directory
        )
        path = shown.out.partition(":")[0]
        assert (directory / path).is_file()


def test_several_questions_have_one_answer(indexed):
    outcome = indexed("query", "turnstile", "--also", "wombat installation", "-k", "1", "--format", "compact")
    heads = [line for line in outcome.out.splitlines() if line.strip() and not line.startswith(" ")]
    assert [head.partition(":")[0] for head in heads] == ["src/locking.py", "guide.md"]
    assert "[1]" in heads[0]
    assert "[2]" in heads[1]
    text = indexed("query", "turnstile", "--also", "wombat installation", "-k", "1").out
    assert "answers 1" in text
    assert "answers 2" in text


def test_json_has_no_nulls_and_short_scores(indexed):
    outcome = indexed("query", "turnstile", "--format", "json")
    assert "null" not in outcome.out
    for result in outcome.json["results"]:
        assert len(str(result["score"]).replace(".", "").lstrip("0")) <= 4
    assert outcome.json["total_results"] == indexed("query", "turnstile", "--json").json["total_results"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--budget", "49"],
        ["--budget", "many"],
        ["--budget", "60", "--full"],
        ["--json", "--format", "text"],
        ["--also", " "],
    ],
)
def test_invalid_budget_and_format_are_usage_errors(command, arguments):
    outcome = command("query", "turnstile", *arguments)
    assert outcome.code == 2
    assert outcome.error_lines[-1] == "See the usage with: agent-brain query --help"


def test_usage_error_is_a_document_if_json_is_the_format(command):
    assert command("query", "x", "--format", "json", "--budget", "1").json["error"]["code"] == "usage"
