"""Run the benchmark: `./task bench`, with arguments after `--`.

Each group is measured together with its reference: help, start, status, size, first (first indexes), meanwhile (answers
during them), serving (queries, the parts of a query alone, memory, indexing again). All of them take about ten minutes.
"""

import argparse
import datetime
import itertools
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.alone.measure import measure_alone
from benchmarks.corpus import VERSION, fetch_corpus, make_queries
from benchmarks.figures import Measured
from benchmarks.installed_size import list_packages
from benchmarks.measure_commands import measure_help, measure_start, measure_status
from benchmarks.measure_freshness import measure_bulk, measure_saves
from benchmarks.measure_indexing import measure_answers_meanwhile, measure_first_index
from benchmarks.measure_serving import index_wholly, measure_memory, measure_queries, measure_reindex, save_answer
from benchmarks.project import Project
from benchmarks.report import format_report, update_document

REPOSITORY = Path(__file__).parents[1]
ALONE_QUERIES = 420  # for each part, including the first ones, which are not counted
BULK_RUNS = 2  # each indexes ten thousand files

GROUPS = ("help", "start", "status", "size", "serving", "first", "meanwhile", "bulk")


@dataclass
class Benchmark:
    """One run of the benchmark: its parts and its results so far."""

    project: Project
    scratch: Path
    questions: Iterator[str]
    runs: int
    figures: list[Measured] = field(default_factory=list)
    alone: list[dict[str, Any]] = field(default_factory=list)
    packages: list[dict[str, Any]] = field(default_factory=list)
    corpus: dict[str, Any] = field(default_factory=dict)

    @property
    def answer(self) -> Path:
        """Return the file with a real answer for the bare server; empty if no group has saved one."""
        path = self.scratch / "answer.json"
        if not path.exists():
            path.write_text("{}")
        return path

    def measure(self, group: str) -> None:
        """Measure one group."""
        match group:
            case "help":
                self.figures += measure_help(self.project, self.runs)
            case "start":
                self.figures += measure_start(self.project, self.runs)
            case "status":
                self.figures += measure_status(self.project, self.runs)
            case "size":
                self.packages = [asdict(package) for package in list_packages()]
            case "first":
                self.figures += measure_first_index(self.project, self.runs)
            case "meanwhile":
                self.figures += measure_answers_meanwhile(self.project, self.runs, self.questions, self.answer)
            case "bulk":
                many = self.scratch / "many"
                many.mkdir()
                self.figures += measure_bulk(Project(many, self.scratch / "bulk"), BULK_RUNS)
            case "serving":
                self.measure_serving()

    def measure_serving(self) -> None:
        """Index the corpus completely, then measure the server."""
        self.project.forget()
        with self.project.serving() as state:
            status, peak = index_wholly(self.project, state)
            self.corpus = {
                "name": f"Django {VERSION}, the wheel without its translation catalogues",
                "files": status["total_documents"],
                "chunks": status["total_chunks"],
            }
            save_answer(state, next(self.questions), self.answer)
            self.figures += measure_queries(state, self.runs, self.questions, self.answer)
            asked = list(itertools.islice(self.questions, ALONE_QUERIES))
            root, state_dir = self.project.root, self.project.state_dir
            self.alone = measure_alone(root, state_dir, asked, self.scratch, REPOSITORY / ".cache")
            self.figures += measure_reindex(self.project, state, self.runs)
            self.figures += [*measure_memory(state, self.runs), peak]
            self.figures += measure_saves(self.project, state, self.runs)

    def to_json(self) -> dict[str, Any]:
        """Return all results."""
        return {
            "date": datetime.date.today().isoformat(),
            "machine": describe_machine(),
            "runs": self.runs,
            "corpus": self.corpus,
            "figures": [figure.to_json() for figure in self.figures],
            "alone": self.alone,
            "packages": self.packages,
        }


def describe_machine() -> dict[str, Any]:
    """Return the properties of the machine that figures depend on, without its name."""
    cpu_info = Path("/proc/cpuinfo").read_text()
    models = [line.partition(":")[2].strip() for line in cpu_info.splitlines() if line.startswith("model name")]
    return {
        "cores": os.cpu_count(),
        "processor": models[0] if models else platform.machine(),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
    }


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="./task bench --", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "groups", nargs="*", metavar="GROUP", help=f"groups to measure, of: {', '.join(GROUPS)} (default: all)"
    )
    parser.add_argument("--runs", type=int, default=5, help="runs of each measurement (default 5)")
    parser.add_argument("--out", type=Path, help="write the results to this JSON file")
    parser.add_argument("--document", type=Path, help="rewrite the section of this Markdown file")
    arguments = parser.parse_args()
    if unknown := set(arguments.groups) - set(GROUPS):
        parser.error(f"unknown group {', '.join(sorted(unknown))}: choose from {', '.join(GROUPS)}")
    return arguments


def main() -> None:
    """Measure, print the table and write the requested files."""
    arguments = parse_arguments()
    corpus = fetch_corpus(REPOSITORY / ".cache")
    with tempfile.TemporaryDirectory(prefix="agent brain bench ") as directory:
        scratch = Path(directory)
        root = scratch / "django"  # outside of this repository, whose .gitignore would exclude it
        shutil.copytree(corpus, root)
        benchmark = Benchmark(Project(root, scratch), scratch, iter(make_queries(corpus)), arguments.runs)
        for group in GROUPS:
            if group in (arguments.groups or GROUPS):
                print(f"measuring: {group}", file=sys.stderr)
                benchmark.measure(group)
    results = benchmark.to_json()
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    report = format_report(results)
    if arguments.document:
        update_document(arguments.document, report)
    print(report)


if __name__ == "__main__":
    main()
