"""Thousands of files that come and go at once, and branches that change under a job: the index becomes the tree."""

import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from agent_brain_server.lifecycle.control import start_server
from agent_brain_server.storage_paths import resolve_state_dir
from benchmarks.soak.killing import JOB_LIMIT_S, SEED, IndexedProject, prepare
from benchmarks.soak.outcome import Outcome, require
from benchmarks.soak.servers import project
from benchmarks.soak.stores import find_faults, list_paths

FLOOD_LIMIT_S = 300.0  # on a busy machine
PER_DIRECTORY = 250
SWITCHES = 6
SWITCH_S = 0.3  # a job takes longer
BRANCHES = ("main", "other")


def loop_flood(scratch: Path, files: int) -> Iterator[Outcome]:
    """Let files appear at once, unasked, and remove them at once."""
    with project(scratch, "flood") as root:
        work = prepare(root, SEED, start_server(root).state, resolve_state_dir(root))
        began = time.monotonic()
        paths = [f"src/flood_{number // PER_DIRECTORY}/note_{number}.md" for number in range(files)]
        for path in paths:
            (root / path).parent.mkdir(exist_ok=True)
            (root / path).write_text(f"# Note {number_of(path)}\n\nflooded{number_of(path)}\n")
        _await_paths(work, work.tree.present.keys() | set(paths))
        came_s = time.monotonic() - began
        body = {"query": f"flooded{files - 1}", "mode": "bm25"}
        found = work.ask("POST", "/query", body)["results"]
        require(found and found[0]["source"] == paths[-1], "the last file is not found")
        began = time.monotonic()
        for path in paths:
            (root / path).unlink()
        _await_paths(work, set(work.tree.present))
        gone_s = time.monotonic() - began
        _await_truth(work)
    done = f"{files:,} files appeared at once in a project that is watched, and were removed at once"
    yield Outcome(
        24, done, f"found by keyword after {came_s:.1f} s, forgotten after {gone_s:.1f} s, nobody asked for it"
    )


def loop_branches(scratch: Path, rounds: int) -> Iterator[Outcome]:
    """Switch between two branches while a job runs, again and again."""
    with project(scratch, "branches") as root:
        work = prepare(root, SEED, start_server(root).state, resolve_state_dir(root))
        chance = random.Random(SEED)
        _git(root, "init", "-q", "-b", BRANCHES[0])
        trees: dict[str, dict[str, str]] = {}
        for branch in BRANCHES:
            if trees:
                _git(root, "checkout", "-q", "-b", branch)
                work.tree.change()
            _git(root, "add", ".")
            _git(root, "commit", "-q", "-m", branch)
            trees[branch] = dict(work.tree.present)
        for _ in range(rounds):
            work.begin_job()
            for branch in chance.choices(BRANCHES, k=SWITCHES):
                _git(root, "checkout", "-q", branch)
                work.tree.present = trees[branch]
                time.sleep(chance.uniform(0, SWITCH_S))
            _await_truth(work)
    yield Outcome(24, f"branches switched {SWITCHES} times while a job ran × {rounds}", "the index became the tree")


def number_of(path: str) -> int:
    """Return the number in a flooded file's name."""
    return int(path.rpartition("_")[2].partition(".")[0])


def _await_paths(work: IndexedProject, expected: set[str]) -> None:
    deadline = time.monotonic() + FLOOD_LIMIT_S
    while (found := list_paths(work.stores)) != expected:
        require(time.monotonic() < deadline, f"{len(found)} files are indexed, there are {len(expected)}")
        time.sleep(0.1)


def _await_truth(work: IndexedProject) -> None:
    deadline = time.monotonic() + JOB_LIMIT_S
    while faults := find_faults(work.stores, work.tree.present):
        require(time.monotonic() < deadline, "; ".join(faults[:3]))
        time.sleep(0.1)


def _git(root: Path, *arguments: str) -> None:
    names = ["-c", "user.name=soak", "-c", "user.email=soak@localhost"]
    subprocess.run(["git", *names, *arguments], cwd=root, check=True, capture_output=True, timeout=60)
