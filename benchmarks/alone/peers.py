"""Virtual environments of other tools, made when they are first measured; never a dependency of anything here."""

import subprocess
import sys
from pathlib import Path

SEMBLE = "semble==0.7.0"


def install_peer(requirement: str, directory: Path) -> Path:
    """Return the Python of an environment that holds a package from PyPI, making it where it is not there yet."""
    environment = directory / requirement.replace("==", "-")
    python = environment / "bin" / "python"
    if not (environment / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", environment], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", requirement], check=True)
        (environment / "complete").touch()
    return python
