"""The command's own code in this process, against real servers and files of the test's own."""

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
    """What a command said, and how it ended."""

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
        said = capsys.readouterr()
        return Answer(code, said.out, said.err)

    return run


@pytest.fixture
def run(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return the command in a project where nothing runs yet."""
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(project)
    return make_run(capsys)


@pytest.fixture
def ask(indexed, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return the command in the module's indexed project, whose server runs."""
    monkeypatch.setenv("AGENT_BRAIN_HOME", indexed.environment["AGENT_BRAIN_HOME"])
    monkeypatch.chdir(indexed.project)
    return make_run(capsys)
