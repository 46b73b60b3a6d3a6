"""What a server process knows before its application exists."""

from dataclasses import dataclass
from pathlib import Path

from agent_brain_server.config.settings import ProjectConfig
from agent_brain_server.config.shared import DaemonSettings
from agent_brain_server.models.health import Mode


@dataclass(frozen=True, slots=True)
class ServerContext:
    """Who this server is and where it keeps things.

    Attributes:
        project_root: Canonical root of the one project; None in the shared daemon.
        state_dir: Absolute; the lock on it is held for as long as the process lives.
        settings: The settings that won.
        instance_id: New for every server process.
        token: What a client sends to show that it may ask; None on a server that checks the connecting user alone.
        daemon: What there is only in the shared daemon; None in the server of one project.
    """

    project_root: Path | None
    state_dir: Path
    settings: ProjectConfig
    instance_id: str
    token: str | None
    daemon: DaemonSettings | None = None

    @property
    def mode(self) -> Mode:
        """`project`: one index, of `project_root`; `shared`: many."""
        return "project" if self.daemon is None else "shared"
