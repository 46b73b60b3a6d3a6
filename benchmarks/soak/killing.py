"""Kill the server or its worker at random moments of indexing, and check the index after the job has resumed."""

import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from agent_brain_server.discovery import discover, request_json
from agent_brain_server.lifecycle.control import start_daemon, start_server, stop_daemon
from agent_brain_server.runtime import RuntimeState
from agent_brain_server.shared.daemon import register_project
from agent_brain_server.storage_paths import resolve_state_dir, shared_project_home
from benchmarks.soak.corpus import ChangingTree
from benchmarks.soak.outcome import Outcome, require
from benchmarks.soak.servers import find_servers, find_worker, has_ended, kill, project, wait_until
from benchmarks.soak.stores import find_faults

SEED = 20
JOB_LIMIT_S = 120.0
SHARED_PROJECTS = 3
COMMIT_JITTER_S = 0.04  # a commit of the keyword index and the write to the document store after it
STOP_S = 0.4  # about as long as a stop takes
STOP_EVERY = 4  # every fourth kill comes while the server stops
ASK_INTERVAL_S = 0.02  # the worker has the lowest priority and needs a core between two queries
MODES = ("bm25", "hybrid", "vector")


@dataclass
class IndexedProject:
    """A project that changes and is indexed again in each round."""

    root: Path
    tree: ChangingTree
    state: RuntimeState
    random: random.Random
    stores: Path
    job_s: float = 1.0
    keywords_s: float = 0.2
    answers: int = 0
    moments: Counter[str] = field(default_factory=Counter)

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send a request about this project to the server."""
        if method == "GET":
            path = f"{path}?project_id={self.state.project_id}"
        else:
            body = {**(body or {}), "project_id": self.state.project_id}
        return dict(request_json(self.state, method, path, body))

    def begin_job(self) -> str:
        """Start to index the tree; return the job's id."""
        return str(self.ask("POST", "/index", {"folder_path": "."})["job_id"])

    def await_moment(self, job_id: str, number: int) -> None:
        """Wait for the moment of the kill: in turn any moment of the job, one of its keyword half, its commit."""
        match number % 3:
            case 0:
                time.sleep(self.random.uniform(0, self.job_s))
            case 1:
                time.sleep(self.random.uniform(0, self.keywords_s))
            case _:
                wait_until(lambda: self._is_at_commit(job_id), "the commit", JOB_LIMIT_S)
                time.sleep(self.random.uniform(0, COMMIT_JITTER_S))
        progress = self.ask("GET", f"/index/jobs/{job_id}")["progress"]
        self.moments[progress["phase"]] += 1

    def _is_at_commit(self, job_id: str) -> bool:
        progress = self.ask("GET", f"/index/jobs/{job_id}")["progress"]
        written = progress["files_changed"] and progress["files_done"] >= progress["files_changed"]
        return bool(written) or progress["phase"] in ("embedding", "finished")

    def await_end(self, job_id: str) -> None:
        """Wait until a job is done, and query meanwhile.

        Raises:
            BrokenPromiseError: The job did not succeed, or an answer is in no version of its file.
        """
        deadline = time.monotonic() + JOB_LIMIT_S
        while (job := self.ask("GET", f"/index/jobs/{job_id}"))["state"] != "done":
            require(job["state"] in ("queued", "running"), f"the job {job['state']}: {job['error']}")
            require(time.monotonic() < deadline, f"the job did not end: {job}")
            self.check_answer()
            time.sleep(ASK_INTERVAL_S)

    def check_answer(self) -> None:
        """Send one query and compare every line of the answer with the tree."""
        path, marker = self.tree.pick_marker()
        body = {"query": f"{marker} {path}", "mode": self.random.choice(MODES), "top_k": 20}
        self.check_results(self.ask("POST", "/query", body)["results"])

    def check_results(self, results: list[dict[str, Any]]) -> None:
        """Compare every line of the results with the tree."""
        for result in results:
            place = (result["source"], result["start_line"], result["end_line"])
            require(self.tree.knows(*place, result["text"]), f"the answer from {place} is in no version of the file")
            self.answers += 1

    def check_end(self) -> None:
        """Compare tree and stores, and find a file by a word of its present version alone."""
        faults = find_faults(self.stores, self.tree.present)
        require(not faults, "; ".join(faults[:5]))
        path, marker = self.tree.pick_marker()
        results = self.ask("POST", "/query", {"query": marker, "mode": "bm25"})["results"]
        require(results and results[0]["source"] == path, f"{marker} of {path} is not found")
        status = self.ask("GET", "/health/status")
        counts = (status["total_documents"], status["vector_coverage"], status["indexing_in_progress"])
        require(counts == (len(self.tree.present), 1.0, False), f"unexpected status: {status}")
        nearest = self.ask("POST", "/query", {"query": marker, "mode": "vector"})["results"]
        require(nearest, "no answer from the vectors")
        self.check_results(nearest)

    def describe(self) -> str:
        """Return when the kills happened and how much was compared."""
        moments = ", ".join(f"{count} {phase}" for phase, count in sorted(self.moments.items()))
        return f"during {moments}; {self.answers:,} results compared with the files, 0 torn"


def loop_kill_server(scratch: Path, rounds: int) -> Iterator[Outcome]:
    """Kill the server at random moments of indexing, also while it stops; the next one resumes the job."""
    with project(scratch, "killed server") as root:
        work = prepare(root, SEED, start_server(root).state, resolve_state_dir(root))
        for number in range(rounds):
            work.tree.change()
            job_id = work.begin_job()
            work.await_moment(job_id, number)
            if number % STOP_EVERY == STOP_EVERY - 1:
                kill(work.state.pid, signal.SIGTERM)
                time.sleep(work.random.uniform(0, STOP_S))
            kill(work.state.pid)
            wait_until(partial(has_ended, work.state.pid), "the end of the killed server")
            work.state = start_server(root).state
            work.await_end(job_id)
            work.check_end()
    found = f"every job resumed and completed, stores equal to the tree; {work.describe()}"
    yield Outcome(13, f"kill -9 of the server at {rounds} random moments of indexing and committing", found)


def loop_kill_daemon(scratch: Path, rounds: int) -> Iterator[Outcome]:
    """Kill the shared daemon at random moments while it indexes several projects; the next one resumes the jobs."""
    with ExitStack() as stack:
        roots = [stack.enter_context(project(scratch, f"shared {number}")) for number in range(SHARED_PROJECTS)]
        stack.callback(stop_daemon, force=True)
        daemon = start_daemon(overrides={"port": 0}).state
        works = []
        for number, root in enumerate(roots):
            state = register_project(daemon, root, resolve_state_dir(root))
            stores = shared_project_home(str(state.project_id))
            works.append(prepare(root, SEED + number, state, stores))
        for number in range(rounds):
            for work in works:
                work.tree.change()
            jobs = [work.begin_job() for work in works]
            works[number % SHARED_PROJECTS].await_moment(jobs[number % SHARED_PROJECTS], number)
            kill(daemon.pid)
            wait_until(partial(has_ended, daemon.pid), "the end of the killed daemon")
            daemon = start_daemon(overrides={"port": 0}).state
            for work, root, job_id in zip(works, roots, jobs, strict=True):
                found = discover(root)
                assert found is not None, "the daemon does not serve a registered project"
                work.state = found
                work.await_end(job_id)
                work.check_end()
    told = "; ".join(work.describe() for work in works)
    found_text = f"every job of every project resumed, all stores equal to their own tree; {told}"
    done = f"kill -9 of the daemon at {rounds} random moments of indexing {SHARED_PROJECTS} projects"
    yield Outcome(13, done, found_text)


def loop_kill_worker(scratch: Path, rounds: int) -> Iterator[Outcome]:
    """Kill the indexing worker at random moments."""
    killed = 0
    with project(scratch, "killed worker") as root:
        work = prepare(root, SEED, start_server(root).state, resolve_state_dir(root))
        for number in range(rounds):
            work.tree.change()
            job_id = work.begin_job()
            work.await_moment(job_id, number)
            worker = find_worker(work.state.pid)
            killed += worker is not None and kill(worker)
            work.await_end(job_id)
            work.check_end()
        require(find_servers(root) == [work.state.pid], "the server ended with its worker")
    found = f"{killed} hit a worker; every job completed, stores equal to the tree; {work.describe()}"
    yield Outcome(13, f"kill -9 of the worker at {rounds} random moments", found)


def prepare(root: Path, seed: int, state: RuntimeState, stores: Path) -> IndexedProject:
    """Write and index a project, and measure a job like those that are killed.

    Args:
        root: Directory of its files.
        seed: Seed of its random content.
        state: Its server.
        stores: Directory that holds `data/`.
    """
    tree = ChangingTree(root, seed)
    work = IndexedProject(root, tree, state, random.Random(seed), stores)
    work.await_end(work.begin_job())
    tree.change()
    began = time.monotonic()
    job_id = work.begin_job()
    wait_until(lambda: work.ask("GET", f"/index/jobs/{job_id}")["progress"]["keywords_ready"], "keyword answers")
    work.keywords_s = time.monotonic() - began
    work.await_end(job_id)
    work.job_s = time.monotonic() - began
    work.check_end()
    return work
