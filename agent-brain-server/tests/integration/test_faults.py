"""Damage, loss, crowds and odd clocks, with real servers: nothing wrong is answered, and everything mends by itself."""

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
SOAK_LIMIT_S = 120.0

CASES = [
    "flip=3",
    "lost=2",
    "kill-stop=2",
    "kill-compact=1",
    "crowd=1",
    "slow=1",
    "steady=0",
    "flood=300",
    "branches=1",
]


@pytest.mark.parametrize("case", CASES)
def test_a_round_of_each_long_loop_holds(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(tmp_path / "home"))
    name, _, rounds = case.partition("=")
    command = [sys.executable, "-m", "benchmarks.soak", name, "--rounds", rounds]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=SOAK_LIMIT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("ok")
