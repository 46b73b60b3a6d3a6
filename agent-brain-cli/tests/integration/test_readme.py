"""The README shows what the commands print."""

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
LIMIT_S = 300.0


@pytest.mark.process
@pytest.mark.slow
def test_readme_pictures_and_output_are_current() -> None:
    command = [sys.executable, "scripts/write_readme.py", "--check"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
