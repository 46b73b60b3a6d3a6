"""Index files that are expensive to parse, and save an ordinary file meanwhile."""

import contextlib
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from threading import Event, Thread

from agent_brain_server.config.settings import ProjectConfig
from agent_brain_server.indexing.worker.client import ChunkOptions, ReadOutcome, ReadRequest, WorkerClient
from agent_brain_server.lifecycle.control import start_server
from agent_brain_server.runtime import RuntimeState
from agent_brain_server.storage_paths import resolve_state_dir
from agent_brain_server.support.limits import FULL_CPU_S, MAX_MEMORY_BYTES
from agent_brain_server.support.processes import read_cpu_seconds
from agent_brain_server.types import FileStat
from benchmarks.soak.hostile_sources import hostile_files
from benchmarks.soak.killing import SEED, IndexedProject, prepare
from benchmarks.soak.outcome import Outcome, percentile, require
from benchmarks.soak.servers import project

PROMISE = 32
TOTAL = 600
CPU_LIMIT_S = 5.0
VISIBLE_LIMIT_S = 3.0
SAVE_INTERVAL_S = 5.0
END_LIMIT_S = 3_600.0
POLL_S = 0.05
KIB = 1024


@dataclass
class Costs:
    """Cost and outcome of reading the files."""

    cpu_s: list[float] = field(default_factory=list)
    peak_bytes: list[int] = field(default_factory=list)
    reply_share: list[float] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)


def loop_hostile_files(scratch: Path, count: int) -> Iterator[Outcome]:
    """Read hostile files one by one, then index all of them with a server, save a file meanwhile, and touch them."""
    with project(scratch, "hostile") as root:
        directory = scratch / "made"
        files = _write_files(directory, count)
        costs = _read_one_by_one(directory, files, scratch / "worker.log")
        done = f"{len(files)} hostile files of every format read, each with at most {FULL_CPU_S:.0f} s of CPU"
        yield Outcome(PROMISE, done, _describe_costs(costs), max(costs.cpu_s) <= CPU_LIMIT_S)
        work = prepare(root, SEED, start_server(root).state, resolve_state_dir(root))
        yield _index_beside_saves(work, directory)


def _write_files(directory: Path, count: int) -> list[FileStat]:
    """Write a uniform sample of the files; return them relative to the directory."""
    files = []
    for name, data in islice(hostile_files(), 0, None, max(TOTAL // count, 1)):
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        found = path.stat()
        files.append(FileStat(name, found.st_size, found.st_mtime_ns))
    return files


def _read_one_by_one(directory: Path, files: list[FileStat], log_path: Path) -> Costs:
    settings = ProjectConfig()
    options = ChunkOptions(settings.chunk_size, settings.chunk_overlap, settings.max_file_bytes)
    client, costs = WorkerClient(log_path), Costs()
    try:
        for file in files:
            used_s, pid = _reset_peak(client)
            (outcome,) = client.read_files(directory, [ReadRequest(file, FULL_CPU_S)], options)
            costs.outcomes[_name_outcome(outcome)] += 1
            reader = client.pids.get("reader")
            if outcome.failure is not None or reader is None:
                costs.cpu_s.append(FULL_CPU_S)
                continue
            costs.cpu_s.append((read_cpu_seconds(reader) or 0.0) - (used_s if reader == pid else 0.0))
            costs.peak_bytes.append(_read_peak(reader))
            if outcome.chunks is not None:
                texts = sum(len(chunk.text) + len(chunk.heading or "") for chunk in outcome.chunks.chunks)
                costs.reply_share.append(texts / file.size)
    finally:
        client.release()
    return costs


def _reset_peak(client: WorkerClient) -> tuple[float, int | None]:
    """Reset the reader's peak memory; return its CPU seconds so far and its pid."""
    pid = client.pids.get("reader")
    if pid is None:
        return 0.0, None
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    return read_cpu_seconds(pid) or 0.0, pid


def _read_peak(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * KIB for line in lines if line.startswith("VmHWM"))


def _name_outcome(outcome: ReadOutcome) -> str:
    if outcome.failure is not None:
        return f"ended by {outcome.failure}"
    return "chunked" if outcome.chunks is not None else f"skipped as {outcome.skip.reason if outcome.skip else ''}"


def _describe_costs(costs: Costs) -> str:
    outcomes = ", ".join(f"{number} {name}" for name, number in costs.outcomes.most_common())
    return (
        f"{outcomes}; CPU at most {max(costs.cpu_s):.1f} s, median {percentile(costs.cpu_s, 0.5):.2f} s; memory at "
        f"most {max(costs.peak_bytes) / 1e6:.0f} of {MAX_MEMORY_BYTES / 1e6:.0f} MB in readers that ended; chunks at "
        f"most {max(costs.reply_share):.1f} times the file"
    )


def _index_beside_saves(work: IndexedProject, directory: Path) -> Outcome:
    """Add the files, and save an ordinary file every few seconds until all are indexed."""
    peak, stop = [0], Event()
    watch = Thread(target=_watch_memory, args=(work.state, peak, stop), daemon=True)
    watch.start()
    began = time.monotonic()
    directory = directory.rename(work.root / "hostile")
    work.begin_job()
    delays = [_save(work, 0)]
    while (status := work.ask("GET", "/health/status"))["indexing_in_progress"]:
        require(time.monotonic() - began < END_LIMIT_S, f"not indexed: {status}")
        job = status["current_job"]
        if job is not None and job["progress"]["keywords_ready"]:
            break
        delays.append(_save(work, len(delays)))
        time.sleep(SAVE_INTERVAL_S)
    indexed_s = time.monotonic() - began
    for path in directory.rglob("*.*"):
        os.utime(path)
    work.begin_job()
    delays.append(_save(work, len(delays)))
    stop.set()
    watch.join()
    over = {reason: number for reason, number in status["skipped"].items() if reason.endswith(("limit", "crashed"))}
    found = (
        f"visible after {percentile(delays, 0.5):.1f} s in the median, {max(delays):.1f} s at most; all files found "
        f"by keyword after {indexed_s:.0f} s; over a limit: {over or 'none'}; "
        f"memory of readers at most {peak[0] / 1e6:.0f} MB"
    )
    is_kept = max(delays) <= VISIBLE_LIMIT_S and peak[0] <= MAX_MEMORY_BYTES
    return Outcome(PROMISE, f"{len(delays)} saves while a server indexes them", found, is_kept)


def _save(work: IndexedProject, number: int) -> float:
    """Save a file; return the seconds until a query finds its new word."""
    began = time.monotonic()
    (work.root / "saved.py").write_text(f"def savedbeside{number}():\n    return {number}\n")
    body = {"query": f"savedbeside{number}", "mode": "bm25"}
    while not any(found["source"] == "saved.py" and body["query"] in found["text"] for found in _ask(work, body)):
        require(time.monotonic() - began < END_LIMIT_S, "the saved file is not found")
        time.sleep(POLL_S)
    return time.monotonic() - began


def _ask(work: IndexedProject, body: dict[str, str]) -> list[dict[str, str]]:
    return list(work.ask("POST", "/query", body)["results"])


def _watch_memory(state: RuntimeState, peak: list[int], stop: Event) -> None:
    """Record the highest peak memory of a server's readers."""
    while not stop.wait(POLL_S):
        with contextlib.suppress(OSError, StopIteration):
            for children in Path(f"/proc/{state.pid}/task").glob("*/children"):
                for pid in children.read_text().split():
                    if {b"reader", b"slow_reader"} & set(Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")):
                        peak[0] = max(peak[0], _read_peak(int(pid)))
