"""Removes a project's vectors from its Chroma server: `python -m agent_brain_server.project.purge_vectors` prints JSON.

A process of its own, as Chroma's client is nothing that a command should have to load.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agent_brain_server.config.daemon import DaemonSettings
from agent_brain_server.config.settings import ProjectConfig, load_settings
from agent_brain_server.errors import AgentBrainError
from agent_brain_server.types import ChromaServer


def forget(data: Path, settings: ProjectConfig) -> dict[str, Any]:
    """Remove the collections of an index.

    Args:
        data: Where the index lies; no server has it open.
        settings: Name the Chroma server and its token.

    Returns:
        `removed`, whether there were any, and `fault`, why they are still there: None where they are not.
    """
    from agent_brain_server.storage.vector_store import purge_remote_vectors  # noqa: PLC0415 - loads NumPy

    if settings.chroma_url is None:
        return {"removed": False, "fault": None}
    try:
        server = ChromaServer(settings.chroma_url, settings.chroma_token)
        return {"removed": purge_remote_vectors(data, server), "fault": None}
    except AgentBrainError as error:
        return {"removed": False, "fault": f"{error.message} {error.hint}"}


def main(argv: Sequence[str] | None = None) -> int:
    """Remove the collections of the index that the arguments name; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m agent_brain_server.project.purge_vectors")
    parser.add_argument("--data", type=Path, required=True, help="where the index lies")
    parser.add_argument("--state-dir", type=Path, help="of the project; without it the daemon's settings count")
    arguments = parser.parse_args(argv)
    place = arguments.state_dir
    settings = load_settings(place).config if place else DaemonSettings.load().server
    json.dump(forget(arguments.data, settings), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
