"""Pytest plugin for both packages: tells which tests start processes, and fails tests that leave one behind.

The marker `process` means that a test starts a server, the command, the indexing worker, or a script that imports our
packages. Tests below `integration/` and tests that use the fixture `starts_processes`, directly or through another
fixture, get it automatically. A test without the marker that starts such a program fails.

Servers detach from the test that starts them, so the guard finds them by an environment variable that every process
inherits. Each pytest worker has its own value.
"""

import contextlib
import gc
import os
import signal
import sys
import time
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

PROC = Path(os.environ.get("AGENT_BRAIN_TEST_PROC", "/proc"))  # elsewhere if it is hidden from the tested processes
SESSION_VARIABLE = "TEST_SESSION_MARK"
TEST_VARIABLE = b"PYTEST_CURRENT_TEST="
PROCESS_FIXTURE = "starts_processes"
OUR_PROGRAMS = ("agent_brain", "bin/agent-brain", "bin/chroma", "-m benchmarks", "-m pytest")
END_LIMIT_S = 60.0  # a worker ends by itself after its server was killed, which takes time on a busy machine
LOAD_LIMIT_S = 2.0
SLOW_CPU_S = 1.0

os.environ[SESSION_VARIABLE] = uuid.uuid4().hex
gc.disable()  # until all tests are collected: loading modules leaves almost no garbage to find


class StartRecorder:
    """Records the programs of ours that the current test starts.

    It listens to the interpreter's audit events, so it sees what threads start too.
    """

    def __init__(self) -> None:
        self.started: list[str] = []
        sys.addaudithook(self._record)

    def _record(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in ("subprocess.Popen", "os.posix_spawn"):
            return
        command = arguments[1]
        words = [command] if isinstance(command, str | bytes | os.PathLike) else list(command)
        line = " ".join(os.fsdecode(word) for word in words)
        if any(part in line for part in OUR_PROGRAMS):
            self.started.append(line)


RECORDER = pytest.StashKey[StartRecorder]()


def pytest_configure(config: pytest.Config) -> None:
    """Listen to process starts for the whole session."""
    config.stash[RECORDER] = StartRecorder()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Use a worker for each processor, and one more if tests wait for processes that they start."""
    waits = "not process" not in config.option.markexpr
    return len(os.sched_getaffinity(0)) + waits


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Add the markers `process` and `no_cover` before tests are selected by marker."""
    for item in items:
        if "integration" in item.path.parts or PROCESS_FIXTURE in getattr(item, "fixturenames", ()):
            item.add_marker("process")
        elif item.get_closest_marker("slow") and not item.get_closest_marker("process"):
            item.add_marker("no_cover")  # measuring coverage doubles their time, and other tests run the same lines


def pytest_collection_finish() -> None:
    """Leave the collected tests and loaded modules out of garbage collections, which would scan them all."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Forget the starts of the test before."""
    item.config.stash[RECORDER].started.clear()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test that starts a program, in its fixtures or its body, without the marker."""
    began = time.process_time()
    result = yield
    started = item.config.stash[RECORDER].started
    if started and not item.get_closest_marker("process"):
        pytest.fail(f"This test starts a program: mark it `process`.\n{started[0]}", pytrace=False)
    if not (item.get_closest_marker("slow") or item.get_closest_marker("process")):
        item.user_properties.append(("cpu_s", time.process_time() - began))
    return result


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, object, object]:
    """Escape lone surrogates, which a report to another process cannot carry."""
    return _escape((yield))


def _escape(value: object) -> object:
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, dict):
        return {_escape(key): _escape(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_escape(item) for item in value)
    return value


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List the tests that need the marker `slow`."""
    reports = [report for report in terminalreporter.getreports("passed") if report.when == "call"]
    slow = [report for report in reports if dict(report.user_properties).get("cpu_s", 0) > SLOW_CPU_S]
    for report in slow:
        cpu_s = dict(report.user_properties)["cpu_s"]
        terminalreporter.write_line(f"Mark as slow: {report.nodeid} takes {cpu_s:.1f} s of CPU")


@pytest.fixture(scope="session")
def starts_processes() -> None:
    """Mark every test that uses this fixture, directly or through another one, with `process`."""


def find_session_processes(session: str) -> dict[int, str]:
    """Return the running processes of a test session, as pid and description."""
    wanted = f"{SESSION_VARIABLE}={session}".encode()
    found: dict[int, str] = {}
    for directory in PROC.iterdir():
        with contextlib.suppress(OSError):  # the process has ended
            if directory.name.isdigit() and wanted in (variables := _read_environment(directory)):
                found[int(directory.name)] = _describe(directory, variables)
    return found


def _read_environment(directory: Path) -> list[bytes]:
    """Return the variables of a process, which has none for a moment while the kernel loads its program."""
    deadline = time.monotonic() + LOAD_LIMIT_S
    while not (content := (directory / "environ").read_bytes()) and time.monotonic() < deadline:
        os.readlink(directory / "exe")  # fails for kernel threads and ended processes
        time.sleep(0.01)
    return content.split(b"\0")


def _describe(directory: Path, variables: list[bytes]) -> str:
    command = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    tests = (value[len(TEST_VARIABLE) :].decode() for value in variables if value.startswith(TEST_VARIABLE))
    return f"{directory.name} {command} (started in {next(tests, 'unknown')})"


def wait_for_end(session: str, ignored: frozenset[int], limit_s: float) -> dict[int, str]:
    """Return the processes of a session that still run after `limit_s` seconds."""
    deadline = time.monotonic() + limit_s
    while True:
        running = {pid: text for pid, text in find_session_processes(session).items() if pid not in ignored}
        if not running or time.monotonic() >= deadline:
            return running
        time.sleep(0.05)


@pytest.fixture(scope="module", autouse=True)
def no_process_left() -> Iterator[None]:
    """Kill the processes that outlive the tests of a module, and fail."""
    session = os.environ[SESSION_VARIABLE]
    before = frozenset(find_session_processes(session))
    yield
    left = wait_for_end(session, before, END_LIMIT_S)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if left:
        pytest.fail("The tests left processes behind:\n" + "\n".join(left.values()), pytrace=False)
