"""A project of its own for each test, and the real command run in it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest_plugins = ["process_guard"]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background job: its children would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

COMMAND_TIMEOUT_S = 180  # far over what any command takes, so that a hang fails instead of blocking

LOCKING = '''"""One holder at a time."""


class Lock:
    """A lock on a file."""

    def release(self) -> None:
        """Free the lock, so that the next one in the queue may enter the turnstile."""
        self.holder = None
'''
ESCAPE = "\x1b"
TAGS = "\U000e0068\U000e0069"
HOSTILE = f"""def turnip():
    '''Titles the window, clears the screen, and stays a text file to all who look at it.'''
    return "{ESCAPE}]0;owned \x9b2J{TAGS}"
"""
GUIDE = "# Guide\n\n## Installing\n\nThe wombat lives in the installation chapter.\n\n## Using\n\nAsk it anything.\n"


@dataclass(frozen=True)
class Outcome:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def complaint(self) -> list[str]:
        """The two lines of an error."""
        return self.err.strip().splitlines()


@dataclass(frozen=True)
class Command:
    """The `agent-brain` command in one project."""

    project: Path
    environment: dict[str, str]

    def __call__(self, *arguments: str, cwd: Path | None = None) -> Outcome:
        done = subprocess.run(
            [sys.executable, "-m", "agent_brain_cli", *arguments],
            cwd=cwd or self.project,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return make_environment(tmp_path)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path)


@pytest.fixture
def agent_brain(project: Path, environment: dict[str, str], starts_processes: None) -> Iterator[Command]:
    """Run the command in a project of the test's own; its server is stopped afterwards, whatever happened."""
    command = Command(project, environment)
    try:
        yield command
    finally:
        stop_server(command)


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory, starts_processes: None) -> Iterator[Command]:
    """Run the command in an indexed project, which a module's tests share and only ask."""
    place = tmp_path_factory.mktemp("indexed")
    command = Command(make_project(place), make_environment(place))
    try:
        outcome = command("index", "--wait")
        assert outcome.code == 0, outcome.err
        yield command
    finally:
        stop_server(command)


def make_environment(place: Path) -> dict[str, str]:
    """Return the environment without what the developer has set for Agent Brain, and with a home of the test's own."""
    ours = ("AGENT_BRAIN_", "DOC_SERVE_", "_AGENT_BRAIN", "NO_COLOR", "FORCE_COLOR")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return inherited | {"AGENT_BRAIN_HOME": str(place / "home"), "PYTHONWARNINGS": "default"}


def make_project(place: Path) -> Path:
    """Make a small project whose path has a space and a letter beyond ASCII."""
    root = place / "my prøject"
    (root / "src").mkdir(parents=True)
    (root / ".claude").mkdir()
    (root / "src/locking.py").write_text(LOCKING)
    (root / "guide.md").write_text(GUIDE)
    (root / f"evil{ESCAPE}[31m.py").write_text(HOSTILE)
    return root


def stop_server(command: Command) -> None:
    """Stop the project's server, if one was started."""
    if list(command.project.glob(".claude/*/*.lock")):
        command("stop", "--force", "--timeout", "60")
