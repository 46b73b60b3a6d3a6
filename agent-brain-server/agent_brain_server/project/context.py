"""What a server process knows before its application exists."""

import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

from agent_brain_server.config.daemon import DaemonSettings
from agent_brain_server.config.settings import ProjectConfig

INSTANCE_ID_BYTES = 3
TOKEN_BYTES = 24


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
        process_began: When the process began, on the monotonic clock; the start is measured from there.
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
        """Return the context of a new process, with an id and, where none is set, a token of its own."""
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
        """`project`: one index, of `project_root`; `shared`: many."""
        return "project" if self.daemon is None else "shared"
