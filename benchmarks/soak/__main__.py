"""Run the soak loops: `./task soak`, with arguments after `--`.

Each loop uses real processes in a temporary directory, prints one line for each promise of docs/RELIABILITY.md that it
checks, and ends at the first round that breaks one. `--short` runs every loop with few rounds.
"""

import argparse
import datetime
import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent_brain_server.storage_paths import HOME_VARIABLE, STATE_DIR_VARIABLE
from benchmarks.__main__ import describe_machine
from benchmarks.report import update_document
from benchmarks.soak.damage import loop_lost
from benchmarks.soak.disk import loop_full_disk
from benchmarks.soak.fresh import loop_fresh
from benchmarks.soak.hostile_files import loop_hostile_files
from benchmarks.soak.killing import loop_kill_daemon, loop_kill_server, loop_kill_worker
from benchmarks.soak.outcome import Outcome, format_results
from benchmarks.soak.outward import loop_outward
from benchmarks.soak.sharing import loop_closed, loop_crosstalk
from benchmarks.soak.starting import loop_restart_after_kill, loop_simultaneous_starters
from benchmarks.soak.steady import loop_steady
from benchmarks.soak.unauthorized import loop_mixed, loop_unauthorized

Loop = Callable[[Path, int], Iterator[Outcome]]


@dataclass(frozen=True, slots=True)
class Case:
    """A loop with its number of rounds.

    Attributes:
        promise: Number in docs/RELIABILITY.md.
        loop: The loop; takes an empty directory and the number of rounds.
        rounds: Rounds of the full run.
        short: Rounds with `--short`.
    """

    promise: int
    loop: Loop
    rounds: int
    short: int


CASES = {
    "starters": Case(1, loop_simultaneous_starters, 50, 1),
    "restart": Case(2, loop_restart_after_kill, 10, 2),
    "kill-server": Case(13, loop_kill_server, 100, 4),
    "kill-worker": Case(13, loop_kill_worker, 100, 3),
    "kill-daemon": Case(13, loop_kill_daemon, 30, 1),
    "full-disk": Case(15, loop_full_disk, 10, 1),
    "crosstalk": Case(18, loop_crosstalk, 10_000, 200),
    "closed": Case(19, loop_closed, 50, 10),
    "lost": Case(22, loop_lost, 16, 2),
    "unauthorized": Case(25, loop_unauthorized, 15, 2),
    "unauthorized-mixed": Case(25, loop_mixed, 15, 2),
    "steady": Case(26, loop_steady, 30, 0),
    "outward": Case(30, loop_outward, 60, 2),
    "fresh": Case(31, loop_fresh, 10_000, 150),
    "hostile-files": Case(32, loop_hostile_files, 600, 12),
}


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="./task soak --", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"loops to run, of: {', '.join(CASES)} (default: all)")
    parser.add_argument(
        "--rounds",
        type=int,
        help="rounds; seconds of unauthorized and outward, queries of crosstalk and fresh, projects of closed, "
        "files of hostile-files, minutes of steady",
    )
    parser.add_argument("--short", action="store_true", help="run few rounds of each loop")
    parser.add_argument("--out", type=Path, help="append the results to this file, one JSON object per line")
    parser.add_argument("--document", type=Path, help="rewrite the table of this Markdown file from --out")
    arguments = parser.parse_args()
    if arguments.document and not arguments.out:
        parser.error("--document needs --out")
    if unknown := set(arguments.cases) - set(CASES):
        parser.error(f"unknown case {', '.join(sorted(unknown))}: choose from {', '.join(CASES)}")
    return arguments


def run_case(name: str, case: Case, scratch: Path, rounds: int) -> list[Outcome]:
    """Run one loop; an error or a broken promise is returned as an outcome."""
    directory = scratch / name
    directory.mkdir()
    try:
        return list(case.loop(directory, rounds))
    except Exception as exc:  # noqa: BLE001 - the other loops still run; this one is printed and fails the run
        traceback.print_exc()
        return [Outcome(case.promise, f"{name} × {rounds}", f"{type(exc).__name__}: {exc}", kept=False)]


def main() -> int:
    """Run the selected loops; return 1 if a promise was broken."""
    arguments = parse_arguments()
    kept = True
    os.environ.pop(STATE_DIR_VARIABLE, None)
    with tempfile.TemporaryDirectory(prefix="agent brain soak ") as directory:
        os.environ[HOME_VARIABLE] = str(Path(directory) / "home")
        for name in arguments.cases or CASES:
            case = CASES[name]
            began = time.monotonic()
            outcomes = run_case(name, case, Path(directory), _rounds(case, arguments))
            seconds = time.monotonic() - began
            for outcome in outcomes:
                print(f"{outcome.to_line()}  ({seconds:.0f} s)", flush=True)
                kept = kept and outcome.kept
                if arguments.out:
                    _append(arguments.out, outcome.to_json() | {"case": name, "seconds": round(seconds, 1)})
    if arguments.document:
        update_document(arguments.document, format_results(arguments.out))
    return 0 if kept else 1


def _rounds(case: Case, arguments: argparse.Namespace) -> int:
    if arguments.rounds is not None:
        return int(arguments.rounds)
    return case.short if arguments.short else case.rounds


def _append(path: Path, found: dict[str, Any]) -> None:
    document = {"date": datetime.date.today().isoformat(), "machine": describe_machine(), **found}
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(document) + "\n")


if __name__ == "__main__":
    sys.exit(main())
