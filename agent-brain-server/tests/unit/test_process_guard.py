"""The pytest plugin finds what tests start and leave behind."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from process_guard import SESSION_VARIABLE, find_session_processes

from agent_brain_server.support.processes import read_start_time

LEAVING = """
import subprocess
import process_guard

process_guard.END_LIMIT_S = 1.0

def test_leaving():
    process = subprocess.Popen(["sleep", "1000"], start_new_session=True, stdout=-3, stderr=-3)
    with open("pid", "w") as file:
        file.write(str(process.pid))
    assert {holds}
"""
STARTING = """
import subprocess, sys, pytest

def test_unmarked():
    subprocess.run([sys.executable, "-c", "import agent_brain_server"])

@pytest.fixture
def program(starts_processes):
    subprocess.run([sys.executable, "-c", "import agent_brain_server"])

def test_marked_by_fixture(program, request):
    assert request.node.get_closest_marker("process")

@pytest.mark.process
def test_marked():
    subprocess.run([sys.executable, "-c", "import agent_brain_server"])

def test_other_programs():
    subprocess.run(["git", "--version"])
"""


def run_pytest(directory: Path, test: str) -> subprocess.CompletedProcess[str]:
    (directory / "test_module.py").write_text(test)
    options = ["-p", "no:cacheprovider", "-p", "no:schemathesis", "-p", "process_guard", "-o", "markers=process"]
    command = [sys.executable, "-m", "pytest", *options, directory]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=directory)


@pytest.mark.process
@pytest.mark.parametrize("holds", [True, False])
def test_process_left_by_a_test_fails_and_is_killed(tmp_path: Path, holds: bool) -> None:
    done = run_pytest(tmp_path, LEAVING.format(holds=holds))
    assert done.returncode == 1
    assert "left processes behind" in done.stdout
    assert "sleep 1000 (started in test_module.py::test_leaving" in done.stdout
    assert read_start_time(int((tmp_path / "pid").read_text())) is None


@pytest.mark.process
def test_unmarked_test_that_starts_a_program_fails(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, STARTING)
    assert "mark it `process`" in done.stdout
    assert "test_module.py::test_unmarked" in done.stdout
    assert "1 failed, 3 passed" in done.stdout


def test_running_process_is_found_by_session() -> None:
    with subprocess.Popen(["sleep", "1000"]) as process:
        try:
            assert process.pid in find_session_processes(os.environ[SESSION_VARIABLE])
        finally:
            process.kill()
    assert process.pid not in find_session_processes(os.environ[SESSION_VARIABLE])
