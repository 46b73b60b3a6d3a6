"""Is a project meant for the shared daemon, and for which one?

The settings say so with `"mode": "shared"`. Where they say nothing, the project belongs to the daemon for as long as it
is registered there. That is a file in the user's directory, which stays whether the daemon runs, was stopped or killed:
a project never changes from one index to another by itself. A pointer in the project's own state directory counts only
while a daemon lives: it is a hint, and what a dead daemon left decides nothing.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from agent_brain_server.config.settings import DEFAULT_ORIGIN, load_settings
from agent_brain_server.config.trust import is_loopback
from agent_brain_server.errors import ConfigError, StateDirError, UnknownSchemaError
from agent_brain_server.lifecycle.registry import is_registered
from agent_brain_server.locking import is_stale
from agent_brain_server.runtime import read_pointer
from agent_brain_server.storage_paths import brain_home, shared_config_path

logger = logging.getLogger(__name__)

URL_KEY = "shared_server_url"
HTTP_PORT = 80


@dataclass(frozen=True, slots=True)
class Membership:
    """What a project says of the shared daemon.

    Attributes:
        is_shared: The daemon is to serve it, whether or not that runs.
        url: Where its settings say that the daemon answers; None where they leave that open.
        origin: Where `url` comes from.
    """

    is_shared: bool
    url: str | None = None
    origin: str = DEFAULT_ORIGIN

    def require_address(self, base_url: str) -> None:
        """Return if a daemon that answers at `base_url` is the one that the project means.

        Nothing is ever sent to the address in the settings: a project's file comes with a clone, from anybody.

        Raises:
            ConfigError: The settings name another address.
        """
        if self.url is None or _parse_address(self.url) == _parse_address(base_url):
            return
        raise ConfigError(
            f"{self.origin}: {URL_KEY} is {self.url}, but the shared daemon answers at {base_url}.",
            hint=f"Correct {URL_KEY} or remove it, or set the daemon's address in {shared_config_path()}.",
            code="another_daemon",
        )


def read_membership(project_root: Path, state_dir: Path) -> Membership:
    """Return what a project says of the shared daemon.

    Args:
        project_root: Canonical root.
        state_dir: Absolute.
    """
    try:
        settings = load_settings(state_dir)
    except (ConfigError, StateDirError) as exc:
        logger.info("Ignored: %s", exc)  # whoever starts a server is told
        return Membership(is_shared=False)
    if settings.origins["mode"] == DEFAULT_ORIGIN:
        is_shared = is_registered(project_root) or _is_pointed(project_root, state_dir)
    else:
        is_shared = settings.config.mode == "shared"
    return Membership(is_shared, settings.config.shared_server_url, settings.origins[URL_KEY])


def _is_pointed(project_root: Path, state_dir: Path) -> bool:
    try:
        pointer = read_pointer(state_dir)
    except UnknownSchemaError:
        return False
    # a copy of the project has the pointer of its original
    return pointer is not None and pointer.project_root == str(project_root) and not is_stale(brain_home())


def _parse_address(url: str) -> tuple[str, int]:
    """Return host and port of `http://host:port`; every name of this machine's loopback is the same host."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        port = parts.port or HTTP_PORT
    except ValueError:  # over 65535: nobody answers there
        port = 0
    return "localhost" if is_loopback(host) else host, port
