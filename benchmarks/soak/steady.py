"""Half an hour of 50 queries a second while files change; latency and memory are measured by minute."""

import itertools
import os
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent_brain_server.lifecycle.control import start_server
from agent_brain_server.runtime import RuntimeState
from agent_brain_server.storage_paths import resolve_state_dir
from benchmarks.client import Client, RefusedError
from benchmarks.soak.killing import SEED, IndexedProject, prepare
from benchmarks.soak.outcome import Outcome, percentile, require
from benchmarks.soak.servers import project, wait_until
from benchmarks.soak.stores import find_faults

RATE = 50  # queries a second
ASKERS = 4
CHANGE_INTERVAL_S = 2.0  # 14 files saved, two removed, two added
MINUTE_S = 60.0
SHORT_S = 10.0  # duration with `--rounds 0`
MAX_SLOWER = 1.5  # p99 of the last third relative to the first
MAX_GROWTH = 0.05  # memory, from the end of the first third
FILTERS: tuple[dict[str, Any], ...] = (
    {"mode": "hybrid"},
    {"mode": "bm25"},
    {"mode": "vector"},
    {"mode": "hybrid", "languages": ["python"], "file_paths": ["src/module_*.py"]},
)


@dataclass
class Measured:
    """Measurements, each with the seconds since the start."""

    latencies_ms: list[tuple[float, float]] = field(default_factory=list)
    memory_mb: list[tuple[float, float]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def loop_steady(scratch: Path, minutes: int) -> Iterator[Outcome]:
    """Query and change files for some minutes. 0 means ten seconds, too short for a trend: only errors count."""
    seconds = minutes * MINUTE_S or SHORT_S
    with project(scratch, "steady") as root:
        work = prepare(root, SEED, start_server(root).state, resolve_state_dir(root))
        measured = _run(work, seconds)
        wait_until(lambda: not work.ask("GET", "/health/status")["indexing_in_progress"], "the end of the last job")
        wait_until(lambda: not find_faults(work.stores, work.tree.present), "an index equal to the tree")
    slice_s = min(MINUTE_S, seconds / 3)
    yield _judge(measured, seconds, slice_s, has_trend=minutes > 0)


def _run(work: IndexedProject, seconds: float) -> Measured:
    measured, began = Measured(), time.monotonic()
    until = began + seconds
    lock = threading.Lock()
    threads = [
        threading.Thread(target=_ask, args=(work, number, began, until, measured, lock)) for number in range(ASKERS)
    ]
    for thread in threads:
        thread.start()
    changed_at = began
    while time.monotonic() < until:
        measured.memory_mb.append((time.monotonic() - began, read_memory_mb(work.state)))
        if time.monotonic() - changed_at >= CHANGE_INTERVAL_S:
            changed_at = time.monotonic()
            with lock:
                work.tree.change()
        time.sleep(0.5)
    for thread in threads:
        thread.join()
    return measured


def _ask(
    work: IndexedProject, number: int, began: float, until: float, measured: Measured, lock: threading.Lock
) -> None:
    """Send queries at a fixed rate; late ones are sent at once, so that a pause shows in every latency."""
    chance = random.Random(number)
    with Client(work.state.model_dump(mode="json")) as client:
        for turn in itertools.count():
            due = began + (turn * ASKERS + number) / RATE
            if due >= until:
                return
            time.sleep(max(0.0, due - time.monotonic()))
            with lock:
                path, marker = work.tree.pick_marker()
            body = {"query": f"{marker} {path} {chance.choice(('lock', 'chunk', 'recall'))}", **chance.choice(FILTERS)}
            try:
                client.call("POST", "/query", body)
            except (RefusedError, OSError) as exc:
                measured.errors.append(f"{type(exc).__name__}: {exc}")
            now = time.monotonic()
            measured.latencies_ms.append((due - began, (now - due) * 1000))


def read_memory_mb(state: RuntimeState) -> float:
    """Return the resident memory of a server, in MB."""
    pages = int(Path(f"/proc/{state.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _judge(measured: Measured, seconds: float, slice_s: float, *, has_trend: bool) -> Outcome:
    asked = len(measured.latencies_ms)
    require(asked > seconds * RATE / 2, f"only {asked} queries were answered")
    third = seconds / 3
    first = percentile(_between(measured.latencies_ms, 0, third), 0.99)
    last = percentile(_between(measured.latencies_ms, 2 * third, seconds), 0.99)
    warm = _between(measured.memory_mb, third, third + slice_s)
    end = _between(measured.memory_mb, seconds - slice_s, seconds)
    growth = percentile(end, 0.5) / percentile(warm, 0.5) - 1
    rows = [
        f"{percentile(part, 0.5):.1f}/{percentile(part, 0.99):.1f}/{percentile(memory, 0.5):.0f}"
        for start in itertools.takewhile(lambda start: start < seconds - 1, itertools.count(0.0, slice_s))
        if (part := _between(measured.latencies_ms, start, start + slice_s))
        and (memory := _between(measured.memory_mb, start, start + slice_s))
    ]
    found = (
        f"{asked:,} answered, {len(measured.errors)} errors {measured.errors[:1] or ''}; "
        f"p99 {first:.1f} ms in the first third, {last:.1f} in the last; memory {growth:+.1%} after the first third; "
        f"by {slice_s:.0f} s, p50/p99 ms/MB: {', '.join(rows)}"
    )
    is_steady = last <= first * MAX_SLOWER and growth <= MAX_GROWTH
    kept = not measured.errors and (is_steady or not has_trend)
    done = f"{RATE} queries a second for {seconds / MINUTE_S:.1f} min, 18 files changed every {CHANGE_INTERVAL_S:.0f} s"
    return Outcome(26, done, found, kept=kept)


def _between(values: list[tuple[float, float]], start: float, end: float) -> list[float]:
    return [value for at, value in values if start <= at < end]
