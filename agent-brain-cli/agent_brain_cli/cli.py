"""The `agent-brain` command: its subcommands by name, and the one place where an error becomes two lines and a code.

No subcommand's module is imported before that subcommand runs, so that `--help` costs little more than Click.
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

from agent_brain_cli.render import Said, show, use_safe_streams, visible
from agent_brain_server import __version__
from agent_brain_server.errors import AgentBrainError, ConfigError

COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("init:init", "Create the project's state directory and its config.json."),
    "start": ("start:start", "Start the project's server, or show the one that runs."),
    "stop": ("stop:stop", "Stop the project's server."),
    "status": ("status:status", "Show the project's server and what its index holds."),
    "list": ("list_cmd:list_servers", "List the servers of all projects."),
    "index": ("index:index", "Bring the index up to date."),
    "query": ("query:query", "Ask for the lines that answer a question."),
    "logs": ("logs:logs", "Show what the server has logged."),
    "config": ("config_cmd:config", "Show every setting and where its value comes from."),
    "trust": ("trust:trust", "Allow the project's own config.json to set everything."),
    "doctor": ("doctor:doctor", "Check everything that Agent Brain needs, and say what to do."),
    "reset": ("reset:reset", "Remove the project's index."),
}
"""Name → (module and function under `commands`, the line in the group's help)."""

EXIT_OK = 0
EXIT_UNEXPECTED = 1
EXIT_INTERRUPTED = 128 + signal.SIGINT  # what a shell reports of a program that Ctrl-C ended

PLUGINS_SWITCH = "PYDANTIC_DISABLE_PLUGINS"
"""Pydantic would read the entry points of every installed package to find some: 2 to 6 ms of CPU of each command."""

GARBAGE_THRESHOLD = 100_000
"""Objects between two collections: looking for garbage while modules are loaded takes 6 % of a command's time."""

DEBUG_VARIABLE = "AGENT_BRAIN_DEBUG"


SYNONYMS: dict[str, str] = {
    **dict.fromkeys(("search", "find", "grep", "rg", "ask", "lookup", "q"), "query"),
    **dict.fromkeys(("reindex", "update", "refresh", "build", "ingest", "add"), "index"),
    **dict.fromkeys(("run", "serve", "up", "restart"), "start"),
    **dict.fromkeys(("down", "kill", "shutdown", "quit"), "stop"),
    **dict.fromkeys(("info", "show"), "status"),
    **dict.fromkeys(("ls", "ps", "servers", "projects"), "list"),
    **dict.fromkeys(("tail",), "logs"),
    **dict.fromkeys(("settings", "configure"), "config"),
    **dict.fromkeys(("check", "diagnose"), "doctor"),
    **dict.fromkeys(("clear", "clean", "delete", "remove"), "reset"),
    **dict.fromkeys(("setup", "install"), "init"),
}
"""What other programs call these commands."""

NEEDS_QUOTES = re.compile(r"[^\w.,:/@%+=-]")
ACTIVE_IN_QUOTES = re.compile(r'["$`\\!]')
MAX_SUGGESTED_LENGTH = 200
SYNONYM_CUTOFF = 0.75  # similarity; below, ordinary words such as "where" look like one (serve)


def suggest_command(arguments: Sequence[str]) -> str:
    """Return what the user probably meant by arguments that begin with no command.

    Args:
        arguments: Everything after `agent-brain`.
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
    """Return the command that a name is a synonym or a misspelling of, or `None`."""
    if name in SYNONYMS:
        return SYNONYMS[name]
    if close := difflib.get_close_matches(name, COMMANDS, n=1):
        return close[0]
    close = difflib.get_close_matches(name, SYNONYMS, n=1, cutoff=SYNONYM_CUTOFF)
    return SYNONYMS[close[0]] if close else None


def quote_for_shell(text: str) -> str:
    """Return a text as one word of a shell, in double quotes where those are enough."""
    if text and not NEEDS_QUOTES.search(text):
        return text
    return shlex.quote(text) if ACTIVE_IN_QUOTES.search(text) else f'"{text}"'


class LazyGroup(click.Group):
    """A group that knows its subcommands by table and imports only the one that runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the table's order, which is the order of use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the subcommand, or return None for a name that is not in the table."""
        if cmd_name not in COMMANDS:
            return None
        module, function = COMMANDS[cmd_name][0].split(":")
        command = getattr(importlib.import_module(f"agent_brain_cli.commands.{module}"), function)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the subcommand; for an unknown one, name those that are close."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            raise click.UsageError(f"There is no command '{name}'. {suggest_command(args)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the summaries out of the table, without importing a subcommand."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.group(cls=LazyGroup, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="agent-brain")
@click.pass_context
def group(context: click.Context) -> None:
    """Search a project's code and documents by question, from a local index.

    In a project of your own, `agent-brain query "where is the lock released?"` is all there is to do: it starts the
    server, indexes what was never indexed, and answers.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@dataclass(frozen=True, slots=True)
class Failure:
    """What the user is told of an error, and the process's exit code."""

    code: str
    exit_code: int
    message: str
    hint: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: Without the program's name; those of the process where None.
    """
    gc.set_threshold(GARBAGE_THRESHOLD)
    # the interpreter would look for garbage in all of it before it ends: a sixth of the time
    atexit.register(gc.freeze)
    os.environ.setdefault(PLUGINS_SWITCH, "__all__")
    use_safe_streams()
    said = Said()
    try:
        exit_code = group.main(arguments, prog_name="agent-brain", standalone_mode=False, obj=said)
    except (click.Abort, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the border: every error becomes two lines and an exit code
        as_json = "--json" in (sys.argv[1:] if arguments is None else arguments)
        return _report(error, with_document=as_json and not said.document)
    return exit_code or EXIT_OK


def _report(error: Exception, *, with_document: bool) -> int:
    """Tell the user of `error` on stderr: what, what to do next, and its notes, such as a log's last lines.

    Args:
        error: What ended the command.
        with_document: A program waits for a JSON document, which the command has not written.
    """
    if os.environ.get(DEBUG_VARIABLE):
        traceback.print_exception(error)
    failure = describe_error(error)
    details = (f"  {line}" for text in getattr(error, "__notes__", ()) for line in text.splitlines())
    for line in (f"Error: {failure.message}", failure.hint, *details):
        click.echo(visible(line), err=True)
    if with_document:
        with contextlib.suppress(click.exceptions.Exit):  # nobody reads it: the error's own code stands
            show({"error": asdict(failure)}, str, as_json=True)
    return failure.exit_code


def describe_error(error: Exception) -> Failure:
    """Turn an error into what is wrong, what to do next, and an exit code."""
    if isinstance(error, AgentBrainError):
        return Failure(error.code, error.exit_code, error.message, error.hint)
    if isinstance(error, click.ClickException):
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "agent-brain"
        hint = f"See what is allowed with: {path} --help"
        return Failure("usage", ConfigError.exit_code, " ".join(error.format_message().split()), hint)
    hint = f"Run it again with {DEBUG_VARIABLE}=1 in the environment for a traceback."
    return Failure("unexpected", EXIT_UNEXPECTED, f"Unexpected {type(error).__name__}: {error}", hint)
