"""The copy of a project's vectors on a Chroma server, removed before the index that knows of it is."""

import json
import subprocess
import sys
from pathlib import Path

from agent_brain_server.config.daemon import DaemonSettings
from agent_brain_server.config.settings import load_settings
from agent_brain_server.storage_paths import make_child_environment

REMOVAL_MODULE = "agent_brain_server.project.purge_vectors"
REMOVAL_LIMIT_S = 30.0  # loading Chroma's client takes a second, and each of a few requests at most three


def forget_vectors(data: Path, state_dir: Path | None) -> str | None:
    """Remove an index's collections from its Chroma server, if the settings name one.

    Args:
        data: Where the index lies; no server has it open.
        state_dir: Of the project whose settings count; None where the daemon's do.

    Returns:
        Why they are still there, None where nothing is.
    """
    config = load_settings(state_dir).config if state_dir else DaemonSettings.load().server
    if config.chroma_url is None:
        return None
    command = [sys.executable, "-P", "-m", REMOVAL_MODULE, "--data", str(data)]
    command += ["--state-dir", str(state_dir)] if state_dir else []
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=REMOVAL_LIMIT_S,
            check=True,
            stdin=subprocess.DEVNULL,
            cwd="/",  # libraries read `.env` of the current directory, which may be a clone's
            env=make_child_environment(),
        )
        fault: str | None = json.loads(done.stdout)["fault"]
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return f"The vectors on {config.chroma_url} could not be removed: {error}"
    return fault
