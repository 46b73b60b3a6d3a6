"""Fixtures: a project in a temporary directory, and the real command run in it."""

import contextlib
import gc
import io
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent_brain_cli.cli import main
from agent_brain_cli.formats import AGENT_VARIABLES
from agent_brain_server.storage_paths import LOCK_FILE

pytest_plugins = ["process_guard"]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in a shell's background job; child processes inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

COMMAND_TIMEOUT_S = 600  # far more than any command takes, so that a hang fails

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
    '''Set the title of the terminal and clear the screen.'''
    return "{ESCAPE}]0;owned \x9b2J{TAGS}"
"""
GUIDE = "# Guide\n\n## Installing\n\nThe wombat lives in the installation chapter.\n\n## Using\n\nAsk it anything.\n"


@dataclass(frozen=True)
class Outcome:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def error_lines(self) -> list[str]:
        """The lines on stderr; the last two are the error and its hint."""
        return self.err.strip().splitlines()


@dataclass(frozen=True)
class Command:
    """The `agent-brain` command in one project.

    Attributes:
        project: The project's root, the current directory of commands.
        environment: Their environment.
        in_process: Run them in this process, which saves the start of an interpreter; servers are always processes.
    """

    project: Path
    environment: dict[str, str]
    in_process: bool = True

    def __call__(self, *arguments: str, cwd: Path | str | None = None) -> Outcome:
        run = self.run_here if self.in_process else self.spawn
        return run(*arguments, cwd=Path(cwd or self.project))

    def run_here(self, *arguments: str, cwd: Path) -> Outcome:
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
        saved, thresholds, stdin = dict(os.environ), gc.get_threshold(), sys.stdin
        with (
            open(os.devnull) as nothing,
            contextlib.chdir(cwd),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            try:
                sys.stdin = nothing
                _replace_environment(self.environment)
                code = main(arguments)
            finally:
                sys.stdin = stdin
                _replace_environment(saved)
                gc.set_threshold(*thresholds)
        return Outcome(code, *(_read(stream) for stream in (out, err)))

    def spawn(self, *arguments: str, cwd: Path) -> Outcome:
        done = subprocess.run(
            [sys.executable, "-m", "agent_brain_cli", *arguments],
            cwd=cwd,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def kill(self, pid: int) -> None:
        """Kill a server and wait until it has ended."""
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + COMMAND_TIMEOUT_S
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            # its lock is free when all its threads have ended: the main thread is a zombie, the others are gone
            while len(os.listdir(f"/proc/{pid}/task")) > 1 or not is_zombie(pid):
                assert time.monotonic() < deadline
                time.sleep(0.01)

    def run_on_terminal(self, *arguments: str, **variables: str) -> str:
        """Return what the command writes to a terminal; its server must be running."""
        leader, follower = pty.openpty()
        with subprocess.Popen(
            [sys.executable, "-m", "agent_brain_cli", *arguments],
            cwd=self.project,
            env=self.environment | {"TERM": "xterm-256color"} | variables,
            stdin=follower,
            stdout=follower,
            stderr=follower,
        ) as process:
            os.close(follower)
            shown = _read_terminal(leader)
            process.wait(COMMAND_TIMEOUT_S)
        return shown


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return make_environment(tmp_path)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path)


@pytest.fixture
def command(project: Path, environment: dict[str, str]) -> Command:
    """Run commands in a project of this test that start no server."""
    return Command(project, environment)


@pytest.fixture
def agent_brain(command: Command, starts_processes: None) -> Iterator[Command]:
    """Run commands in a project of this test, and stop its servers afterwards."""
    try:
        yield command
    finally:
        stop_server(command)


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory, starts_processes: None) -> Iterator[Command]:
    """Run commands in an indexed project that the tests of a module share; they do not change it."""
    directory = tmp_path_factory.mktemp("indexed")
    command = Command(make_project(directory), make_environment(directory))
    try:
        outcome = command("index", "--wait")
        assert outcome.code == 0, outcome.err
        yield command
    finally:
        stop_server(command)


@pytest.fixture
def brain_home(environment: dict[str, str]) -> Path:
    """Return the directory of the shared daemon, which listens on a port that the system chooses."""
    directory = Path(environment["AGENT_BRAIN_HOME"])
    directory.mkdir(exist_ok=True)
    (directory / "shared_config.json").write_text('{"port": 0}')
    return directory


def make_environment(directory: Path) -> dict[str, str]:
    """Return this environment without settings of Agent Brain and variables of agents, and with a temporary home."""
    ours = ("AGENT_BRAIN_", "DOC_SERVE_", "_AGENT_BRAIN", "NO_COLOR", "FORCE_COLOR", *AGENT_VARIABLES)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return inherited | {"AGENT_BRAIN_HOME": str(directory / "home"), "PYTHONWARNINGS": "default"}


def make_project(directory: Path) -> Path:
    """Create a small project whose path has a space and a letter beyond ASCII."""
    root = directory / "my prøject"
    (root / "src").mkdir(parents=True)
    (root / ".claude").mkdir()
    (root / "src/locking.py").write_text(LOCKING)
    (root / "guide.md").write_text(GUIDE)
    (root / f"evil{ESCAPE}[31m.py").write_text(HOSTILE)
    return root


def stop_server(command: Command) -> None:
    """Stop the servers that were started: the project's own and the daemon."""
    if list(command.project.glob(".claude/*/*.lock")):
        command("stop", "--force", "--timeout", "60")
    home = command.environment.get("AGENT_BRAIN_HOME")
    if home and (Path(home) / LOCK_FILE).exists():
        command("stop", "--mode", "shared", "--force", "--timeout", "60")


def is_zombie(pid: int) -> bool:
    """Return whether a process has ended and waits for its parent."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] in "ZX"


def _replace_environment(variables: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(variables)


def _read(stream: io.TextIOWrapper) -> str:
    stream.flush()
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode()


def _read_terminal(leader: int) -> str:
    parts = []
    with contextlib.suppress(OSError):  # how Linux reports that the other end was closed
        while part := os.read(leader, 65_536):
            parts.append(part)
    os.close(leader)
    return b"".join(parts).decode()
