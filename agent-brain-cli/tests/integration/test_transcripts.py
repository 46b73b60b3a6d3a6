"""docs/AGENTS.md shows what sessions with `agent-brain mcp` exchange."""

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
LIMIT_S = 600.0


@pytest.mark.slow
def test_transcripts_of_sessions_are_current() -> None:
    command = [sys.executable, "scripts/write_transcripts.py", "--check"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
