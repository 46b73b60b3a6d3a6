"""A project of the benchmark, whose server is controlled with the real command."""

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.client import Client
from benchmarks.processes import Usage, run_command

COMMAND = Path(sys.executable).parent / "agent-brain"
SETTLE_SECONDS = 120  # longest wait for background work to end


class Project:
    """A directory to index, with a separate state directory and home.

    Args:
        root: The directory.
        scratch: Where state directory and home are made.
    """

    def __init__(self, root: Path, scratch: Path) -> None:
        self.root = root
        self.state_dir = scratch / "state"
        self._env = {
            **os.environ,
            "AGENT_BRAIN_HOME": str(scratch / "home"),
            "DOC_SERVE_STATE_DIR": str(self.state_dir),
        }

    def run(self, *arguments: str) -> Usage:
        """Run the agent-brain command in the project."""
        return run_command([COMMAND, *arguments], env=self._env, cwd=self.root)

    def start(self) -> dict[str, Any]:
        """Start the server, or find it, and return its runtime state."""
        state: dict[str, Any] = json.loads(self.run("start", "--json", "--project-root", str(self.root)).stdout)
        return state

    def stop(self) -> None:
        """Stop the server."""
        self.run("stop", "--project-root", str(self.root))

    def forget(self) -> None:
        """Remove all data of the server."""
        shutil.rmtree(self.state_dir, ignore_errors=True)

    @contextmanager
    def serving(self) -> Iterator[dict[str, Any]]:
        """Run a server during the block; yields its runtime state."""
        state = self.start()
        try:
            yield state
        finally:
            self.stop()


def wait_for_vectors(state: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Wait until every chunk has its vector and no job runs; return the last `GET /health/status`.

    Raises:
        TimeoutError: It took longer.
    """
    deadline = time.monotonic() + seconds
    with Client(state) as client:
        while time.monotonic() < deadline:
            status = client.call("GET", "/health/status")
            if status["vector_coverage"] >= 1 and not status["indexing_in_progress"]:
                return status
            time.sleep(0.25)
    raise TimeoutError(f"the vectors were not complete after {seconds:.0f} s")
