"""Run the long loops: `./task soak`, with arguments after `--`.

Each loop works with real processes in a scratch directory, prints a line per promise, and fails at the first round that
breaks one. `--short` runs all of them with few rounds, in under ninety seconds.
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
from benchmarks.soak.clock import loop_clock
from benchmarks.soak.crowd import loop_crowd, loop_slow
from benchmarks.soak.damage import loop_flips, loop_lost
from benchmarks.soak.disk import check_read_only, loop_full_disk
from benchmarks.soak.ending import loop_kill_compact, loop_kill_stop
from benchmarks.soak.flood import loop_branches, loop_flood
from benchmarks.soak.fresh import loop_fresh
from benchmarks.soak.hostile_files import loop_hostile_files
from benchmarks.soak.killing import loop_kill_daemon, loop_kill_server, loop_kill_worker
from benchmarks.soak.listing import loop_list
from benchmarks.soak.outcome import Outcome, format_results
from benchmarks.soak.outward import loop_outward
from benchmarks.soak.sharing import loop_closed, loop_crosstalk
from benchmarks.soak.small_files import loop_small_files
from benchmarks.soak.starting import (
    loop_discover,
    loop_projects_at_once,
    loop_restart_after_kill,
    loop_simultaneous_starters,
    loop_stopped_server,
)
from benchmarks.soak.steady import loop_steady
from benchmarks.soak.stopping import loop_lock, loop_outliving_worker, loop_stop_start_status, loop_stranger
from benchmarks.soak.unauthorized import loop_mixed, loop_unauthorized

Loop = Callable[[Path, int], Iterator[Outcome]]


@dataclass(frozen=True, slots=True)
class Case:
    """A loop with its usual number of rounds and that of the short run.

    Attributes:
        promise: Number in docs/RELIABILITY.md.
        loop: What is run, given a directory of its own and the number of rounds.
        rounds: As many as the table of docs/RELIABILITY.md shows.
        short: As many as fit a run of ninety seconds.
    """

    promise: int
    loop: Loop
    rounds: int
    short: int


CASES = {
    "starters": Case(1, loop_simultaneous_starters, 50, 1),
    "projects": Case(1, loop_projects_at_once, 10, 1),
    "restart": Case(2, loop_restart_after_kill, 10, 2),
    "lock": Case(3, loop_lock, 10, 2),
    "worker-outlives": Case(4, loop_outliving_worker, 10, 1),
    "stranger": Case(5, loop_stranger, 100, 20),
    "discover": Case(6, loop_discover, 5_000, 500),
    "loop": Case(9, loop_stop_start_status, 100, 3),
    "suspended": Case(10, loop_stopped_server, 20, 2),
    "kill-server": Case(13, loop_kill_server, 100, 3),
    "kill-worker": Case(13, loop_kill_worker, 100, 3),
    "kill-daemon": Case(13, loop_kill_daemon, 30, 1),
    "full-disk": Case(15, loop_full_disk, 10, 1),
    "read-only": Case(8, check_read_only, 10, 1),
    "crosstalk": Case(18, loop_crosstalk, 10_000, 200),
    "fresh": Case(31, loop_fresh, 10_000, 150),
    "closed": Case(19, loop_closed, 50, 10),
    "list": Case(20, loop_list, 10, 1),
    "flip": Case(21, loop_flips, 100, 3),
    "lost": Case(22, loop_lost, 16, 2),
    "kill-stop": Case(23, loop_kill_stop, 100, 2),
    "kill-compact": Case(23, loop_kill_compact, 100, 1),
    "flood": Case(24, loop_flood, 10_000, 500),
    "branches": Case(24, loop_branches, 20, 1),
    "crowd": Case(25, loop_crowd, 10, 1),
    "slow": Case(25, loop_slow, 10, 1),
    "unauthorized": Case(25, loop_unauthorized, 15, 2),
    "unauthorized-mixed": Case(25, loop_mixed, 15, 2),
    "steady": Case(26, loop_steady, 30, 0),
    "clock": Case(27, loop_clock, 20, 1),
    "flip-small": Case(28, loop_small_files, 100, 2),
    "hostile-files": Case(32, loop_hostile_files, 600, 12),
    "outward": Case(30, loop_outward, 60, 2),
}


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="./task soak --", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of: {', '.join(CASES)}; all where none is named")
    parser.add_argument(
        "--rounds",
        type=int,
        help="rounds (seconds of lock, unauthorized and outward, questions of crosstalk and fresh, projects of closed, "
        "files of flood and hostile-files, minutes of steady)",
    )
    parser.add_argument("--short", action="store_true", help="few rounds of everything")
    parser.add_argument("--out", type=Path, help="add the results to this file, one JSON object a line")
    parser.add_argument("--document", type=Path, help="rewrite the table of this Markdown file from what --out names")
    arguments = parser.parse_args()
    if arguments.document and not arguments.out:
        parser.error("--document needs --out")
    if unknown := set(arguments.cases) - set(CASES):
        parser.error(f"unknown case {', '.join(sorted(unknown))}: choose from {', '.join(CASES)}")
    return arguments


def run_case(name: str, case: Case, scratch: Path, rounds: int) -> list[Outcome]:
    """Run one loop; an error, or a promise that is broken in a round, is an outcome too."""
    directory = scratch / name
    directory.mkdir()
    try:
        return list(case.loop(directory, rounds))
    except Exception as exc:  # noqa: BLE001 - the other loops are still to be run; it is shown and fails the run
        traceback.print_exc()
        return [Outcome(case.promise, f"{name} × {rounds}", f"{type(exc).__name__}: {exc}", kept=False)]


def main() -> int:
    """Run the loops that were asked for; return 1 where a promise was broken."""
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
