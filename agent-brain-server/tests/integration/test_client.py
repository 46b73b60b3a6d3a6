"""Programs use a project through the typed client, blocking and in an event loop."""

import asyncio
import inspect
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agent_brain_server.client import AgentBrain, AsyncAgentBrain
from agent_brain_server.config.settings import write_project_config
from agent_brain_server.errors import ConfigError, InvalidRequestError, ServerRefusedError
from agent_brain_server.lifecycle.control import stop_daemon, stop_server
from agent_brain_server.storage_paths import prepare_brain_home, resolve_state_dir, shared_config_path

Use = Callable[[str, tuple[Any, ...], dict[str, Any]], Any]
METHODS = ("query", "query_text", "symbols", "references", "outline", "read", "index", "status")


@pytest.fixture(params=["project", "shared"])
def root(request, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the small project, not indexed, in each mode."""
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DOC_SERVE_STATE_DIR", raising=False)
    prepare_brain_home()
    shared_config_path().write_text('{"port": 0}')
    write_project_config(resolve_state_dir(project), mode=request.param)
    yield project
    stop_server(resolve_state_dir(project), force=True)
    stop_daemon(force=True)


def use_blocking(root: Path, steps: list[Callable[[Any], Any]]) -> list[Any]:
    with AgentBrain(root) as brain:
        return [step(brain) for step in steps]


def use_async(root: Path, steps: list[Callable[[Any], Any]]) -> list[Any]:
    async def run() -> list[Any]:
        async with AsyncAgentBrain(root) as brain:
            answers = [step(brain) for step in steps]
            return [await each if inspect.isawaitable(each) else each for each in answers]

    return asyncio.run(run())


@pytest.mark.parametrize("use", [use_blocking, use_async])
def test_client_answers_every_question_with_models(root: Path, use) -> None:
    steps = [
        lambda brain: brain.query("FileLock release", top_k=2, mode="bm25", languages=["py"]),
        lambda brain: brain.query_text("FileLock release", max_tokens=300),
        lambda brain: brain.symbols("FileLock"),
        lambda brain: brain.references("FileLock", limit=5),
        lambda brain: brain.outline("src/locks.py"),
        lambda brain: brain.read("src/locks.py", 1, 3),
        lambda brain: brain.index("src", force=True),
        lambda brain: brain.status(),
        lambda brain: brain.project_root,
    ]
    found, text, symbols, uses, outline, lines, job, status, project_root = use(root / "src", steps)
    assert found.results[0].source == "src/locks.py"
    assert "src/locks.py" in text.text
    assert symbols.symbols[0].name == "FileLock"
    assert uses.total >= 0
    assert outline.path == "src/locks.py"
    assert (lines.start_line, lines.end_line) == (1, 3)
    assert job.state == "done"
    assert status.total_documents > 0
    assert project_root == root


@pytest.mark.parametrize("root", ["project"], indirect=True)
def test_client_survives_restart_of_the_server(root: Path) -> None:
    with AgentBrain(root) as brain:
        assert brain.read("src/locks.py", 1, 1).start_line == 1
        stop_server(resolve_state_dir(root), force=True)
        assert brain.read("src/locks.py", 1, 1).start_line == 1


@pytest.mark.parametrize("root", ["project"], indirect=True)
def test_client_refused_request_raises_with_code(root: Path) -> None:
    with AgentBrain(root) as brain, pytest.raises(ServerRefusedError) as caught:
        brain.read("src/nowhere.py")
    assert caught.value.code in {"not_indexed", "path_not_found"}


@pytest.mark.parametrize(
    "ask",
    [
        partial(AgentBrain.query, question=""),
        partial(AgentBrain.query, question="lock", top_k=0),
        partial(AgentBrain.query, question="lock", surprise=1),
        partial(AgentBrain.query, question="lock", format="compact"),
        partial(AgentBrain.symbols, name="lock", project_id="p_1"),
        partial(AgentBrain.read, path="a.py", first=0),
    ],
)
def test_client_invalid_argument_raises_before_start(project: Path, ask) -> None:
    with AgentBrain(project) as brain, pytest.raises(InvalidRequestError):
        ask(brain)


def test_client_in_home_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for client in (AgentBrain, AsyncAgentBrain):
        with pytest.raises(ConfigError, match="not a project"):
            client(tmp_path)


@pytest.mark.parametrize("method", METHODS)
def test_clients_have_the_same_signatures(method: str) -> None:
    blocking, waiting = (inspect.signature(getattr(client, method)) for client in (AgentBrain, AsyncAgentBrain))
    assert blocking == waiting
