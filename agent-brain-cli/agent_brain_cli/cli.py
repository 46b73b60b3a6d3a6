"""The `agent-brain` command: the table of subcommands, and the conversion of errors to messages and exit codes.

A subcommand is imported only when it runs, so that `--help` costs little more than Click.
"""

import atexit
import contextlib
import difflib
import gc
import importlib
import itertools
import os
import re
import shlex
import signal
import sys
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import click

from agent_brain_cli.formats import asks_for_json
from agent_brain_cli.output import OutputState, show, use_safe_streams, visible
from agent_brain_server import __version__
from agent_brain_server.errors import AgentBrainError, ConfigError

COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("init:init", "Create the project's state directory and its config.json."),
    "start": ("start:start", "Start the project's server, or show the running one."),
    "stop": ("stop:stop", "Stop the project's server."),
    "status": ("status:status", "Show the project's server and its index."),
    "list": ("list_cmd:list_servers", "List the servers of all projects."),
    "index": ("index:index", "Bring the index up to date."),
    "query": ("query:query", "Search the project for the lines that answer a question."),
    "def": ("def_cmd:find_definition", "Show where a name is defined."),
    "refs": ("refs:refs", "Show where a name is used."),
    "outline": ("outline:outline", "Show what a file or a directory defines."),
    "related": ("related:related", "Show what belongs to the code at a line."),
    "read": ("read:read", "Print lines of a file."),
    "mcp": ("mcp:mcp", "Serve an agent over the Model Context Protocol."),
    "install": ("install:install", "Write Agent Brain into the configuration of coding agents."),
    "uninstall": ("uninstall:uninstall", "Remove Agent Brain from the configuration of coding agents."),
    "logs": ("logs:logs", "Show what the server has logged."),
    "config": ("config_cmd:config", "Show every setting and where its value comes from."),
    "trust": ("trust:trust", "Allow the project's own config.json to change every setting."),
    "doctor": ("doctor:doctor", "Find problems, and show how to correct them."),
    "reset": ("reset:reset", "Remove the project's index."),
}
"""Name → (module and function in `commands`, summary in the group's help)."""

EXIT_OK = 0
EXIT_UNEXPECTED = 1
EXIT_INTERRUPTED = 128 + signal.SIGINT  # what a shell reports for a program ended by Ctrl-C

PLUGINS_SWITCH = "PYDANTIC_DISABLE_PLUGINS"
"""Keeps Pydantic from reading the entry points of every installed package: 2 to 6 ms of CPU per command."""

GARBAGE_THRESHOLD = 100_000
"""Objects between two garbage collections: collecting while modules are imported takes 6 % of a command's time."""

DEBUG_VARIABLE = "AGENT_BRAIN_DEBUG"


SYNONYMS: dict[str, str] = {
    **dict.fromkeys(("search", "find", "grep", "rg", "ask", "lookup", "q"), "query"),
    **dict.fromkeys(("define", "definition", "symbol", "symbols"), "def"),
    **dict.fromkeys(("references", "callers", "usages", "uses"), "refs"),
    **dict.fromkeys(("tree", "structure"), "outline"),
    **dict.fromkeys(("cat", "view", "open"), "read"),
    **dict.fromkeys(("reindex", "update", "refresh", "build", "ingest", "add"), "index"),
    **dict.fromkeys(("run", "serve", "up", "restart"), "start"),
    **dict.fromkeys(("down", "kill", "shutdown", "quit"), "stop"),
    **dict.fromkeys(("info", "show"), "status"),
    **dict.fromkeys(("ls", "ps", "servers", "projects"), "list"),
    **dict.fromkeys(("tail",), "logs"),
    **dict.fromkeys(("settings", "configure"), "config"),
    **dict.fromkeys(("check", "diagnose"), "doctor"),
    **dict.fromkeys(("clear", "clean", "delete", "remove"), "reset"),
    **dict.fromkeys(("setup",), "init"),
}
"""Names that other programs use for these commands."""

NEEDS_QUOTES = re.compile(r"[^\w.,:/@%+=-]")
ACTIVE_IN_QUOTES = re.compile(r'["$`\\!]')
MAX_SUGGESTED_LENGTH = 200
SYNONYM_CUTOFF = 0.75  # similarity; with a lower one, ordinary words match ("where" is similar to "serve")


def suggest_command(arguments: Sequence[str]) -> str:
    """Return a suggestion for arguments that do not start with a command.

    Args:
        arguments: The arguments after `agent-brain`.
    """
    name = arguments[0]
    meant = guess_command(name)
    if meant not in (None, "query"):
        return f"Did you mean '{meant}'?"
    rest = list(arguments[1:] if meant else arguments)
    words = list(itertools.takewhile(lambda word: not word.startswith("-"), rest))
    if meant and not words:
        return "Did you mean 'query'?"
    question = quote_for_shell(" ".join(words))
    if len(question) > MAX_SUGGESTED_LENGTH:
        question = '"…"'
    lead = "Did you mean" if meant or len(words) > 1 or " " in name else "To search for it"
    return f"{lead}: {' '.join(['agent-brain query', question, *map(quote_for_shell, rest[len(words) :])])}"


def guess_command(name: str) -> str | None:
    """Return the command for a synonym or a misspelling, or `None`."""
    if name in SYNONYMS:
        return SYNONYMS[name]
    if close := difflib.get_close_matches(name, COMMANDS, n=1):
        return close[0]
    close = difflib.get_close_matches(name, SYNONYMS, n=1, cutoff=SYNONYM_CUTOFF)
    return SYNONYMS[close[0]] if close else None


def quote_for_shell(text: str) -> str:
    """Quote a text as one shell word, with double quotes if these are enough."""
    if text and not NEEDS_QUOTES.search(text):
        return text
    return shlex.quote(text) if ACTIVE_IN_QUOTES.search(text) else f'"{text}"'


class LazyGroup(click.Group):
    """A group that imports only the subcommand that runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a subcommand; `None` if the name is unknown."""
        if cmd_name not in COMMANDS:
            return None
        module, function = COMMANDS[cmd_name][0].split(":")
        command = getattr(importlib.import_module(f"agent_brain_cli.commands.{module}"), function)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the subcommand; suggest one if the name is unknown."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            raise click.UsageError(f"Unknown command '{name}'. {suggest_command(args)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the summaries from the table, without importing the subcommands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.group(cls=LazyGroup, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="agent-brain")
@click.pass_context
def group(context: click.Context) -> None:
    """Search a project's code and documents with a local index.

    To try it, run `agent-brain query "where is the lock released?"` in a project: it starts the server, indexes the
    project, and shows the results.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as the user sees it, and the exit code."""

    code: str
    exit_code: int
    message: str
    hint: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: The arguments without the program's name; `None` takes those of the process.
    """
    gc.set_threshold(GARBAGE_THRESHOLD)
    # skip the final garbage collection of the interpreter, which takes a sixth of the time
    atexit.register(gc.freeze)
    os.environ.setdefault(PLUGINS_SWITCH, "__all__")
    use_safe_streams()
    state = OutputState()
    try:
        exit_code = group.main(arguments, prog_name="agent-brain", standalone_mode=False, obj=state)
    except (click.Abort, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the boundary: every error becomes a message and an exit code
        as_json = asks_for_json(sys.argv[1:] if arguments is None else arguments)
        return _report(error, with_document=as_json and not state.document)
    return exit_code or EXIT_OK


def _report(error: Exception, *, with_document: bool) -> int:
    """Print an error to stderr: what is wrong, what to do next, and its notes, such as the last lines of a log.

    Args:
        error: The error that ended the command.
        with_document: Also write the error as the JSON document, which the command has not written.
    """
    if os.environ.get(DEBUG_VARIABLE):
        traceback.print_exception(error)
    failure = describe_error(error)
    details = (f"  {line}" for text in getattr(error, "__notes__", ()) for line in text.splitlines())
    for line in (f"Error: {failure.message}", failure.hint, *details):
        click.echo(visible(line), err=True)
    if with_document:
        with contextlib.suppress(click.exceptions.Exit):  # no reader: keep the exit code of the error
            show({"error": asdict(failure)}, str, as_json=True)
    return failure.exit_code


def describe_error(error: Exception) -> Failure:
    """Return message, hint and exit code of an error."""
    if isinstance(error, AgentBrainError):
        return Failure(error.code, error.exit_code, error.message, error.hint)
    if isinstance(error, click.ClickException):
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "agent-brain"
        hint = f"See the usage with: {path} --help"
        return Failure("usage", ConfigError.exit_code, " ".join(error.format_message().split()), hint)
    hint = f"For a traceback, run it again with {DEBUG_VARIABLE}=1 in the environment."
    return Failure("unexpected", EXIT_UNEXPECTED, f"Unexpected {type(error).__name__}: {error}", hint)
