"""Virtual environments of other tools, created at their first measurement; never a dependency of this repository."""

import subprocess
import sys
from pathlib import Path

SEMBLE = "semble==0.7.0"


def install_peer(requirement: str, directory: Path) -> Path:
    """Return the Python of an environment with a package from PyPI; create it if needed."""
    environment = directory / requirement.replace("==", "-")
    python = environment / "bin" / "python"
    if not (environment / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", environment], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", requirement], check=True)
        (environment / "complete").touch()
    return python
