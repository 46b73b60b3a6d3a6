"""The lifecycle tests pass where neither `/proc` nor process descriptors exist, as in some sandboxes and on macOS."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SHIM = """
import os, signal
for module, name in ((os, "pidfd_open"), (signal, "pidfd_send_signal")):
    if hasattr(module, name):
        delattr(module, name)
"""

HIDE = 'mount --bind /proc "$AGENT_BRAIN_TEST_PROC" && mount -t tmpfs none /proc && exec "$@"'
"""The tests themselves find processes through the second mount."""

UNSHARE = ["unshare", "--mount", "--propagation", "private", "sh", "-c", HIDE, "sh"]


def test_lifecycle_without_proc_and_pidfd(tmp_path: Path) -> None:
    proc = tmp_path / "proc"
    proc.mkdir()
    (tmp_path / "sitecustomize.py").write_text(SHIM)
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "AGENT_BRAIN_TEST_PROC": str(proc), "PYTHONPATH": path}
    environment.pop("PYTEST_XDIST_WORKER", None)
    if shutil.which("unshare") is None or subprocess.run([*UNSHARE, "true"], env=environment, check=False).returncode:
        pytest.skip("the system does not let this user hide /proc")
    tests = Path(__file__).with_name("test_lifecycle.py")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:xdist",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:cov",
        str(tests),
    ]
    result = subprocess.run(
        [*UNSHARE, *command, f"--basetemp={tmp_path / 'tests'}"],
        env=environment,
        cwd=tests.parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert " passed" in result.stdout
    assert " skipped" not in result.stdout.splitlines()[-1]
