"""Many projects behind one daemon: no answer contains lines of another project, and idle projects cost little.

Both loops start a separate daemon with generated projects. All files use the same words, and every chunk names its
project, so that a result from another project is recognized.
"""

import random
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agent_brain_server.lifecycle.control import start_daemon, stop_daemon
from agent_brain_server.runtime import RuntimeState
from benchmarks.client import Client
from benchmarks.processes import tree_memory, wait_until_childless
from benchmarks.soak.outcome import Outcome, percentile, require
from benchmarks.soak.servers import own_home

ISOLATION_PROMISE = 18
COST_PROMISE = 19
WORDS = ("lock", "chunk", "corpus", "posting", "recall", "token", "lease", "batch", "vector", "parser", "header")
MODES = ("hybrid", "bm25", "vector")
CLIENTS = 4
JOB_LIMIT_S = 1800
WORKER_END_S = 60  # the indexing workers end 20 seconds after their last work
MEMORY_LIMIT_MB = 400
OPENING_LIMIT_MS = 300
MAX_OPEN = 8
TURNS = 3  # queries to each project, which is closed in between

MAX_MIXED_PROJECTS, MAX_MIXED_FILES = 20, 50
MAX_CLOSED_FILES = 200


def write_project(root: Path, number: int, files: int) -> Path:
    """Write a project with its number in every function; return its root."""
    words = random.Random(number)
    for file in range(files):
        path = root / f"src/package_{file % 10}/module_{file}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n\n".join(_write_function(words, number, file, order) for order in range(2)))
    return root


def _write_function(words: random.Random, project: int, file: int, order: int) -> str:
    first, second, third = words.sample(WORDS, 3)
    return (
        f"def {first}_{second}_{file}_{order}(value):\n"
        f'    """Take the {first} of a {second}, then the {third}, for {marker(project)}."""\n'
        f"    {third} = value + {file}\n    return {third}\n"
    )


def marker(project: int) -> str:
    """Return a word that is in every chunk of a project and nowhere else."""
    return f"property_of_project_{project:04d}_alone"


@contextmanager
def run_daemon(directory: Path) -> Iterator[RuntimeState]:
    """Run a separate daemon during the block."""
    with own_home(directory / "home"):
        try:
            yield start_daemon(overrides={"port": 0, "max_open_projects": MAX_OPEN}).state
        finally:
            stop_daemon(force=True)


def register(client: Client, root: Path) -> str:
    """Register a project and return its id."""
    return str(client.call("POST", "/projects", {"project_root": str(root)})["project_id"])


def index(client: Client, project_id: str) -> str:
    """Start to index a project; return the job's id."""
    return str(client.call("POST", "/index", {"folder_path": ".", "project_id": project_id})["job_id"])


def await_keywords(client: Client, project_id: str, job_id: str) -> None:
    """Wait until a project can answer by keywords."""
    deadline = time.monotonic() + JOB_LIMIT_S
    path = f"/index/jobs/{job_id}?project_id={project_id}"
    while not client.call("GET", path)["progress"]["keywords_ready"]:
        require(time.monotonic() < deadline, "a project is not indexed in time")
        time.sleep(0.02)


def await_jobs(client: Client, jobs: Sequence[tuple[str, str]]) -> None:
    """Wait until every job (project id, job id) is done."""
    deadline = time.monotonic() + JOB_LIMIT_S
    for project_id, job_id in jobs:
        path = f"/index/jobs/{job_id}?project_id={project_id}"
        while (job := client.call("GET", path))["state"] in ("queued", "running"):
            require(time.monotonic() < deadline, f"a job does not end: {job}")
            time.sleep(0.1)
        require(job["state"] == "done", f"a job failed: {job}")


def ask(client: Client, project_id: str, chance: random.Random) -> list[dict[str, Any]]:
    """Send a random query to a project and return the results."""
    question = " ".join(chance.sample((*WORDS, "property", "project", "alone", "value"), 3))
    body = {"query": question, "project_id": project_id, "mode": chance.choice(MODES), "top_k": 20}
    results: list[dict[str, Any]] = client.call("POST", "/query", body)["results"]
    return results


def loop_crosstalk(directory: Path, queries: int) -> Iterator[Outcome]:
    """Index projects and query them at random at the same time; count results of other projects."""
    projects, files = min(MAX_MIXED_PROJECTS, queries // 50), min(MAX_MIXED_FILES, queries // 20)
    roots = [write_project(directory / f"project {number}", number, files) for number in range(projects)]
    with run_daemon(directory) as daemon, Client(daemon.model_dump()) as client:
        ids = [register(client, root) for root in roots]
        jobs = [(project_id, index(client, project_id)) for project_id in ids]
        await_keywords(client, *jobs[0])  # the other projects are indexed meanwhile
        found, foreign = [0] * CLIENTS, [0] * CLIENTS

        def query(worker: int) -> None:
            chance = random.Random(worker)
            with Client(daemon.model_dump()) as own:
                for turn in range(queries // CLIENTS):
                    project = chance.randrange(projects)
                    if turn % 50 == 0:
                        index(own, ids[project])  # keep a job running
                    results = ask(own, ids[project], chance)
                    found[worker] += len(results)
                    foreign[worker] += sum(marker(project) not in result["text"] for result in results)

        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(query, range(CLIENTS)))
        with Client(daemon.model_dump()) as fresh:  # the other connection was closed as idle
            await_jobs(fresh, jobs)
    yield Outcome(
        ISOLATION_PROMISE,
        f"{queries:,} random queries to {projects} projects during indexing",
        f"{sum(found):,} results, {sum(foreign)} from another project",
        kept=not sum(foreign) and sum(found) > 0,
    )


def loop_closed(directory: Path, projects: int) -> Iterator[Outcome]:
    """Index projects, then query them in turn, so that each was closed in between; measure time and memory."""
    files = min(MAX_CLOSED_FILES, 4 * projects)
    roots = [write_project(directory / f"project {number}", number, files) for number in range(projects)]
    with run_daemon(directory) as daemon, Client(daemon.model_dump()) as client:
        ids = [register(client, root) for root in roots]
        peak = threading.Event(), [0.0]

        def watch() -> None:
            while not peak[0].wait(0.5):
                peak[1].append(tree_memory(daemon.pid).rss)

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        began = time.monotonic()
        await_jobs(client, [(project_id, index(client, project_id)) for project_id in ids])
        indexed_s = time.monotonic() - began
        peak[0].set()
        watcher.join()
        while _count_open(client) > MAX_OPEN:
            require(time.monotonic() - began < JOB_LIMIT_S, "too many projects stay open")
            time.sleep(0.2)
        times, chance = [], random.Random(0)
        for _ in range(TURNS):
            for project_id in ids:
                asked = time.perf_counter()
                require(ask(client, project_id, chance) is not None, "no answer")
                times.append((time.perf_counter() - asked) * 1000)
        wait_until_childless(daemon.pid, WORKER_END_S)
        memory, open_now = tree_memory(daemon.pid), _count_open(client)
    p50, p95, worst = percentile(times, 0.5), percentile(times, 0.95), max(times)
    yield Outcome(
        COST_PROMISE,
        f"{projects} projects of {files} files, {open_now} open; each queried {TURNS} times after it was closed",
        f"p50 {p50:.0f} ms, p95 {p95:.0f} ms, at most {worst:.0f} ms; daemon {memory.rss:.0f} MB, "
        f"{max(peak[1]):.0f} MB at most with the workers while all were indexed in {indexed_s:.0f} s",
        kept=p95 <= OPENING_LIMIT_MS and memory.rss <= MEMORY_LIMIT_MB,
    )


def _count_open(client: Client) -> int:
    return sum(project["is_open"] for project in client.call("GET", "/projects")["projects"])
