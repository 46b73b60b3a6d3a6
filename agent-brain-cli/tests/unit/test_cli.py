import json

import click
import pytest
from click.testing import CliRunner

from agent_brain_cli.cli import COMMANDS, describe_error, group, main
from agent_brain_server.errors import DeadlineError, NotRunningError, StateDirError


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_explains_itself(name: str):
    result = CliRunner().invoke(group, [name, "--help"])
    assert result.exit_code == 0
    for option in ("--project-root", "--state-dir", "--json"):
        assert option in result.output
    assert COMMANDS[name][1] in result.output


def test_help_names_every_command_and_imports_none():
    result = CliRunner().invoke(group, ["--help"])
    assert all(f"  {name} " in result.output for name in COMMANDS)


def test_without_a_command_the_help_is_shown(capsys):
    assert main([]) == 0
    assert "Commands:" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["stauts"],
        ["query"],
        ["query", "  "],
        ["query", "x", "--top-k", "0"],
        ["query", "x", "--top-k", "many"],
        ["query", "x", "--alpha", "nan"],
        ["query", "x", "--mode", "psychic"],
        ["query", "\udcff"],
        ["start", "--port", "65536"],
        ["start", "--foreground", "--json"],
        ["init", "--mode", "both"],
        ["status", "--project-root", "/no/such/place"],
        ["index", "--chunk-size", "0"],
        ["stop", "--timeout", "0"],
        ["--nonsense"],
    ],
)
def test_wrong_usage_is_two_lines_and_exit_code_2(arguments, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert (captured.out == "") is ("--json" not in arguments)
    what, next_step = captured.err.splitlines()
    assert what.startswith("Error: ")
    assert "--help" in next_step


def test_a_misspelt_command_is_guessed(capsys):
    main(["stauts"])
    assert "Did you mean 'status'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "suggestion"),
    [
        (["where is the lock released?"], 'Did you mean: agent-brain query "where is the lock released?"'),
        (["where", "is", "the", "lock"], 'Did you mean: agent-brain query "where is the lock"'),
        (["turnstile"], "To search for it: agent-brain query turnstile"),
        (["search", "lock", "file"], 'Did you mean: agent-brain query "lock file"'),
        (["grep", "lock", "-k", "3"], "Did you mean: agent-brain query lock -k 3"),
        (["serach", "lock"], "Did you mean: agent-brain query lock"),
        (["qurey", "$HOME"], "Did you mean: agent-brain query '$HOME'"),
        (["find"], "Did you mean 'query'?"),
        (["ls"], "Did you mean 'list'?"),
        (["reindex"], "Did you mean 'index'?"),
        (["x" * 500], 'agent-brain query "…"'),
    ],
)
def test_unknown_command_is_answered_with_the_right_one(arguments, suggestion, capsys):
    assert main(arguments) == 2
    assert suggestion in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"), [(NotRunningError("x"), 3), (StateDirError("x"), 5), (DeadlineError("x"), 6)]
)
def test_an_error_of_ours_carries_its_exit_code_and_hint(error, code):
    failure = describe_error(error)
    assert (failure.exit_code, failure.message, failure.hint) == (code, "x", error.hint)


def test_an_unexpected_error_says_where_its_traceback_can_be_had():
    failure = describe_error(ZeroDivisionError("division by zero"))
    assert failure.exit_code == 1
    assert "ZeroDivisionError" in failure.message
    assert "AGENT_BRAIN_DEBUG=1" in failure.hint


def test_a_usage_error_names_the_command_whose_help_tells_more():
    context = click.Context(click.Command("start"), info_name="agent-brain start")
    failure = describe_error(click.UsageError("no", context))
    assert "agent-brain start --help" in failure.hint


@pytest.mark.parametrize(
    ("arguments", "code", "exit_code"),
    [
        (["status", "--json"], "server_not_running", 3),
        (["index", "missing", "--json", "--timeout", "0"], "usage", 2),
        (["stauts", "--json"], "usage", 2),
        (["logs", "--json"], "server_not_running", 3),
    ],
)
def test_json_is_one_document_whatever_happens(arguments, code, exit_code, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == exit_code
    said = capsys.readouterr()
    document = json.loads(said.out)
    if "error" in document:
        assert (document["error"]["code"], document["error"]["exit_code"]) == (code, exit_code)
        assert said.err.splitlines() == [f"Error: {document['error']['message']}", document["error"]["hint"]]
    else:
        assert document["running"] is False  # what the command had to say before it failed
