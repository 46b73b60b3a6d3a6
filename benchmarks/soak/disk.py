"""A full disk, and a directory that can't be written: clear errors, the old index answers, work goes on afterwards."""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
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
NOBODY = 65534
SHORT_TEXT = 70
PROMPT_S = 2.0
START_LIMIT_S = 10.0  # on a busy machine
ERROR_WORDS = ("full", "space", "cannot be", "could not", "I/O", "can't")


@contextlib.contextmanager
def small_disk(place: Path) -> Iterator[Path]:
    """Mount a small disk in memory for the length of the block.

    Raises:
        PermissionError: Only root can.
    """
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=700", "tmpfs", str(place)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        raise PermissionError("only root can mount a disk")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def loop_full_disk(scratch: Path, rounds: int) -> Iterator[Outcome]:
    """Fill the disk under the state directory at growing fill levels, index, ask, make room, index again."""
    done = f"disk of {DISK_BYTES // 1_000_000} MB under the state directory filled up × {rounds}"
    told: set[str] = set()
    try:
        with project(scratch, "full") as root, small_disk(scratch / "disk") as disk:
            tree = ChangingTree(root, 15)
            state = start_server(root, state_dir=disk).state
            try:
                require(_index(state)["state"] == "done", "the first job failed")
                for number in range(rounds):
                    told.add(_fill_and_free(state, disk, tree, free_bytes=number * 37_000 % 400_000))
                told.add(_start_on_full_disk(root, disk))
            finally:
                stop_server(disk, force=True)
    except PermissionError as exc:
        yield Outcome(15, done, f"skipped: {exc}")
        return
    found = "the old index answered, the next job after room was made mended everything"
    yield Outcome(15, done, f"{found}; told: {', '.join(f'“{text}”' for text in sorted(told - {''}))}")


def _fill_and_free(state: RuntimeState, disk: Path, tree: ChangingTree, *, free_bytes: int) -> str:
    """Return in short how the job told that the disk is full."""
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
    told = ""
    if job["state"] != "done":
        told = job["error"] or job["state"]
        require(any(word in told for word in ERROR_WORDS), f"the job said: {told}")
    filler.unlink()
    again = _index(state)
    require(again["state"] == "done", f"with room again the job {again['state']}: {again['error']}")
    faults = find_faults(disk, tree.present)
    require(not faults, "; ".join(faults[:5]))
    return shorten(told)


def shorten(message: str) -> str:
    """Return what a message says of the cause, in a few words."""
    cause = re.split(r"cannot be (?:used|written): ", message)[-1]
    return textwrap.shorten(cause.partition(". ")[0].partition(" {")[0].rstrip("."), SHORT_TEXT)


def _start_on_full_disk(root: Path, disk: Path) -> str:
    """Return in short how a start told that the disk is full; with room again it must work."""
    stop_server(disk)
    filler = disk / "filler"
    _fill(filler, 0)
    told = "start works"
    began = time.monotonic()
    try:
        start_server(root, state_dir=disk)
        stop_server(disk)
    except AgentBrainError as exc:
        told = f"start: {type(exc).__name__}: {shorten(exc.message)}"
        require(any(word in exc.message for word in ERROR_WORDS), f"start said: {exc.message}")
        require(time.monotonic() - began < START_LIMIT_S, f"start took {time.monotonic() - began:.1f} s to say: {told}")
    filler.unlink()
    require(start_server(root, state_dir=disk).started, "no start with room again")
    return told


def _fill(filler: Path, free_bytes: int) -> None:
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(b"\0" * 4096)
    if free_bytes:
        os.truncate(filler, max(filler.stat().st_size - free_bytes, 0))


def _index(state: RuntimeState) -> dict[str, Any]:
    """Index everything and return the job as it ended; a refusal is returned as a failed job."""
    try:
        job_id = request_json(state, "POST", "/index", {"folder_path": "."})["job_id"]
        deadline = time.monotonic() + JOB_LIMIT_S
        while (job := request_json(state, "GET", f"/index/jobs/{job_id}"))["state"] in ("queued", "running"):
            require(time.monotonic() < deadline, f"the job did not end: {job}")
            time.sleep(0.02)
    except AgentBrainError as exc:
        return {"state": "refused", "error": exc.message}
    return dict(job)


START_AS_NOBODY = """
import os, sys
from pathlib import Path
from agent_brain_server.lifecycle.control import start_server
os.setgroups([]); os.setgid({nobody}); os.setuid({nobody})
try:
    start_server(Path(sys.argv[1]))
except Exception as exc:
    print(type(exc).__name__, getattr(exc, "exit_code", 1), exc, "→", getattr(exc, "hint", ""))
"""


def check_read_only(_scratch: Path, rounds: int) -> Iterator[Outcome]:
    """Start, as another user, a project whose state directory can't be written."""
    done = f"start with a state directory that can't be written × {rounds}"
    if os.geteuid():
        yield Outcome(8, done, "skipped: only root can act as another user")
        return
    slowest = 0.0
    program = START_AS_NOBODY.format(nobody=NOBODY)
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="agent brain read-only ") as name:  # open to others, unlike ours
            root = Path(name)
            root.chmod(0o755)
            began = time.monotonic()
            answer = subprocess.run(
                [sys.executable, "-c", program, name], capture_output=True, text=True, check=False, timeout=60
            )
            slowest = max(slowest, time.monotonic() - began)
            require(answer.stdout.startswith("StateDirError 5 "), f"said {answer.stdout!r} {answer.stderr[-500:]!r}")
            require("→" in answer.stdout, "no next step")
    found = f"StateDirError with the next step, exit code 5, at most {slowest:.2f} s with the interpreter's start"
    yield Outcome(8, done, found, kept=slowest < PROMPT_S)
