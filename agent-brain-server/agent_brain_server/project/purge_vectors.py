"""Delete the vectors of an index from its Chroma server: `python -m agent_brain_server.project.purge_vectors`.

A process for the CLI, which does not import the storage layer. It prints JSON.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agent_brain_server.config.settings import DaemonSettings, ProjectConfig, load_settings
from agent_brain_server.errors import AgentBrainError
from agent_brain_server.types import ChromaServer


def purge_vectors(data: Path, settings: ProjectConfig) -> dict[str, Any]:
    """Delete the collection of an index.

    Args:
        data: Data directory of the index, which no server has open.
        settings: Settings with address and token of the Chroma server.

    Returns:
        `removed`: whether there was a collection; `fault`: why it could not be deleted, or `None`.
    """
    from agent_brain_server.storage.vector_store import purge_remote_vectors  # noqa: PLC0415 - imports NumPy

    if settings.chroma_url is None:
        return {"removed": False, "fault": None}
    try:
        server = ChromaServer(settings.chroma_url, settings.chroma_token)
        return {"removed": purge_remote_vectors(data, server), "fault": None}
    except AgentBrainError as error:
        return {"removed": False, "fault": f"{error.message} {error.hint}"}


def main(argv: Sequence[str] | None = None) -> int:
    """Delete the collection of the index that the arguments name; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m agent_brain_server.project.purge_vectors")
    parser.add_argument("--data", type=Path, required=True, help="data directory of the index")
    parser.add_argument(
        "--state-dir", type=Path, help="state directory of the project (default: the daemon's settings)"
    )
    arguments = parser.parse_args(argv)
    state_dir = arguments.state_dir
    settings = load_settings(state_dir).config if state_dir else DaemonSettings.load().server
    json.dump(purge_vectors(arguments.data, settings), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
