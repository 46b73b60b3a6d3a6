"""Files planted by another user never cause a request to a server or a signal to a process.

The other user is a real one, whose process listens, holds the lock and answers with the instance id of the planted
file. The victim's own process, which the lock names, must live on.
"""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent_brain_server.discovery import discover
from agent_brain_server.errors import AgentBrainError
from agent_brain_server.lifecycle.control import stop_server
from agent_brain_server.lifecycle.registry import register
from agent_brain_server.locking import StateLock
from agent_brain_server.storage_paths import lock_path, pid_path, prepare_state_dir, resolve_state_dir, runtime_path
from agent_brain_server.support.processes import read_start_time

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")

STRANGER = 65533
LIMIT_S = 600.0
INSTANCE = "ds_0badc0"

STRANGERS_SERVER = """
import fcntl, json, os, socket, sys
os.setgroups([])
os.setgid(int(sys.argv[3]))
os.setuid(int(sys.argv[3]))
lock = open(int(sys.argv[1]), "rb")
fcntl.flock(lock, fcntl.LOCK_EX)
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
body = json.dumps({"instance_id": sys.argv[2], "status": "healthy", "results": [], "projects": []}).encode()
while True:
    connection, _ = listener.accept()
    print(connection.recv(65536).partition(b"\\r\\n")[0].decode(), flush=True)
    connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body) + body)
    connection.close()
"""

COMMANDS = (
    ["status"],
    ["query", "anything"],
    ["start", "--timeout", "1"],
    ["stop", "--timeout", "1"],
    ["stop", "--force", "--timeout", "1"],
    ["list"],
    ["doctor"],
    ["logs"],
    ["reset", "--yes", "--timeout", "1"],
)


REPORTS = ("list", "doctor", "reset")
"""Commands that may succeed: they report what they find, and there is no index to remove."""


@dataclass
class Plant:
    """A planted state directory and the processes around it.

    Attributes:
        root: The victim stands here.
        stranger: The other user's server.
        victim: A process of the victim that the planted files name.
        environment: For the victim's commands.
    """

    root: Path
    stranger: subprocess.Popen[str]
    victim: subprocess.Popen[bytes]
    environment: dict[str, str]

    @property
    def state_dir(self) -> Path:
        return resolve_state_dir(self.root)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "agent_brain_cli", *arguments]
        return subprocess.run(
            command,
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def assert_untouched(self) -> None:
        assert self.victim.poll() is None
        assert self.stranger.poll() is None
        self.stranger.kill()
        assert self.stranger.communicate()[0] == ""


def describe_server(root: Path, port: int, pid: int) -> str:
    return json.dumps(
        {
            "schema_version": 1,
            "mode": "project",
            "project_root": str(root),
            "instance_id": INSTANCE,
            "base_url": f"http://127.0.0.1:{port}",
            "bind_host": "127.0.0.1",
            "port": port,
            "pid": pid,
            "pid_started_at": read_start_time(pid),
            "started_at": "2026-01-02T03:04:05+00:00",
            "token": "planted",
        }
    )


def give_away(*paths: Path) -> None:
    for path in paths:
        os.chown(path, STRANGER, STRANGER, follow_symlinks=False)


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plant]:
    """Plant files as a clone brings them: they belong to the victim, are readable, and the stranger holds the lock."""
    monkeypatch.delenv("DOC_SERVE_STATE_DIR", raising=False)
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(tmp_path / "brain"))
    root = tmp_path / "project"
    (root / "module.py").parent.mkdir()
    (root / "module.py").write_text("def walrus():\n    pass\n")
    place = resolve_state_dir(root)
    place.mkdir(parents=True)
    victim = subprocess.Popen(["sleep", "600"])
    stranger = None
    try:
        lock_path(place).write_text(f"{victim.pid} {read_start_time(victim.pid)}\n")
        pid_path(place).write_text(f"{victim.pid}\n")
        stranger = start_stranger(lock_path(place))
        assert stranger.stdout is not None
        port = int(stranger.stdout.readline())
        runtime_path(place).write_text(describe_server(root, port, victim.pid))
        register(root, place)
        yield Plant(root, stranger, victim, {**os.environ, "AGENT_BRAIN_HOME": str(tmp_path / "brain")})
    finally:
        for process in filter(None, (stranger, victim)):
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        shutil.rmtree(root)


def start_stranger(lock: Path) -> subprocess.Popen[str]:
    """Start the stranger's server, which opens the lock through a descriptor: pytest's directories are closed to it."""
    with lock.open("rb") as file:
        arguments = [str(file.fileno()), INSTANCE, str(STRANGER)]
        return subprocess.Popen(
            [sys.executable, "-c", STRANGERS_SERVER, *arguments],
            stdout=subprocess.PIPE,
            text=True,
            cwd="/",
            pass_fds=(file.fileno(),),
        )


def require_held(plant: Plant) -> None:
    with lock_path(plant.state_dir).open("rb") as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: " ".join(arguments))
@pytest.mark.parametrize("owner", ["stranger", "victim"])
def test_command_ignores_planted_server(plant: Plant, owner: str, arguments: list[str]) -> None:
    if owner == "stranger":
        give_away(plant.root, *plant.root.rglob("*"))
    require_held(plant)
    done = plant.run(*arguments)
    assert done.returncode in ((0, 1, 2, 5) if arguments[0] in REPORTS else (2, 3, 5, 6)), done.stderr
    plant.assert_untouched()


@pytest.mark.parametrize("given", ["runtime.json", "Agent Brain.lock"])
def test_discover_ignores_files_of_another_user(plant: Plant, given: str) -> None:
    give_away(plant.state_dir / given)
    try:
        assert discover(plant.root) is None
    except AgentBrainError as error:
        assert error.exit_code == 5
    plant.assert_untouched()


def test_discover_ignores_server_of_another_user(plant: Plant) -> None:
    port = json.loads(runtime_path(plant.state_dir).read_text())["port"]
    runtime_path(plant.state_dir).write_text(describe_server(plant.root, port, plant.stranger.pid))
    assert discover(plant.root) is None
    plant.assert_untouched()


def test_stop_without_held_lock_sends_no_signal(plant: Plant) -> None:
    """Plant a lock that names one process of the victim and is held by another."""
    plant.stranger.kill()
    plant.stranger.wait()
    prepare_state_dir(plant.state_dir)
    named = lock_path(plant.state_dir).read_text()
    with StateLock(plant.state_dir):
        lock_path(plant.state_dir).write_text(named)
        with pytest.raises(AgentBrainError, match="cannot be proven"):
            stop_server(plant.state_dir, timeout_s=0.2, force=True)
    assert plant.victim.poll() is None
