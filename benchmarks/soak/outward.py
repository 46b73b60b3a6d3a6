"""Record which names a server's processes look up and which addresses they connect to: only this machine."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from agent_brain_server.lifecycle.control import start_server
from agent_brain_server.storage_paths import resolve_state_dir
from benchmarks.soak.killing import SEED, prepare
from benchmarks.soak.outcome import Outcome, require
from benchmarks.soak.preload import use_library
from benchmarks.soak.servers import project

OUTWARD_PROMISE = 30
SOURCE = Path(__file__).with_name("watched_network.c")
FILE_VARIABLE = "WATCHED_NETWORK_FILE"
SILENCED_BY = ("CI", "GITHUB_ACTIONS", "TF_BUILD")
"""Some libraries send no telemetry if one of these variables is set."""

HERE = ("127.0.0.1", "::1", "localhost", "0.0.0.0")
CHANGE_INTERVAL_S = 2.0


def loop_outward(scratch: Path, seconds: int) -> Iterator[Outcome]:
    """Run a server that indexes, answers and idles, and list every address that its processes tried to reach."""
    done = f"every name looked up and every address connected to in {seconds} s of indexing and querying"
    recorded = scratch / "network"
    try:
        with (
            _without(SILENCED_BY),
            use_library(SOURCE, {FILE_VARIABLE: str(recorded)}),
            project(scratch, "out") as root,
        ):
            work = prepare(root, SEED, start_server(root).state, resolve_state_dir(root))
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                work.tree.change()
                work.await_end(work.begin_job())
                work.check_end()
                time.sleep(min(CHANGE_INTERVAL_S, max(0.0, until - time.monotonic())))
    except FileNotFoundError as exc:
        yield Outcome(OUTWARD_PROMISE, done, f"skipped: {exc}")
        return
    lines = recorded.read_text().splitlines() if recorded.exists() else []
    strangers = sorted({line.split(" ", 2)[2] for line in lines} - set(HERE))
    require(not strangers, f"other addresses were contacted: {', '.join(strangers)}")
    found = "only this machine"
    yield Outcome(OUTWARD_PROMISE, done, f"{found}; {work.answers:,} results compared with the files")


@contextlib.contextmanager
def _without(names: tuple[str, ...]) -> Iterator[None]:
    """Remove variables from the environment during the block."""
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ |= before
