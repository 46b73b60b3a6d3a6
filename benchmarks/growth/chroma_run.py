"""A Chroma server on loopback for the benchmark; it keeps its data and port between runs."""

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_LIMIT_S = 120.0  # with half a million vectors to open


@contextmanager
def run_chroma(directory: Path) -> Iterator[tuple[str, int]]:
    """Run `chroma run` during the block; yields its URL and process id.

    Raises:
        TimeoutError: It does not answer.
    """
    directory.mkdir(parents=True, exist_ok=True)
    port = _keep_port(directory / "port")
    command = [str(Path(sys.executable).parent / "chroma"), "run", "--host", "127.0.0.1", "--port", str(port)]
    with (directory / "log").open("a") as log:
        argv = [*command, "--path", str(directory / "data")]
        process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=directory)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_until_answered(f"{url}/api/v2/heartbeat")
        yield url, process.pid
    finally:
        process.terminate()
        process.wait()


def _keep_port(path: Path) -> int:
    """Return the port of earlier runs: at another address the product expects an empty server."""
    if not path.exists():
        with socket.create_server(("127.0.0.1", 0)) as sock:
            path.write_text(str(sock.getsockname()[1]))
    return int(path.read_text())


def _wait_until_answered(url: str) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(url, timeout=1).close()
            return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    raise TimeoutError(f"no Chroma answers at {url}")
