"""The command line: help, usage errors, suggestions and exit codes."""

import json

import click
import pytest
from click.testing import CliRunner

from agent_brain_cli.cli import COMMANDS, describe_error, group, main
from agent_brain_server.errors import DeadlineError, NotRunningError, StateDirError


@pytest.mark.parametrize("name", COMMANDS)
def test_command_help_lists_shared_options(name: str):
    result = CliRunner().invoke(group, [name, "--help"])
    assert result.exit_code == 0
    for option in ("--project-root", "--state-dir"):
        assert option in result.output
    assert ("--json" in result.output) == (name != "mcp")
    assert COMMANDS[name][1] in result.output


def test_help_lists_every_command():
    result = CliRunner().invoke(group, ["--help"])
    assert all(f"  {name} " in result.output for name in COMMANDS)


def test_no_command_shows_the_help(capsys):
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
def test_usage_error_prints_two_lines_and_exits_with_2(arguments, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert (captured.out == "") is ("--json" not in arguments)
    what, next_step = captured.err.splitlines()
    assert what.startswith("Error: ")
    assert "--help" in next_step


def test_misspelt_command_is_corrected(capsys):
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
def test_unknown_command_suggests_the_right_one(arguments, suggestion, capsys):
    assert main(arguments) == 2
    assert suggestion in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"), [(NotRunningError("x"), 3), (StateDirError("x"), 5), (DeadlineError("x"), 6)]
)
def test_describe_error_has_exit_code_and_hint(error, code):
    failure = describe_error(error)
    assert (failure.exit_code, failure.message, failure.hint) == (code, "x", error.hint)


def test_describe_unexpected_error_names_debug_variable():
    failure = describe_error(ZeroDivisionError("division by zero"))
    assert failure.exit_code == 1
    assert "ZeroDivisionError" in failure.message
    assert "AGENT_BRAIN_DEBUG=1" in failure.hint


def test_describe_usage_error_names_the_command_s_help():
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
def test_json_of_failed_command_is_one_document(arguments, code, exit_code, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == exit_code
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    if "error" in document:
        assert (document["error"]["code"], document["error"]["exit_code"]) == (code, exit_code)
        assert captured.err.splitlines() == [f"Error: {document['error']['message']}", document["error"]["hint"]]
    else:
        assert document["running"] is False  # printed before the error
