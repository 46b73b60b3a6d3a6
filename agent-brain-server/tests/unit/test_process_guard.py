"""The guard of the tests finds a process that a test has left, and ends it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from process_guard import MARK, find_marked_processes

from agent_brain_server.support.processes import read_start_time

LEAVING = """
import subprocess
import process_guard
from process_guard import no_process_left

process_guard.ENDING_LIMIT_S = 1.0

def test_leaving():
    process = subprocess.Popen(["sleep", "1000"], start_new_session=True, stdout=-3, stderr=-3)
    with open("pid", "w") as file:
        file.write(str(process.pid))
    assert {holds}
"""


@pytest.mark.parametrize("holds", [True, False])
def test_process_left_by_a_test_fails_and_is_killed(tmp_path: Path, holds: bool) -> None:
    (tmp_path / "test_leaving.py").write_text(LEAVING.format(holds=holds))
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:schemathesis", tmp_path]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 1
    assert "left processes behind" in done.stdout
    assert "sleep 1000 (started in test_leaving.py::test_leaving" in done.stdout
    assert read_start_time(int((tmp_path / "pid").read_text())) is None


def test_running_process_is_found_by_its_mark() -> None:
    with subprocess.Popen(["sleep", "1000"]) as process:
        try:
            assert process.pid in find_marked_processes(os.environ[MARK])
        finally:
            process.kill()
    assert process.pid not in find_marked_processes(os.environ[MARK])
