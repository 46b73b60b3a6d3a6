"""Measure tasks of a coding agent: `./task tasks -- --work DIR`.

The packages of packages.toml are downloaded by version and hash, and each way searches for the lines that answer each
task of a set, with at most six calls. Tokens are those of every command and its output, counted with the tokenizer of
GPT-4 (cl100k_base, which llama-index-core ships). What each way saw is written to DIR/records. The ways and the product
were adjusted with `tasks/`, later with `unseen/` too; `held_out/` must never be used to change a way of searching.
"""

import argparse
import datetime
import json
import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from benchmarks.__main__ import describe_machine
from benchmarks.agent_tasks.packages import fetch_package, load_packages
from benchmarks.agent_tasks.running import (
    REFERENCE,
    WAYS,
    Attempt,
    Workplace,
    attempt,
    judge,
    list_paths,
    open_package,
    read_record,
    record_path,
)
from benchmarks.agent_tasks.tables import format_tables, to_json
from benchmarks.agent_tasks.task_set import Task, load_tasks, locate
from benchmarks.report import update_document

SETS = ("tasks", "unseen", "held_out")
DIRECTORY = Path(__file__).parent
BEGIN = "<!-- begin: {name}, written by benchmarks/agent_tasks -->"


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="./task tasks --", description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument("--work", type=Path, required=True, help="directory that keeps packages, indexes and records")
    parser.add_argument("--set", choices=SETS, default=SETS[0], help="directory of the tasks")
    parser.add_argument("--way", nargs="+", choices=list(WAYS), default=list(WAYS), help="use only these ways")
    parser.add_argument("--task", nargs="+", default=[], metavar="NAME", help="use only tasks whose name begins so")
    parser.add_argument(
        "--no-vectors", action="store_true", help="do not wait for vectors, for a quick look (answers differ)"
    )
    parser.add_argument(
        "--records", action="store_true", help="score the records of an earlier run, without running commands"
    )
    parser.add_argument("--out", type=Path, help="write the results to this JSON file")
    parser.add_argument("--document", type=Path, help="rewrite the section of this Markdown file")
    return parser.parse_args()


def choose_tasks(name: str, beginnings: Sequence[str]) -> list[Task]:
    """Return the tasks of a set, or those whose name begins in one of several ways."""
    tasks = load_tasks(DIRECTORY / name)
    return [task for task in tasks if not beginnings or task.name.startswith(tuple(beginnings))]


def measure(
    tasks: Sequence[Task], ways: Sequence[str], work: Path, records: Path, *, with_vectors: bool = True
) -> list[Attempt]:
    """Run every way on every task, package by package."""
    # late: it takes a second to import, and choosing tasks needs no tokenizer
    from llama_index.core.utils import get_tokenizer  # noqa: PLC0415

    packages = load_packages()
    encode = get_tokenizer()
    attempts = []
    for name, group in groupby(tasks, key=lambda task: task.package):
        of_package = list(group)
        root = fetch_package(packages[name], work / "sources")
        for task in of_package:
            locate(task, root)  # a wrong label is an error before anything is measured
        needs_server = list(ways) != [REFERENCE]
        with open_package(root, work / "home", needs_server=needs_server, with_vectors=with_vectors) as shells:
            run, run_mcp = shells
            place = Workplace(root, records, encode, run, list_paths(root), run_mcp)
            attempts += [attempt(way, task, place) for way in ways for task in of_package]
        print(f"measured: {name}", file=sys.stderr)
    return attempts


def score_records(tasks: Sequence[Task], ways: Sequence[str], work: Path, records: Path) -> list[Attempt]:
    """Score what the ways were shown in an earlier run; tasks and ways without a record are left out."""
    # late: it takes a second to import, and choosing tasks needs no tokenizer
    from llama_index.core.utils import get_tokenizer  # noqa: PLC0415

    packages = load_packages()
    encode = get_tokenizer()
    attempts = []
    for name, group in groupby(tasks, key=lambda task: task.package):
        root = fetch_package(packages[name], work / "sources")
        place = Workplace(root, records, encode, lambda _: "", list_paths(root))
        for task in group:
            paths = {way: record_path(records, way, task) for way in ways}
            attempts += [judge(way, task, read_record(path), place) for way, path in paths.items() if path.exists()]
    return attempts


def main() -> None:
    """Measure, print the tables and write the requested files."""
    arguments = parse_arguments()
    name: str = arguments.set
    work = arguments.work.resolve()
    tasks = choose_tasks(name, arguments.task)
    records = work / "records" / name
    if arguments.records:
        attempts = score_records(tasks, arguments.way, work, records)
    else:
        attempts = measure(tasks, arguments.way, work, records, with_vectors=not arguments.no_vectors)
    for each in attempts:
        if not each.is_solved:
            print(f"not solved: {each.way} {each.task.name} ({each.task.category}): {', '.join(each.missing)}")
    machine = describe_machine()
    date = datetime.date.today().isoformat()
    if arguments.out:
        content = {"date": date, "machine": machine, "set": name, **to_json(attempts)}
        arguments.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    section = f"Measured {date}.\n\n{format_tables(attempts)}"
    if arguments.document:
        update_document(arguments.document, section, begin=BEGIN.format(name=name))
    print(section)


if __name__ == "__main__":
    main()
