"""Starting the server process: which one, with what around it, and every way in which its start can end."""

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

LIMIT_S = 120.0
NOTE_START = (
    "import json, os, sys\nopen({path!r}, 'a').write(json.dumps([sys.argv, dict(os.environ), os.getcwd()]) + '\\n')\n"
)


class Spy:
    """What stands between the interpreter's start and the server: notes each start and does what a test says."""

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
    place = resolve_state_dir(root)
    prepare_state_dir(place)
    yield root
    state = read_runtime(place)
    if state is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(state.pid, signal.SIGKILL)


@pytest.fixture
def plan(project):
    place = resolve_state_dir(project)
    arguments = ("--project-root", str(project), "--state-dir", str(place))
    return LaunchPlan("the server of X", place, arguments, "agent-brain status", "agent-brain stop")


def try_launch(plan, overrides=None, limit_s=LIMIT_S):
    return launch(plan, overrides or {}, "agent", time.monotonic() + limit_s)


@pytest.mark.process
def test_a_server_that_answers_is_returned_as_it_published_itself(plan, spy, project):
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
def test_the_server_takes_no_project_s_place_for_its_own_and_the_caller_s_home(
    plan, spy, project, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AGENT_BRAIN_HOME", "home of mine")
    monkeypatch.setenv("DOC_SERVE_STATE_DIR", str(tmp_path / "another"))
    assert try_launch(plan) is not None
    ((_, environment, _),) = spy.starts
    assert environment["AGENT_BRAIN_HOME"] == str(tmp_path / "home of mine")
    assert "DOC_SERVE_STATE_DIR" not in environment


@pytest.mark.process
def test_a_module_of_the_same_name_in_the_caller_s_directory_is_not_run(plan, project, tmp_path, monkeypatch):
    (tmp_path / "agent_brain_server.py").write_text("raise SystemExit('the wrong one')")
    monkeypatch.chdir(tmp_path)
    assert try_launch(plan) is not None


@pytest.mark.process
def test_a_lock_that_is_held_is_no_failure(plan):
    with StateLock(plan.state_dir):
        assert try_launch(plan) is None


@pytest.mark.process
def test_a_failure_is_the_error_that_the_server_reported(plan, spy):
    with pytest.raises(ConfigError, match="chunk_size"):
        try_launch(plan, {"chunk_size": 1})
    assert len(spy.starts) == 1


@pytest.mark.process
def test_one_that_fails_with_words_is_started_once_and_quoted(plan, spy):
    spy.then("os.write(2, b'Illegal instruction\\n' * 20)\nos._exit(3)\n")
    with pytest.raises(StartError, match="ended before it was ready") as caught:
        try_launch(plan)
    assert len(spy.starts) == 1
    assert caught.value.__notes__[0].count("Illegal instruction") == 10
    assert str(stderr_log_path(plan.state_dir)) in caught.value.hint


@pytest.mark.process
def test_one_that_is_killed_each_time_is_started_so_often_and_no_more(plan, spy, caplog):
    spy.then("os.kill(os.getpid(), 9)\n")
    with pytest.raises(StartError, match="ended before it was ready") as caught:
        try_launch(plan)
    assert len(spy.starts) == MAX_STARTS
    assert not hasattr(caught.value, "__notes__")
    assert caplog.text.count("The server of X ended before it was ready") == MAX_STARTS - 1


@pytest.mark.process
def test_one_that_is_killed_once_is_there_the_second_time(plan, spy):
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
def test_slow_server_is_left_to_become_ready_after_the_limit(plan, spy, tmp_path):
    spy.then(WAIT_AFTER_FORK.format(go=str(tmp_path / "go")))
    with pytest.raises(DeadlineError, match="The server of X is not ready yet") as caught:
        try_launch(plan, limit_s=10)  # time enough to fork on a busy machine
    assert "agent-brain status" in caught.value.hint
    (tmp_path / "go").touch()
    deadline = time.monotonic() + LIMIT_S
    while read_runtime(plan.state_dir) is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert len(spy.starts) == 1


@pytest.mark.process
def test_an_interpreter_that_hangs_is_ended_after_the_limit(plan, spy):
    spy.then("import time\ntime.sleep(60)\n")
    began = time.monotonic()
    with pytest.raises(DeadlineError, match="did not begin to start"):
        try_launch(plan, limit_s=0.5)
    assert time.monotonic() - began >= 0.5
    assert is_stale(plan.state_dir)
    children = " ".join(path.read_text() for path in Path("/proc/self/task").glob("*/children")).split()
    assert [pid for pid in children if b"agent_brain_server" in Path(f"/proc/{pid}/cmdline").read_bytes()] == []


@pytest.mark.process
def test_what_it_writes_outside_its_log_is_private_and_begun_anew_when_it_is_long(plan, spy):
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


def test_a_place_for_its_words_that_cannot_be_made_is_told(plan):
    stderr_log_path(plan.state_dir).parent.write_text("in the way")
    with pytest.raises(StateDirError, match="logs"):
        try_launch(plan)


@pytest.mark.process
def test_no_descriptor_of_the_caller_stays_open(plan, spy):
    spy.then("os._exit(0)\n")
    before = sorted(os.listdir("/proc/self/fd"))
    with pytest.raises(StartError):
        try_launch(plan)
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_only_the_first_letter_becomes_a_capital():
    assert capitalize("the server of /home/Me") == "The server of /home/Me"
    assert capitalize("") == ""
