"""Measure the time from a save, or from many at once, until answers include it."""

import itertools
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.client import Client
from benchmarks.figures import Measured, measured
from benchmarks.project import Project

SAVES = 5  # per run; half of them as editors do: another file, renamed over the old one
ASK_INTERVAL = 0.01  # seconds between two queries for the saved text
SAVE_SECONDS = 30  # longest wait for one save
BULK_FILES = 10_000  # written at once, as by a branch switch
BULK_INTERVAL = 0.1  # seconds between two checks
BULK_SECONDS = 300  # longest wait for them
QUIET_SECONDS = 2  # between two saves, so that each is measured alone

SOURCE = "def {name}():\n    return {value}\n"


def measure_saves(project: Project, state: dict[str, Any], runs: int) -> list[Measured]:
    """Measure the seconds from a save to the first answer that includes it; the slowest save of a run counts."""
    target = next(path for path in sorted(project.root.rglob("*.py")) if path.stat().st_size > 1_000)
    original = target.read_text(encoding="utf-8")
    slowest: list[float] = []
    ways = itertools.cycle((write_in_place, write_by_rename))
    with Client(state) as client:
        for run in range(runs):
            waits: list[float] = []
            for save in range(SAVES):
                name = f"freshly_saved_{run}_{save}_word"
                time.sleep(QUIET_SECONDS)
                next(ways)(target, original + "\n\n" + SOURCE.format(name=name, value=save))
                waits.append(wait_until(partial(shows, client, name), ASK_INTERVAL, SAVE_SECONDS))
            slowest.append(max(waits))
    write_in_place(target, original)
    return [measured("save_visible", slowest)]


def measure_bulk(project: Project, runs: int) -> list[Measured]:
    """Measure the seconds from the last of many writes until all files are found by keyword."""
    directory = project.root / "bulk"
    directory.mkdir()
    waits: list[float] = []
    with project.serving() as state, Client(state) as client:
        (directory / "first.py").write_text(SOURCE.format(name="first", value=0), encoding="utf-8")
        project.run("index", "--json", str(directory))
        for run in range(runs):
            for number in range(BULK_FILES):
                source = SOURCE.format(name=f"bulk_{run}_{number}", value=number)
                (directory / f"file_{number}.py").write_text(source, encoding="utf-8")
            waits.append(wait_until(partial(follows, client, run), BULK_INTERVAL, BULK_SECONDS))
    return [measured("bulk_visible", waits)]


def shows(client: Client, name: str) -> bool:
    """Return whether the first result of a query for a name contains it."""
    results = client.call("POST", "/query", {"query": name, "top_k": 1, "mode": "bm25"})["results"]
    return bool(results) and name in results[0]["text"]


def follows(client: Client, run: int) -> bool:
    """Return whether nothing is pending and the current first and last file are found."""
    pending = client.call("POST", "/query", {"query": "bulk", "mode": "bm25"})["index"]["files_pending"]
    return pending == 0 and all(shows(client, f"bulk_{run}_{number}") for number in (0, BULK_FILES - 1))


def wait_until(is_met: Callable[[], bool], interval: float, limit: float) -> float:
    """Return the seconds until a condition is met.

    Raises:
        TimeoutError: It was not within `limit` seconds.
    """
    started = time.perf_counter()
    while not is_met():
        if time.perf_counter() - started > limit:
            raise TimeoutError(f"the index did not follow within {limit:.0f} s")
        time.sleep(interval)
    return time.perf_counter() - started


def write_in_place(path: Path, text: str) -> None:
    """Overwrite a file in place."""
    path.write_text(text, encoding="utf-8")


def write_by_rename(path: Path, text: str) -> None:
    """Write another file and move it over the old one."""
    partial = path.with_name(f".{path.name}.new")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
