"""Identity, directories and settings of a server process, known before its application exists."""

import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

from agent_brain_server.config.settings import DaemonSettings, ProjectConfig

INSTANCE_ID_BYTES = 3
TOKEN_BYTES = 24


@dataclass(frozen=True, slots=True)
class ServerContext:
    """The server's identity, directories and settings.

    Attributes:
        project_root: Canonical root of the project; `None` in the shared daemon.
        state_dir: Absolute; its lock is held until the process ends.
        settings: The settings in force.
        instance_id: New for every server process.
        token: The secret that clients send; `None` if the server checks only the connecting user.
        daemon: Settings of the shared daemon; `None` in a project server.
        process_began: Start of the process on the monotonic clock, to measure the startup.
    """

    project_root: Path | None
    state_dir: Path
    settings: ProjectConfig
    instance_id: str
    token: str | None
    daemon: DaemonSettings | None = None
    process_began: float = field(default_factory=time.monotonic)

    @classmethod
    def make(
        cls,
        project_root: Path | None,
        state_dir: Path,
        settings: ProjectConfig,
        daemon: DaemonSettings | None,
        process_began: float | None = None,
    ) -> Self:
        """Return the context of a new process, with a new id and, unless the settings have a token, a new token."""
        return cls(
            project_root=project_root,
            state_dir=state_dir,
            settings=settings,
            instance_id=f"ds_{secrets.token_hex(INSTANCE_ID_BYTES)}",
            token=settings.token or secrets.token_urlsafe(TOKEN_BYTES),
            daemon=daemon,
            process_began=time.monotonic() if process_began is None else process_began,
        )

    @property
    def mode(self) -> Literal["project", "shared"]:
        """`project` for the server of one project, `shared` for the daemon."""
        return "project" if self.daemon is None else "shared"
