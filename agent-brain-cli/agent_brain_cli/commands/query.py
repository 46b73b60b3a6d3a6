"""`agent-brain query`: search the project."""

from pathlib import Path

import click

from agent_brain_cli.asking import ask
from agent_brain_cli.options import Target, named_options, refuse_nan, resolve_languages, target_options, wait_option
from agent_brain_cli.output import note, show
from agent_brain_cli.path_globs import resolve_globs
from agent_brain_cli.results import describe_freshness, describe_match, print_results
from agent_brain_cli.servers import connect, describe_versions, note_version

MAX_TOP_K = 100


@click.command()
@click.argument("text", nargs=-1, required=True)
@click.option(
    "--top-k", "-k", type=click.IntRange(1, MAX_TOP_K), metavar="N", help="Show at most N results.  [default: 10]"
)
@click.option(
    "--mode",
    type=click.Choice(["hybrid", "vector", "bm25"]),
    help="Search by keywords and meaning, by meaning, or by keywords.  [default: hybrid]",
)
@click.option(
    "--alpha",
    type=click.FloatRange(0, 1),
    metavar="X",
    callback=refuse_nan,
    help="Weight of meaning in hybrid mode.  [default: chosen from the query]",
)
@click.option(
    "--threshold",
    "similarity_threshold",
    type=click.FloatRange(0, 1),
    metavar="X",
    callback=refuse_nan,
    help="Minimum cosine similarity of a vector hit.",
)
@click.option(
    "--language",
    "languages",
    multiple=True,
    metavar="NAME",
    callback=resolve_languages,
    help="Search only this language, by name or alias (python, py, golang, c++). Repeatable.",
)
@click.option(
    "--type",
    "source_types",
    multiple=True,
    type=click.Choice(["doc", "code", "test"]),
    help="Search only files of this type. Repeatable.",
)
@click.option(
    "--path",
    "file_paths",
    multiple=True,
    metavar="GLOB",
    help="Search only files that match: a path as results show it, or a glob from the project root as in .gitignore "
    "(src/**, *.md, !tests/). Repeatable.",
)
@click.option("--explain", is_flag=True, help="Include a score breakdown for each result.")
@wait_option
@click.option("--full", is_flag=True, help="Show every line of each result.")
@target_options
def query(target: Target, text: tuple[str, ...], file_paths: tuple[str, ...], full: bool, **options: object) -> None:
    """Search the project for the lines that answer a question.

    TEXT can be a question, keywords or an identifier. Starts the server if needed, and indexes a project that was never
    indexed.
    """
    question = join_words(text)
    # before a server is started: a path outside the project is an error of usage
    options["file_paths"] = file_paths and resolve_globs(file_paths, target.project_root, Path.cwd().resolve())
    client = connect(target)
    request = {"query": question, **named_options(options)}
    answer = ask(client, target, lambda: client.post("/query", request))
    answer |= describe_versions(client.state)
    show(answer, lambda found: print_results(found, question, target.project_root, full=full), as_json=target.as_json)
    for remark in (
        describe_freshness(answer),
        describe_match(answer) if answer["results"] else describe_no_results(options),
    ):
        if remark:
            note(remark)
    note_version(client.state)


def join_words(words: tuple[str, ...]) -> str:
    """Return the words of the command line as one query.

    Raises:
        click.UsageError: The query is empty or not text.
    """
    question = " ".join(words)
    if not question.strip():
        raise click.UsageError("The query is empty.")
    try:
        question.encode()
    except UnicodeEncodeError as error:
        raise click.UsageError("The query is not valid text in this terminal's encoding.") from error
    return question


def describe_no_results(options: dict[str, object]) -> str:
    """Return that nothing was found, and what would widen the search."""
    filtered = any(options[name] for name in ("languages", "source_types", "file_paths", "similarity_threshold"))
    hint = "Try again without a filter." if filtered else "Try other words, or see what is indexed: agent-brain status"
    return f"No results. {hint}"
