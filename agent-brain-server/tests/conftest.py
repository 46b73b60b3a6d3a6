"""A small project, and the real services over it."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from agent_brain_server.config.settings import ProjectConfig
from agent_brain_server.models import TERMINAL_STATES
from agent_brain_server.models.index import IndexRequest, JobStatus
from agent_brain_server.project.services import ProjectServices

settings.register_profile("repeatable", derandomize=True)
if os.environ.get("CI"):  # random examples elsewhere, the same examples in CI
    settings.load_profile("repeatable")

pytest_plugins = ["process_guard"]

if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # as in a background job of a shell; child processes would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

JOB_LIMIT_S = 600.0
CHROMA_LIMIT_S = 600.0

FILES = {
    "src/locks.py": (
        '"""File locks."""\n\n\nclass FileLock:\n    """An exclusive lock on a file."""\n\n'
        "    def acquire(self) -> bool:\n        return self._take()\n\n"
        "    def release(self) -> None:\n        self._handle.close()\n"
    ),
    "src/parser.py": "def parse_http_header(line):\n    name, _, value = line.partition(':')\n    return name, value\n",
    "tests/test_parser.py": "def test_header_is_parsed():\n    assert parse_http_header('a:b') == ('a', 'b')\n",
    "docs/guide.md": "# Guide\n\nWhat it is.\n\n## Installing\n\nRun the installer and wait.\n",
}
"""A project with code, a test and a document. Its directory has a space and an umlaut."""


@pytest.fixture(scope="session", autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Use a temporary home instead of the developer's, which has a registry, a daemon and a key."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AGENT_BRAIN_HOME", str(tmp_path_factory.mktemp("agent-brain-home")))
        yield


@pytest.fixture
def public_tmp_path(tmp_path: Path) -> Path:
    """Return a temporary directory that other users can enter; pytest's own are private."""
    for directory in (tmp_path, *tmp_path.parents):
        if directory.is_relative_to(tempfile.gettempdir()) and directory != Path(tempfile.gettempdir()):
            directory.chmod(0o755)
    return tmp_path


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Write the small project."""
    return write_project(tmp_path)


@pytest.fixture(scope="module")
def shared_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the small project for the tests of a module, which do not change it."""
    return write_project(tmp_path_factory.mktemp("shared"))


def write_project(directory: Path) -> Path:
    root = directory / "mein Projekt ä"
    for path, text in FILES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    return root


@pytest.fixture
def open_services(project: Path) -> Iterator[Callable[..., ProjectServices]]:
    """Return a function that opens the project's services, and close them afterwards.

    The tree is watched only where a test asks for it: the others decide themselves what is indexed when.
    """
    opened: list[ProjectServices] = []

    def open_now(*, watch: bool = False) -> ProjectServices:
        state_dir = project / ".claude" / "Agent Brain"
        opened.append(ProjectServices.open("project", project, state_dir, ProjectConfig(watch=watch)))
        return opened[-1]

    yield open_now
    for services in opened:
        services.close()


@pytest.fixture(scope="module")
def indexed_services(shared_project: Path, starts_processes: None) -> Iterator[ProjectServices]:
    """Return the services of an indexed project that the tests of a module share; they do not change it."""
    state_dir = shared_project / ".claude" / "Agent Brain"
    services = ProjectServices.open("project", shared_project, state_dir, ProjectConfig(watch=False))
    try:
        assert run_to_end(services, IndexRequest(folder_path=".")).state == "done"
        yield services
    finally:
        services.close()


@pytest.fixture
def services(open_services: Callable[[], ProjectServices]) -> ProjectServices:
    """Return the project's services, with nothing indexed."""
    return open_services()


@pytest.fixture
def run_job(starts_processes: None) -> Callable[..., JobStatus]:
    """Return a function that runs an indexing job to its end."""

    def run(services: ProjectServices, folder: str = ".", **options: Any) -> JobStatus:
        return run_to_end(services, IndexRequest(folder_path=folder, **options))

    return run


def run_to_end(services: ProjectServices, request: IndexRequest) -> JobStatus:
    job = services.indexing.submit(request)
    deadline = time.monotonic() + JOB_LIMIT_S
    while (job := services.indexing.jobs.get(job.job_id)).state not in TERMINAL_STATES:
        assert time.monotonic() < deadline, job
        time.sleep(0.01)
    return job


class ChromaRun:
    """A `chroma run` server on loopback that keeps its data and its port across restarts.

    Args:
        directory: Holds the data and the log.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        with socket.create_server(("127.0.0.1", 0)) as sock:
            self._port = sock.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        command = [Path(sys.executable).parent / "chroma", "run", "--host", "127.0.0.1", "--port", str(self._port)]
        with (self._directory / "log").open("a") as log:
            argv = [*command, "--path", self._directory / "data"]
            self._process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=self._directory)
        deadline = time.monotonic() + CHROMA_LIMIT_S
        while True:
            try:
                self.get("/heartbeat")
                return
            except (urllib.error.URLError, ConnectionError):
                assert self._process.poll() is None, (self._directory / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)

    def kill(self) -> None:
        """Kill the server."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def get(self, path: str) -> Any:
        """Return the JSON answer of an endpoint."""
        with urllib.request.urlopen(f"{self.url}/api/v2{path}", timeout=60) as response:
            return json.load(response)

    def collections(self) -> dict[str, int]:
        """Return the collections of the default database, with the number of vectors of each."""
        place = "/tenants/default_tenant/databases/default_database/collections"
        return {each["name"]: self.get(f"{place}/{each['id']}/count") for each in self.get(place)}


@pytest.fixture(scope="session")
def chroma_run(starts_processes: None) -> type[ChromaRun]:
    """Return the class that runs a Chroma server."""
    return ChromaRun


@pytest.fixture
def own_server(tmp_path: Path, starts_processes: None) -> Iterator[ChromaRun]:
    """Return a running Chroma server that the test may kill and restart."""
    (tmp_path / "chroma").mkdir()
    server = ChromaRun(tmp_path / "chroma")
    server.start()
    yield server
    server.kill()
