"""Start the server process: its command and environment, and every outcome of a start."""

import contextlib
import json
import os
import signal
import stat
import time
from pathlib import Path

import pytest

from agent_brain_server.errors import ConfigError, DeadlineError, StartError, StateDirError
from agent_brain_server.lifecycle.spawn import MAX_STARTS, MAX_STDERR_BYTES, LaunchPlan, capitalize, launch
from agent_brain_server.locking import StateLock, is_stale
from agent_brain_server.runtime import read_runtime
from agent_brain_server.storage_paths import prepare_state_dir, resolve_state_dir, stderr_log_path

LIMIT_S = 600.0
NOTE_START = (
    "import json, os, sys\nopen({path!r}, 'a').write(json.dumps([sys.argv, dict(os.environ), os.getcwd()]) + '\\n')\n"
)


class Spy:
    """Replaces the spawned process: records each start and runs what a test chooses."""

    def __init__(self, directory):
        self._path = directory / "starts.jsonl"
        self._module = directory / "sitecustomize.py"
        self.then("")

    def then(self, code):
        self._module.write_text(NOTE_START.format(path=str(self._path)) + code)

    @property
    def starts(self):
        return [json.loads(line) for line in self._path.read_text().splitlines()] if self._path.exists() else []


@pytest.fixture
def spy(tmp_path, monkeypatch):
    directory = tmp_path / "spy"
    directory.mkdir()
    paths = [str(directory), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    return Spy(directory)


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.delenv("DOC_SERVE_STATE_DIR", raising=False)
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(tmp_path / "home"))
    root = (tmp_path / "Projekt mit Ä").resolve()
    root.mkdir()
    state_dir = resolve_state_dir(root)
    prepare_state_dir(state_dir)
    yield root
    state = read_runtime(state_dir)
    if state is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(state.pid, signal.SIGKILL)


@pytest.fixture
def plan(project):
    state_dir = resolve_state_dir(project)
    arguments = ("--project-root", str(project), "--state-dir", str(state_dir))
    return LaunchPlan("the server of X", state_dir, arguments, "agent-brain status", "agent-brain stop")


def try_launch(plan, overrides=None, limit_s=LIMIT_S):
    return launch(plan, overrides or {}, "agent", time.monotonic() + limit_s)


@pytest.mark.process
def test_launch_returns_published_state(plan, spy, project):
    state = try_launch(plan, {"chunk_size": 99, "log_level": None})
    assert state == read_runtime(plan.state_dir)
    assert state is not None
    assert state.project_root == str(project)
    ((arguments, _, directory),) = spy.starts
    assert directory == "/"
    assert [arguments[i + 1] for i, word in enumerate(arguments) if word in ("--started-by", "--set")] == [
        "agent",
        "chunk_size=99",
    ]


@pytest.mark.process
def test_launch_environment_has_home_but_no_state_dir(plan, spy, project, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AGENT_BRAIN_HOME", "home of mine")
    monkeypatch.setenv("DOC_SERVE_STATE_DIR", str(tmp_path / "another"))
    assert try_launch(plan) is not None
    ((_, environment, _),) = spy.starts
    assert environment["AGENT_BRAIN_HOME"] == str(tmp_path / "home of mine")
    assert "DOC_SERVE_STATE_DIR" not in environment


@pytest.mark.process
def test_launch_ignores_module_in_current_directory(plan, project, tmp_path, monkeypatch):
    (tmp_path / "agent_brain_server.py").write_text("raise SystemExit('the wrong one')")
    monkeypatch.chdir(tmp_path)
    assert try_launch(plan) is not None


@pytest.mark.process
def test_launch_held_lock_returns_none(plan):
    with StateLock(plan.state_dir):
        assert try_launch(plan) is None


@pytest.mark.process
def test_launch_raises_reported_error(plan, spy):
    with pytest.raises(ConfigError, match="chunk_size"):
        try_launch(plan, {"chunk_size": 1})
    assert len(spy.starts) == 1


@pytest.mark.process
def test_launch_failure_with_output_is_not_retried(plan, spy):
    spy.then("os.write(2, b'Illegal instruction\\n' * 20)\nos._exit(3)\n")
    with pytest.raises(StartError, match="ended before it was ready") as caught:
        try_launch(plan)
    assert len(spy.starts) == 1
    assert caught.value.__notes__[0].count("Illegal instruction") == 10
    assert str(stderr_log_path(plan.state_dir)) in caught.value.hint


@pytest.mark.process
def test_launch_killed_process_is_retried_up_to_limit(plan, spy, caplog):
    spy.then("os.kill(os.getpid(), 9)\n")
    with pytest.raises(StartError, match="ended before it was ready") as caught:
        try_launch(plan)
    assert len(spy.starts) == MAX_STARTS
    assert not hasattr(caught.value, "__notes__")
    assert caplog.text.count("The server of X ended before it was ready") == MAX_STARTS - 1


@pytest.mark.process
def test_launch_killed_once_succeeds_on_retry(plan, spy):
    spy.then(f"if sum(1 for _ in open({str(spy._path)!r})) == 1: os.kill(os.getpid(), 9)\n")
    assert try_launch(plan) is not None
    assert len(spy.starts) == 2


WAIT_AFTER_FORK = """
fork = os.fork
def fork_and_sleep():
    pid = fork()
    if pid == 0:
        import pathlib, time
        while not pathlib.Path({go!r}).exists():
            time.sleep(0.05)
    return pid
os.fork = fork_and_sleep
"""


@pytest.mark.process
def test_launch_slow_server_continues_after_deadline(plan, spy, tmp_path):
    spy.then(WAIT_AFTER_FORK.format(go=str(tmp_path / "go")))
    with pytest.raises(DeadlineError, match="The server of X is not ready yet") as caught:
        try_launch(plan, limit_s=10)  # enough to fork on a busy machine
    assert "agent-brain status" in caught.value.hint
    (tmp_path / "go").touch()
    deadline = time.monotonic() + LIMIT_S
    while read_runtime(plan.state_dir) is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert len(spy.starts) == 1


@pytest.mark.process
def test_launch_hung_interpreter_is_killed(plan, spy):
    spy.then("import time\ntime.sleep(60)\n")
    began = time.monotonic()
    with pytest.raises(DeadlineError, match="did not begin to start"):
        try_launch(plan, limit_s=0.5)
    assert time.monotonic() - began >= 0.5
    assert is_stale(plan.state_dir)
    children = " ".join(path.read_text() for path in Path("/proc/self/task").glob("*/children")).split()
    assert [pid for pid in children if b"agent_brain_server" in Path(f"/proc/{pid}/cmdline").read_bytes()] == []


@pytest.mark.process
def test_launch_stderr_file_is_private_and_bounded(plan, spy):
    spy.then("os.write(2, b'boom\\n')\nos._exit(3)\n")
    path = stderr_log_path(plan.state_dir)
    for size, left in ((0, b"boom\n"), (10, b"x" * 10 + b"boom\n"), (MAX_STDERR_BYTES + 1, b"boom\n")):
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        if size:
            path.write_bytes(b"x" * size)
            path.chmod(0o600)
        with pytest.raises(StartError) as caught:
            try_launch(plan)
        assert path.read_bytes() == left
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert "xxx" not in caught.value.__notes__[0]


def test_launch_unwritable_log_dir_is_an_error(plan):
    stderr_log_path(plan.state_dir).parent.write_text("in the way")
    with pytest.raises(StateDirError, match="logs"):
        try_launch(plan)


@pytest.mark.process
def test_launch_leaves_no_descriptor_open(plan, spy):
    spy.then("os._exit(0)\n")
    before = sorted(os.listdir("/proc/self/fd"))
    with pytest.raises(StartError):
        try_launch(plan)
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_capitalize_changes_first_letter_only():
    assert capitalize("the server of /home/Me") == "The server of /home/Me"
    assert capitalize("") == ""
