"""Kills the server, or its worker, while it stops and while it compacts its vectors; the next one goes on alone."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from agent_brain_server.lifecycle.control import start_server, stop_server
from agent_brain_server.storage.vector_map import open_database
from agent_brain_server.storage.vector_matrix import VectorMatrix
from agent_brain_server.storage.vector_store import MAX_UNUSED_ROWS
from agent_brain_server.storage_paths import DATA_DIR, VECTORS_DIR, resolve_state_dir
from benchmarks.soak.killing import SEED, IndexedProject, prepare
from benchmarks.soak.outcome import Outcome, require
from benchmarks.soak.servers import find_servers, has_ended, kill, project, wait_until
from benchmarks.soak.stopping import find_worker
from benchmarks.soak.stores import DIMENSION

STOP_S = 0.4  # an orderly end takes about as long
OPENING_S = (0.2, 1.5)  # from the interpreter's start to a server that answers
BATCH_ROWS = 5_000


def loop_kill_stop(scratch: Path, rounds: int) -> Iterator[Outcome]:
    """Ask the server to end in the middle of a job, and kill it, or its worker, while it does."""
    cut_short = 0
    with project(scratch, "killed stop") as root:
        work = prepare(root, SEED, start_server(root).state, resolve_state_dir(root))
        for number in range(rounds):
            work.tree.change()
            job_id = work.begin_job()
            work.await_moment(job_id, number)
            worker = find_worker(work.state.pid) if number % 2 else None
            kill(work.state.pid, signal.SIGTERM)
            time.sleep(work.random.uniform(0, STOP_S))
            cut_short += not has_ended(work.state.pid)
            if worker is not None:
                kill(worker)
            else:
                kill(work.state.pid)
            wait_until(partial(has_ended, work.state.pid), "the end of the killed server")
            work.state = start_server(root).state
            work.await_end(job_id)
            work.check_end()
    found = f"{cut_short} met it; every job resumed by itself, the stores equal and true to the tree; {work.describe()}"
    yield Outcome(23, f"kill -9 of the server or its worker while it stops × {rounds}", found)


def loop_kill_compact(scratch: Path, rounds: int) -> Iterator[Outcome]:
    """Give the vectors so many unused rows that the next start compacts them, and kill that start."""
    with project(scratch, "killed compaction") as root:
        work = prepare(root, SEED, start_server(root).state, resolve_state_dir(root))
        smallest = _matrix_path(work).stat().st_size
        for _ in range(rounds):
            stop_server(resolve_state_dir(root))
            add_unused_rows(work.stores / DATA_DIR / VECTORS_DIR, MAX_UNUSED_ROWS * 2)
            _kill_start(root, work.random)
            work.state = start_server(root).state
            work.check_end()
            require(_matrix_path(work).stat().st_size <= smallest * 2, "the vectors were not compacted")
    found = "every vector there and its own text's, and the unused rows gone"
    yield Outcome(23, f"kill -9 of a server that opens and compacts {MAX_UNUSED_ROWS * 2:,} rows × {rounds}", found)


def add_unused_rows(directory: Path, count: int) -> None:
    """Add rows of texts that no chunk has, as years of changes leave them; the server must be stopped."""
    database = open_database(directory)
    name = str(database.get_meta("matrix_name"))
    matrix = VectorMatrix(directory / name, DIMENSION)
    first = matrix.rows_on_disk()
    row = np.zeros((BATCH_ROWS, DIMENSION), dtype=np.float32)
    row[:, 0] = 1
    for start in range(first, first + count, BATCH_ROWS):
        matrix.write(start, row)
    with database.writing() as connection:
        values = [(number, f"unused {number}") for number in range(first, first + count)]
        connection.executemany("INSERT INTO texts (row, embed_key) VALUES (?, ?)", values)
    matrix.close()
    database.close()


def _matrix_path(work: IndexedProject) -> Path:
    found = list((work.stores / DATA_DIR / VECTORS_DIR).glob("matrix-*.f32"))
    require(len(found) == 1, f"there are {len(found)} matrices")
    return found[0]


def _kill_start(root: Path, chance: random.Random) -> None:
    command = [sys.executable, "-m", "agent_brain_server", "--project-root", str(root)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        time.sleep(chance.uniform(*OPENING_S))
        server.kill()
    wait_until(lambda: not find_servers(root), "the end of the killed server")
