"""`discover` and `discover_or_start` resolve the project root from any path in the project."""

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent_brain_server.discovery import discover, discover_async, discover_or_start, discover_or_start_async
from agent_brain_server.errors import ConfigError
from agent_brain_server.lifecycle.control import stop_daemon, stop_server
from agent_brain_server.storage_paths import brain_home, config_path, prepare_state_dir, resolve_state_dir


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a git repository with subdirectories, and stop its servers afterwards."""
    monkeypatch.delenv("DOC_SERVE_STATE_DIR", raising=False)
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(tmp_path / "brain"))
    root = tmp_path / "mein Projekt"
    (root / "src" / "deep").mkdir(parents=True)
    (root / "src" / "deep" / "module.py").write_text("def walrus():\n    pass\n")
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    yield root
    stop_server(resolve_state_dir(root), force=True)
    stop_daemon(force=True)


def list_paths(root: Path) -> list[Path]:
    (root.parent / "link").symlink_to(root / "src")
    return [root, root / "src", root / "src" / "deep", root / "src" / "deep" / "module.py", root.parent / "link"]


@pytest.mark.parametrize("mode", ["project", "shared"])
def test_discover_from_any_path_finds_the_one_server(project: Path, mode: str) -> None:
    if mode == "shared":
        prepare_state_dir(brain_home())
        (brain_home() / "shared_config.json").write_text('{"port": 0}')
        prepare_state_dir(resolve_state_dir(project))
        config_path(resolve_state_dir(project)).write_text('{"mode": "shared"}')
    paths = list_paths(project)
    assert discover(paths[1]) is None
    started = discover_or_start(paths[2])
    assert (started.mode, started.project_root) == (mode, str(project))
    for path in paths:
        assert discover(path) == started
        assert discover_or_start(path) == started
    assert not list((project / "src").rglob(".claude"))


def test_async_discover_from_any_path_finds_the_one_server(project: Path) -> None:
    async def ask() -> list[object]:
        started = await discover_or_start_async(project / "src")
        return [started, await discover_async(project / "src" / "deep"), await discover_async(project)]

    started, *found = asyncio.run(ask())
    assert found == [started, started]


def test_discover_relative_path_counts_from_current_directory(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = discover_or_start(project)
    monkeypatch.chdir(project / "src")
    assert discover(Path()) == started
    assert discover(Path("deep")) == started


def test_discover_exact_searches_no_root(project: Path) -> None:
    started = discover_or_start(project)
    assert discover(project / "src", exact=True) is None
    assert discover(project, exact=True) == started
    assert asyncio.run(discover_async(project / "src", exact=True)) is None


@pytest.mark.parametrize("start", [discover_or_start, lambda path: asyncio.run(discover_or_start_async(path))])
def test_discover_or_start_in_home_is_refused(project: Path, monkeypatch: pytest.MonkeyPatch, start) -> None:
    monkeypatch.setenv("HOME", str(project))
    for path in (project, project.parent, Path("/")):
        with pytest.raises(ConfigError) as caught:
            start(path)
        assert caught.value.code == "not_a_project"
        assert discover(project) is None
    assert not (project / ".claude").exists()
    named = discover_or_start(project, exact=True)
    assert named.project_root == str(project)
