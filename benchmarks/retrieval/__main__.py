"""Measure the quality of answers: `./task quality -- --set DIR --trees DIR`, `--documents` and `--names TREE …`.

A set of labelled queries and their source trees are on disk. The product indexes each tree once, into the work
directory; then the queries are sent and the answers evaluated for the tables of docs/QUALITY.md. `--documents` uses the
queries of documents.json about the documentation of packages, and `--names` the names that a tree defines. `--reports`,
`--docstrings`, `--titles` and `--sentences` make queries of further kinds from public packages on disk.
"""

import argparse
import datetime
import json
import sys
import tempfile
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.__main__ import describe_machine
from benchmarks.report import update_document
from benchmarks.retrieval.chunks import count_forms, format_forms
from benchmarks.retrieval.code_tables import format_code
from benchmarks.retrieval.commits import make_commit_sets
from benchmarks.retrieval.docstrings import make_docstring_sets
from benchmarks.retrieval.documents import measure_documents
from benchmarks.retrieval.evaluation import EvaluatedRepository, evaluate_repository
from benchmarks.retrieval.indexes import ENGINES, make_shared_services, open_index
from benchmarks.retrieval.kinds import KindSet, describe_kinds, format_kinds, measure_kinds
from benchmarks.retrieval.names import format_names, measure_names
from benchmarks.retrieval.prose_tables import format_documents
from benchmarks.retrieval.query_set import load_query_set
from benchmarks.retrieval.sentences import make_sentence_sets
from benchmarks.retrieval.summary import summarize
from benchmarks.retrieval.titles import make_title_sets

CHUNKS_BEGIN = "<!-- begin: chunks, written by benchmarks/retrieval -->"
CODE_BEGIN = "<!-- begin: code, written by benchmarks/retrieval -->"
NAMES_BEGIN = "<!-- begin: names, written by benchmarks/retrieval -->"
KINDS_BEGIN = "<!-- begin: kinds, written by benchmarks/retrieval -->"
DOCUMENTS_BEGIN = "<!-- begin: documents, written by benchmarks/retrieval -->"

KIND_MAKERS: dict[str, Callable[[Iterable[Path], Path], list[KindSet]]] = {
    "reports": make_commit_sets,
    "docstrings": make_docstring_sets,
    "titles": make_title_sets,
    "sentences": make_sentence_sets,
}
"""By option."""

FOLDS = 5

POOR_SCORE = 0.7
"""--poor lists answers below this: the relevant file is not first, or one of several is missing."""


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="./task quality --", description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument("--set", type=Path, help="directory of labelled queries: repos.json and queries/")
    parser.add_argument("--trees", type=Path, help="directory with one source tree per repository, by name")
    parser.add_argument("--repo", nargs="+", default=[], metavar="NAME", help="use only these repositories or packages")
    parser.add_argument(
        "--documents", action="store_true", help="query the documentation of packages, downloaded by pip"
    )
    parser.add_argument(
        "--names",
        nargs="+",
        default=[],
        type=Path,
        metavar="TREE",
        help="query names of these source trees (needs ctags)",
    )
    parser.add_argument(
        "--keywords-only", action="store_true", help="measure names without vectors, which take the longest"
    )
    parser.add_argument(
        "--chunks", type=Path, nargs="+", default=[], metavar="DIR", help="count bare heads and parts in these sources"
    )
    _add_kinds(parser)
    parser.add_argument(
        "--work", type=Path, help="directory that keeps indexes for the next run (default: a temporary one)"
    )
    parser.add_argument(
        "--recut", action="store_true", help="cut unchanged files again, after a change of the chunkers"
    )
    parser.add_argument(
        "--folds",
        type=int,
        default=FOLDS,
        help=f"folds of the cross-validation, the longest part (default {FOLDS}; 0: none)",
    )
    parser.add_argument("--engine", choices=ENGINES, default="exact", help="vector engine (default: %(default)s)")
    parser.add_argument("--poor", action="store_true", help=f"list queries that score below {POOR_SCORE}")
    parser.add_argument("--out", type=Path, help="write the results to this JSON file")
    parser.add_argument("--document", type=Path, help="rewrite the sections of this Markdown file")
    arguments = parser.parse_args()
    if (arguments.set is None) != (arguments.trees is None):
        parser.error("--set and --trees go together")
    measured = (
        arguments.documents,
        arguments.names,
        arguments.chunks,
        *(vars(arguments)[name] for name in KIND_MAKERS),
    )
    if arguments.set is None and not any(measured):
        parser.error("nothing to measure: name --set and --trees, --documents, --names, --chunks, or a kind of queries")
    return arguments


def _add_kinds(parser: argparse.ArgumentParser) -> None:
    """Add the options that make queries from packages on disk."""
    for name, metavar, text in (
        ("reports", "REPOSITORY", "query messages of commits; clones with their history"),
        ("docstrings", "DIR", "query first sentences of docstrings; Python packages"),
        ("titles", "PACKAGE", "query titles of sections that are removed; source distributions"),
        ("sentences", "FILE", "query words of sentences; long plain text documents"),
    ):
        parser.add_argument(f"--{name}", type=Path, nargs="+", default=[], metavar=metavar, help=text)


def ask_set(arguments: argparse.Namespace, work: Path) -> list[EvaluatedRepository]:
    """Index every tree and send its queries; a missing tree is reported and skipped."""
    shared = make_shared_services()
    evaluated = []
    for repository in load_query_set(arguments.set, arguments.repo):
        tree = arguments.trees / repository.name
        if not tree.is_dir():
            print(f"no tree at {tree}", file=sys.stderr)
            continue
        index = work / "indexes" / repository.name
        with open_index(tree, index, shared, recut=arguments.recut, engine=arguments.engine) as bundle:
            evaluated.append(evaluate_repository(bundle, repository, tree))
        print(f"evaluated: {repository.name}", file=sys.stderr)
    if not evaluated:
        raise SystemExit(f"{arguments.trees} has no tree of the set")
    return evaluated


def make_kind_sets(arguments: argparse.Namespace, work: Path) -> list[KindSet]:
    """Return the queries of the kinds that are measured; their trees are written below the work directory."""
    return [
        each
        for name, make in KIND_MAKERS.items()
        if vars(arguments)[name]
        for each in make(vars(arguments)[name], work / "trees")
    ]


def list_poor(evaluated: list[EvaluatedRepository]) -> None:
    """Print queries with poor answers, with the expected and the actual files."""
    for each in evaluated:
        for query in each.queries:
            if (score := query.score("hybrid")) < POOR_SCORE:
                expected = [target.path for target in query.targets]
                got = [passage.path for passage in query.answers["hybrid"].passages[:5]]
                print(f"{score:.2f} {each.repository.name} {query.query.text!r}")
                print(f"     expected {expected}\n     got      {got}")


def main() -> None:
    """Measure, print the tables and write the requested files."""
    arguments = parse_arguments()
    results: dict[str, Any] = {
        "date": datetime.date.today().isoformat(),
        "machine": describe_machine(),
        "engine": arguments.engine,
    }
    with ExitStack() as stack:
        work = arguments.work or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="agent brain quality ")))
        sections = {**measure_code(arguments, work, results), **measure_others(arguments, work, results)}
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    for begin, tables in sections.items():
        section = f"{describe_run(results)}\n\n{tables}"
        if arguments.document:
            update_document(arguments.document, section, begin=begin)
        print(section)


def measure_code(arguments: argparse.Namespace, work: Path, results: dict[str, Any]) -> dict[str, str]:
    """Add the results of the set and of the chunks, and return their sections."""
    sections = {}
    if arguments.set is not None:
        evaluated = ask_set(arguments, work)
        if arguments.poor:
            list_poor(evaluated)
        results["code"] = summarize(evaluated, folds=arguments.folds)
        sections[CODE_BEGIN] = format_code(results["code"])
    if arguments.chunks:
        forms = count_forms(arguments.chunks)
        results["chunks"] = {language: counts.as_dict() for language, counts in forms.items()}
        sections[CHUNKS_BEGIN] = format_forms(forms)
    return sections


def measure_others(arguments: argparse.Namespace, work: Path, results: dict[str, Any]) -> dict[str, str]:
    """Add the results of documents, names and further kinds, and return their sections."""
    sections = {}
    if arguments.documents:
        results["documents"] = measure_documents(
            work, recut=arguments.recut, list_missed=arguments.poor, names=arguments.repo
        )
        sections[DOCUMENTS_BEGIN] = format_documents(results["documents"])
    if kinds := make_kind_sets(arguments, work):
        measured = measure_kinds(kinds, work, make_shared_services())
        results["kinds"] = describe_kinds(measured)
        sections[KINDS_BEGIN] = format_kinds(measured)
    if arguments.names:
        figures = measure_names(arguments.names, work, keywords_only=arguments.keywords_only)
        results["names"] = list(map(asdict, figures))
        sections[NAMES_BEGIN] = format_names(figures)
        if arguments.poor:
            print(*(f"{each.tree} {missed}" for each in figures for missed in each.missed), sep="\n")
    return sections


def describe_run(results: dict[str, Any]) -> str:
    """Return the date and the machine of the run."""
    machine = results["machine"]
    return (
        f"Measured {results['date']} on {machine['cores']} cores of {machine['processor']}, {machine['system']}, "
        f"Python {machine['python']}."
    )


if __name__ == "__main__":
    main()
