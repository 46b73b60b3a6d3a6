"""Run commands in this process, with real servers and files in a temporary directory."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agent_brain_cli.cli import main

Run = Callable[..., "Answer"]


@dataclass(frozen=True)
class Answer:
    """Output and exit code of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def make_run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str) -> Answer:
        capsys.readouterr()
        code = main(arguments)
        captured = capsys.readouterr()
        return Answer(code, captured.out, captured.err)

    return run


@pytest.fixture
def run(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs a command in a new project, without a server."""
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(project)
    return make_run(capsys)


@pytest.fixture
def ask(indexed, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs a command in the module's indexed project, whose server is running."""
    monkeypatch.setenv("AGENT_BRAIN_HOME", indexed.environment["AGENT_BRAIN_HOME"])
    monkeypatch.chdir(indexed.project)
    return make_run(capsys)
