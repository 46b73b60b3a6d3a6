"""Fill the disk: errors are clear, the old index answers, and work continues when there is room."""

import contextlib
import os
import re
import subprocess
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agent_brain_server.discovery import request_json
from agent_brain_server.errors import AgentBrainError
from agent_brain_server.lifecycle.control import start_server, stop_server
from agent_brain_server.runtime import RuntimeState
from benchmarks.soak.corpus import ChangingTree
from benchmarks.soak.outcome import Outcome, require
from benchmarks.soak.servers import project
from benchmarks.soak.stores import find_faults

DISK_BYTES = 24_000_000
JOB_LIMIT_S = 120.0
SHORT_TEXT = 70
START_LIMIT_S = 10.0  # on a busy machine
ERROR_WORDS = ("full", "space", "cannot", "could not", "I/O", "can't")


@contextlib.contextmanager
def small_disk(path: Path) -> Iterator[Path]:
    """Mount a small disk in memory during the block.

    Raises:
        PermissionError: The user is not root.
    """
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=700", "tmpfs", str(path)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        raise PermissionError("only root can mount a disk")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def loop_full_disk(scratch: Path, rounds: int) -> Iterator[Outcome]:
    """Fill the disk of the state directory to growing levels, index, query, make room, index again."""
    done = f"disk of {DISK_BYTES // 1_000_000} MB of the state directory filled × {rounds}"
    reported: set[str] = set()
    try:
        with project(scratch, "full") as root, small_disk(scratch / "disk") as disk:
            tree = ChangingTree(root, 15)
            state = start_server(root, state_dir=disk).state
            try:
                require(_index(state)["state"] == "done", "the first job failed")
                for number in range(rounds):
                    reported.add(_fill_and_free(state, disk, tree, free_bytes=number * 37_000 % 400_000))
                reported.add(_start_on_full_disk(root, disk))
            finally:
                stop_server(disk, force=True)
    except PermissionError as exc:
        yield Outcome(15, done, f"skipped: {exc}")
        return
    found = "the old index answered, and the next job with free space indexed everything"
    yield Outcome(15, done, f"{found}; reported: {', '.join(f'“{text}”' for text in sorted(reported - {''}))}")


def _fill_and_free(state: RuntimeState, disk: Path, tree: ChangingTree, *, free_bytes: int) -> str:
    """Fill the disk, index, free it and index again; return how the job reported the full disk."""
    path, marker = tree.pick_marker()
    filler = disk / "filler"
    _fill(filler, free_bytes)
    tree.change()
    job = _index(state)
    body = {"query": marker, "mode": "bm25"}
    results = request_json(state, "POST", "/query", body)["results"]
    if tree.before[path] == tree.present.get(path):
        require(results and results[0]["source"] == path, f"{path} is not answered while the disk is full: {job}")
    for result in results:
        known = tree.knows(result["source"], result["start_line"], result["end_line"], result["text"])
        require(known, f"torn answer from {result['source']}")
    reported = ""
    if job["state"] != "done":
        reported = job["error"] or job["state"]
        require(any(word in reported for word in ERROR_WORDS), f"the job reported: {reported}")
    filler.unlink()
    again = _index(state)
    require(again["state"] == "done", f"with room again the job {again['state']}: {again['error']}")
    faults = find_faults(disk, tree.present)
    require(not faults, "; ".join(faults[:5]))
    return shorten(reported)


def shorten(message: str) -> str:
    """Return the cause in a message, in a few words."""
    cause = re.split(r"cannot be (?:used|written): ", message)[-1]
    return textwrap.shorten(cause.partition(". ")[0].partition(" {")[0].rstrip("."), SHORT_TEXT)


def _start_on_full_disk(root: Path, disk: Path) -> str:
    """Return how a start reported the full disk; with free space it must succeed."""
    stop_server(disk)
    filler = disk / "filler"
    _fill(filler, 0)
    reported = "start works"
    began = time.monotonic()
    try:
        start_server(root, state_dir=disk)
        stop_server(disk)
    except AgentBrainError as exc:
        reported = f"start: {type(exc).__name__}: {shorten(exc.message)}"
        require(any(word in exc.message for word in ERROR_WORDS), f"start reported: {exc.message}")
        require(
            time.monotonic() - began < START_LIMIT_S,
            f"start took {time.monotonic() - began:.1f} s to report: {reported}",
        )
    filler.unlink()
    require(start_server(root, state_dir=disk).started, "no start with free space")
    return reported


def _fill(filler: Path, free_bytes: int) -> None:
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(b"\0" * 4096)
    if free_bytes:
        os.truncate(filler, max(filler.stat().st_size - free_bytes, 0))


def _index(state: RuntimeState) -> dict[str, Any]:
    """Index everything and return the ended job; a refusal is returned as a failed job."""
    try:
        job_id = request_json(state, "POST", "/index", {"folder_path": "."})["job_id"]
        deadline = time.monotonic() + JOB_LIMIT_S
        while (job := request_json(state, "GET", f"/index/jobs/{job_id}"))["state"] in ("queued", "running"):
            require(time.monotonic() < deadline, f"the job did not end: {job}")
            time.sleep(0.02)
    except AgentBrainError as exc:
        return {"state": "refused", "error": exc.message}
    return dict(job)
