"""`agent-brain query`: search the project."""

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import click

from agent_brain_cli.asking import ask
from agent_brain_cli.formats import (
    AGENT_VARIABLES,
    FORMATS,
    Format,
    choose_format,
    find_paths_from,
    shorten_answer,
)
from agent_brain_cli.options import Target, named_options, refuse_nan, resolve_languages, target_options, wait_option
from agent_brain_cli.output import Json, note, show, visible
from agent_brain_cli.path_globs import resolve_globs
from agent_brain_cli.results import describe_freshness, describe_match, print_results
from agent_brain_cli.servers import connect, describe_versions, note_version
from agent_brain_cli.structure import format_structure
from agent_brain_server.models import DEFAULT_BUDGET, MAX_BUDGET, MIN_BUDGET

MAX_TOP_K = 100
MAX_QUERIES = 8


@click.command()
@click.argument("text", nargs=-1, required=True)
@click.option(
    "--top-k", "-k", type=click.IntRange(1, MAX_TOP_K), metavar="N", help="Show at most N results.  [default: 10]"
)
@click.option(
    "--mode",
    type=click.Choice(["hybrid", "vector", "bm25", "structure"]),
    help="Search by keywords and meaning, by meaning, or by keywords; or answer from definitions and their uses, as "
    "hybrid does for questions such as 'who calls X'.  [default: hybrid]",
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
@click.option(
    "--also",
    "queries",
    multiple=True,
    metavar="TEXT",
    help=f"Another question, answered together with the first one. Repeatable, up to {MAX_QUERIES} times.",
)
@click.option(
    "--budget",
    "max_tokens",
    type=click.IntRange(MIN_BUDGET, MAX_BUDGET),
    metavar="N",
    help="Show at most N tokens: the best results first, the others as a list.  "
    f"[default: {DEFAULT_BUDGET} in the format compact]",
)
@click.option(
    "--format",
    "chosen",
    type=click.Choice(FORMATS),
    help="text, compact (path, lines, symbol and signature, then the lines that match), or json.  [default: text; "
    f"compact if no terminal reads the output and {', '.join(AGENT_VARIABLES[:-1])} or {AGENT_VARIABLES[-1]} is set]",
)
@click.option("--all-projects", is_flag=True, help="Search every project of the shared daemon.")
@click.option(
    "--project",
    "projects",
    multiple=True,
    metavar="NAME",
    help="Search this project of the shared daemon: a directory's name or its path. Repeatable.",
)
@target_options
def query(
    target: Target,
    text: tuple[str, ...],
    queries: tuple[str, ...],
    file_paths: tuple[str, ...],
    full: bool,
    chosen: Format | None,
    all_projects: bool,
    projects: tuple[str, ...],
    **options: object,
) -> None:
    """Search the project for the lines that answer a question.

    TEXT can be a question, keywords or an identifier. Starts the server if needed, and indexes a project that was never
    indexed.
    """
    budget, explain = cast("int | None", options["max_tokens"]), bool(options["explain"])
    output = choose_format(chosen, as_json=target.as_json, budget=budget, full=full, explain=explain)
    questions = [join_words(text), *(join_words((words,)) for words in queries)]
    if len(questions) > MAX_QUERIES + 1:
        raise click.UsageError(f"--also can be given at most {MAX_QUERIES} times.")
    if all_projects or projects:
        if all_projects and projects:
            raise click.UsageError("--all-projects and --project contradict each other.")
        options["file_paths"] = file_paths
        query_projects(projects, questions, named_options({"queries": tuple(questions[1:]), **options}), output, full)
        return
    # before a server is started: a path outside the project is an error of usage
    options["file_paths"] = file_paths and resolve_globs(file_paths, target.project_root, Path.cwd().resolve())
    request = {"query": questions[0], **named_options({"queries": tuple(questions[1:]), **options})}
    if output == "compact":
        request |= {"format": "compact", "paths_from": find_paths_from(target.project_root)}
    client = connect(target)
    answer = ask(client, target, lambda: client.post("/query", request))
    if budget is None:  # a document within a budget contains what was counted, and nothing else
        answer |= describe_versions(client.state)
    show(
        shorten_answer(answer) if output == "json" else answer,
        lambda found: render(found, list(dict.fromkeys(questions)), target.project_root, full=full),
        as_json=output == "json",
    )
    for remark in list_remarks(answer, options):
        note(remark)
    note_version(client.state)


def query_projects(
    names: tuple[str, ...], questions: list[str], fields: dict[str, object], output: Format, full: bool
) -> None:
    """Search projects of the shared daemon, and show the results of each below its root.

    Args:
        names: Names of the projects; empty: all.
        questions: The queries.
        fields: Further fields of the request; globs start at the root of each project.
        output: The format.
        full: Show every line of each result.
    """
    # late: a query of one project does not need the daemon
    from agent_brain_cli import many_projects  # noqa: PLC0415

    request = {"query": questions[0], **fields, **({"format": "compact"} if output == "compact" else {})}
    answers = many_projects.ask_projects(names, request)

    def render_each(_: Json) -> None:
        for each in answers:
            print(f"== {visible(str(each.root))}")
            text = render(each.answer, questions, each.root, full=full)
            print("" if text is None else f"{text}\n")

    document = many_projects.to_document(answers)
    show(shorten_answer(document) if output == "json" else document, render_each, as_json=output == "json")
    for remark in many_projects.list_remarks(answers):
        note(remark)


def render(answer: Json, questions: list[str], project_root: Path, *, full: bool) -> str | None:
    """Return the compact text of an answer or its lines from the structure, or write its results as text."""
    if "text" in answer:
        return str(answer["text"])
    structure = answer.get("structure")
    is_partial = structure is not None and structure.get("is_partial", False)
    if structure and structure["lines"] and not full and not is_partial:
        return format_structure(structure, project_root)
    if structure:
        print(format_structure(structure, project_root) if is_partial else visible(structure["summary"]))
    print_results(answer, questions, project_root, full=full)
    return None


def list_remarks(answer: Json, options: dict[str, object]) -> Iterator[str]:
    """Yield what the user should know about an answer and its index."""
    if freshness := describe_freshness(answer):
        yield freshness
    if answer.get("structure"):
        return  # it says what was found
    if not answer["total_results"]:
        yield describe_no_results(options)
    elif "mode" in answer and "results" in answer and (match := describe_match(answer)):
        yield match  # other answers contain it


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
