"""Measure the extraction of definitions and references: `./task structure -- --work DIR --trees DIR`.

References are compared with those that jedi finds in five Python packages and the TypeScript language service in five
TypeScript packages, for 200 names of each. pip and npm fetch packages and reference implementations into the work
directory; jedi takes some minutes, and what it finds is kept there. Definitions are compared with those of
universal-ctags, in the trees and packages.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.report import format_table, update_document
from benchmarks.structure.package_facts import read_package
from benchmarks.structure.packages import (
    PYTHON_PACKAGES,
    TYPESCRIPT_PACKAGES,
    fetch_npm_package,
    fetch_wheel,
    find_sites_with_jedi,
    find_sites_with_typescript,
)
from benchmarks.structure.references import NameResult, compare_names, read_entries, score
from benchmarks.structure.speed import Speed, measure_speed
from benchmarks.structure.tags import TagScore, compare_tags

BEGIN = "<!-- begin: structure, written by benchmarks/structure -->"

NAMES = 200  # per package
MIN_TAGS = 100  # a language with fewer is not listed
FILES = 200  # of each tree that are compared with ctags

Compared = list[tuple[str, list[NameResult]]]


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="./task structure --", description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument("--work", type=Path, required=True, help="directory that keeps packages and reference sites")
    parser.add_argument("--trees", type=Path, help="directory of source trees in which definitions are compared")
    parser.add_argument("--files", type=int, default=FILES, help="files of each tree (default: %(default)s)")
    parser.add_argument("--examples", action="store_true", help="list some of the tags that are not found")
    parser.add_argument("--document", type=Path, help="rewrite the section of this Markdown file")
    return parser.parse_args()


def compare_references(work: Path) -> tuple[Compared, Compared]:
    """Return the names of each Python and each TypeScript package with their sites."""
    python = [
        (package.name, compare_names(read_entries(find_sites_with_jedi(package, work, NAMES)), read_package(sources)))
        for package in PYTHON_PACKAGES
        if (sources := fetch_wheel(package, work))
    ]
    typescript = [
        (
            package.name,
            compare_names(read_entries(find_sites_with_typescript(package, work, NAMES)), read_package(root)),
        )
        for package in TYPESCRIPT_PACKAGES
        if (root := fetch_npm_package(package, work))
    ]
    return python, typescript


def format_references(compared: Compared) -> str:
    """Return the table of one language."""
    rows = [
        ["package", "names", "sites", "recall", "precision", "names defined once", "their recall", "their precision"]
    ]
    every = [result for _, results in compared for result in results]
    for name, results in [*compared, ("all", every)]:
        total, once = score(results), score([result for result in results if result.is_unique])
        rows.append(
            [name, str(total.names), str(total.sites), f"{total.macro_recall:.3f} ({total.recall:.3f})"]
            + [f"{total.macro_precision:.3f} ({total.precision:.3f})", str(once.names)]
            + [f"{once.macro_recall:.3f} ({once.recall:.3f})", f"{once.macro_precision:.3f} ({once.precision:.3f})"]
        )  # fmt: skip
    return format_table(rows)


def format_tags(scores: dict[str, TagScore]) -> str:
    """Return the table of definitions by language."""
    rows = [["language", "definitions of ctags", "left out by rule", "recall"]]
    for language, result in sorted(scores.items()):
        if result.tags >= MIN_TAGS:
            rows.append([language, str(result.tags), str(result.excluded), f"{result.recall:.3f}"])
    return format_table(rows)


def format_speed(speeds: dict[str, Speed]) -> str:
    """Return the table of CPU time by grammar."""
    rows = [["grammar", "MB", "parsing, MB/s", "definitions, MB/s", "facts, MB/s", "facts as a multiple of parsing"]]
    for grammar, speed in sorted(speeds.items()):
        megabytes = speed.size / 1e6
        seconds = (speed.parsing, speed.finding, speed.extracting)
        rows.append([grammar, f"{megabytes:.1f}", *(f"{megabytes / part:.1f}" for part in seconds)])
        rows[-1].append(f"{speed.extracting / speed.parsing:.2f}")
    return format_table(rows)


def print_examples(scores: dict[str, TagScore]) -> None:
    """Print some tags of each language and kind that are not found."""
    for language, result in sorted(scores.items()):
        for kind, examples in result.examples.items():
            print(language, kind, result.missed[kind], *examples[:: max(1, len(examples) // 5)][:5], sep="\n    ")


def list_trees(arguments: argparse.Namespace) -> Sequence[Path]:
    """Return the directories in which definitions are compared."""
    trees = sorted(path for path in arguments.trees.iterdir() if path.is_dir()) if arguments.trees else []
    return [*trees, *sorted((arguments.work / "packages").iterdir())]


def main() -> None:
    """Measure, and print or write the tables."""
    arguments = parse_arguments()
    python, typescript = compare_references(arguments.work)
    scores: dict[str, TagScore] = {}
    for tree in list_trees(arguments):
        compare_tags(tree.resolve(), scores, arguments.files)
    speeds = measure_speed(list_trees(arguments))
    titles = ("**Python against jedi**", "**TypeScript against its language service**")
    tables = [f"{titles[0]}\n\n{format_references(python)}", f"{titles[1]}\n\n{format_references(typescript)}"]
    tables.append(f"**Definitions against universal-ctags**\n\n{format_tags(scores)}")
    tables.append(f"**CPU time**\n\n{format_speed(speeds)}")
    section = "\n\n".join(tables)
    print(section)
    if arguments.examples:
        print_examples(scores)
    if arguments.document:
        update_document(arguments.document, section, begin=BEGIN)


if __name__ == "__main__":
    main()
