"""Clients of the real application over the small project, in this process."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from agent_brain_server.api.deps import AppState
from agent_brain_server.api.main import create_app
from agent_brain_server.api.server import describe_server
from agent_brain_server.config.settings import DaemonSettings, ProjectConfig
from agent_brain_server.project.context import ServerContext
from agent_brain_server.project.projects import open_projects

TOKEN = "a secret of this test"


def make_client(state: AppState) -> TestClient:
    """Return a client of a new application; entering it opens the stores."""
    app = create_app(state, partial(open_projects, state.context, state.metrics))
    headers = {"Authorization": f"Bearer {TOKEN}"}
    return TestClient(app, "http://127.0.0.1", raise_server_exceptions=False, headers=headers)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def context(project: Path, home: Path) -> ServerContext:
    settings = ProjectConfig(watch=False, token=TOKEN)
    return ServerContext.make(project, project / ".claude" / "Agent Brain", settings, None)


@pytest.fixture
def app_state(context: ServerContext) -> AppState:
    """Return what the application behind `client` holds."""
    return AppState(context)


@pytest.fixture
def open_client() -> Callable[[ServerContext], TestClient]:
    """Return a function that makes a client of a new application."""
    return lambda context: make_client(AppState(context))


@pytest.fixture
def client(app_state: AppState) -> Iterator[TestClient]:
    """Return a client of a project server."""
    with make_client(app_state) as client:
        yield client


@pytest.fixture
def daemon(home: Path) -> Iterator[TestClient]:
    """Return a client of the shared daemon, with no project registered."""
    settings = DaemonSettings.load({"token": TOKEN})
    context = ServerContext.make(None, home, settings.server, settings)
    state = AppState(context)
    with make_client(state) as client:
        state.projects.publish(describe_server(context, 45123))  # as the server does once it listens
        yield client


@pytest.fixture
def index_all(client: TestClient, starts_processes: None) -> Callable[..., dict[str, Any]]:
    """Return a function that indexes a folder, and waits for the end of the event stream."""
    return partial(index_folder, client)


def index_folder(client: TestClient, **fields: Any) -> dict[str, Any]:
    accepted = client.post("/index", json={"folder_path": ".", **fields})
    assert accepted.status_code == 202, accepted.text
    job_id = accepted.json()["job_id"]
    assert "event: end" in client.get(f"/index/jobs/{job_id}/events").text
    job: dict[str, Any] = client.get(f"/index/jobs/{job_id}").json()
    return job


@pytest.fixture(scope="module")
def indexed_client(shared_project: Path, starts_processes: None) -> Iterator[TestClient]:
    """Return a client of an indexed project that the tests of a module share; they do not change it."""
    settings = ProjectConfig(watch=False, token=TOKEN)
    context = ServerContext.make(shared_project, shared_project / ".claude" / "Agent Brain", settings, None)
    with make_client(AppState(context)) as client:
        index_folder(client)
        yield client


@pytest.fixture
def refusal() -> Callable[[httpx.Response], tuple[int, str]]:
    """Return a function that checks that a response is a problem document, and returns its status and code."""

    def describe(answer: httpx.Response) -> tuple[int, str]:
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert problem["detail"]
        assert problem["hint"]
        assert problem["status"] == answer.status_code
        return answer.status_code, problem["code"]

    return describe
