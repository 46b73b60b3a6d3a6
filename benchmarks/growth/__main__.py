"""Measure how Agent Brain grows: `python -m benchmarks.growth --work DIR [SIZE…]`, then `--document docs/SCALING.md`.

A run goes on where the last one with the same work directory ended, for about `--seconds`, so that the hour that all
of it takes can be had in slices. Sources are fetched by pip once.
"""

import argparse
from pathlib import Path

from benchmarks.growth.progress import Findings
from benchmarks.growth.steps import EMBEDDED_UP_TO, ENGINES, Growth, findings_path
from benchmarks.growth.table import BEGIN, format_growth
from benchmarks.report import update_document

SIZES = (1_000, 10_000, 100_000, 500_000)


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, metavar="SIZE", help=f"chunks; default: {SIZES}")
    parser.add_argument("--work", type=Path, required=True, help="directory for sources, indexes and results")
    parser.add_argument("--seconds", type=float, default=86_400, help="stop after about this time (default: a day)")
    parser.add_argument("--again", action="store_true", help="repeat the queries on a complete index")
    parser.add_argument(
        "--embed-up-to",
        type=int,
        default=EMBEDDED_UP_TO,
        metavar="SIZE",
        help="larger sizes get generated vectors (default: %(default)s)",
    )
    parser.add_argument("--engine", choices=ENGINES, default="exact", help="vector engine (default: %(default)s)")
    parser.add_argument("--document", type=Path, help="rewrite the table of this Markdown file and measure nothing")
    return parser.parse_args()


def load_columns(work: Path) -> list[Findings]:
    """Return the results of each size and engine."""
    found = [Findings.load(findings_path(work, size, engine), size, engine) for size in SIZES for engine in ENGINES]
    return [column for column in found if column.latencies]


def main() -> int:
    """Continue each size; return 1 if something remains to be done."""
    arguments = parse_arguments()
    work = arguments.work.resolve()
    if arguments.document:
        update_document(arguments.document, format_growth(load_columns(work)), begin=BEGIN)
        return 0
    for size in arguments.sizes or SIZES:
        growth = Growth(size, work, engine=arguments.engine, embed_up_to=arguments.embed_up_to)
        if arguments.again:
            growth.found.latencies.clear()
        is_done = growth.go_on(arguments.seconds)
        print(f"{size:,}: {'done' if is_done else 'not done yet'}", flush=True)
        if not is_done:
            return 1
    print(format_growth(load_columns(work)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
