"""Delete the directories of stores; the server must create them again and report that."""

import contextlib
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from agent_brain_server.errors import AgentBrainError
from agent_brain_server.lifecycle.control import start_server, stop_server
from agent_brain_server.storage_paths import DATA_DIR, DOCUMENTS_DIR, KEYWORDS_DIR, VECTORS_DIR, resolve_state_dir
from benchmarks.soak.killing import SEED, IndexedProject, prepare
from benchmarks.soak.outcome import Outcome, require
from benchmarks.soak.servers import LIMIT_S, POLL_S, find_servers, project

NOTICE_S = 2.5  # the server checks its files once a second
REPAIR_LIMIT_S = 20.0
LOST = (DOCUMENTS_DIR, KEYWORDS_DIR, VECTORS_DIR, ".")


def loop_lost(scratch: Path, rounds: int) -> Iterator[Outcome]:
    """Delete the directory of a store, or all of them, alternately while the server runs and while it is stopped."""
    slowest = 0.0
    with project(scratch, "lost") as root:
        work = prepare(root, SEED, start_server(root).state, resolve_state_dir(root))
        for number in range(rounds):
            lost, is_running = LOST[number // 2 % len(LOST)], number % 2 == 0
            if not is_running:
                stop_server(resolve_state_dir(root))
            shutil.rmtree(work.stores / DATA_DIR / lost)
            began = time.monotonic()
            if is_running:
                time.sleep(NOTICE_S)
            else:
                work.state = start_server(root).state
            if lost == ".":
                work.begin_job()  # the indexed folders are lost with everything else
            status = settle(work)
            slowest = max(slowest, time.monotonic() - began)
            require(status["repairs"] or lost == ".", f"the loss of {lost} is not reported: {status}")
            _check_repaired(work)
            require(find_servers(root) == [work.state.pid], "the server ended")
    found = f"created again and reported; at most {slowest:.1f} s"
    yield Outcome(22, f"a store's directory, or all of them, deleted × {rounds}", found)


def settle(work: IndexedProject) -> dict[str, object]:
    """Wait until nothing is repaired or indexed; return the status.

    Raises:
        BrokenPromiseError: The server still works after the limit.
    """
    deadline = time.monotonic() + LIMIT_S
    while True:
        with contextlib.suppress(AgentBrainError):
            status = work.ask("GET", "/health/status")
            if not status["indexing_in_progress"]:
                return status
        require(time.monotonic() < deadline, "the index was not repaired")
        time.sleep(POLL_S * 10)


def _check_repaired(work: IndexedProject) -> None:
    """Compare stores and tree; a query may be refused until the repair is done."""
    deadline = time.monotonic() + REPAIR_LIMIT_S
    while True:
        try:
            return work.check_end()
        except AgentBrainError as exc:
            require(exc.code != AgentBrainError.default_code, f"{exc.code}: {exc.message}")
            require(time.monotonic() < deadline, f"queries are refused: {exc.message}")
            settle(work)
