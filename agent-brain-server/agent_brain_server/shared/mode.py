"""Decide whether a project has its own server or uses the shared daemon.

The settings decide with `"mode"`. If they do not set it, the project uses the daemon while it is registered there. The
registration is a file in the user's home that stays when the daemon stops or is killed, so a project never changes from
one index to the other by itself. A pointer in the project's state directory counts only while a daemon runs.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from agent_brain_server.config.settings import DEFAULT_ORIGIN, load_settings
from agent_brain_server.errors import ConfigError, StateDirError, UnknownSchemaError
from agent_brain_server.lifecycle.registry import Registration, check_registration
from agent_brain_server.locking import is_stale
from agent_brain_server.runtime import SharedPointer, read_pointer
from agent_brain_server.storage_paths import brain_home, shared_config_path
from agent_brain_server.support.http_client import is_loopback

logger = logging.getLogger(__name__)

URL_KEY = "shared_server_url"
HTTP_PORT = 80


@dataclass(frozen=True, slots=True)
class ProjectMode:
    """The mode of a project, and what was read to decide it.

    Attributes:
        is_shared: The project uses the shared daemon, whether or not that is running.
        url: Address of the daemon in the settings, or `None`.
        origin: Where `url` comes from.
        registration: State of the project's registration with the daemon.
        pointer: The pointer to the daemon in the project's state directory, if there is one.
    """

    is_shared: bool
    url: str | None = None
    origin: str = DEFAULT_ORIGIN
    registration: Registration = "missing"
    pointer: SharedPointer | None = None

    def require_address(self, base_url: str) -> None:
        """Refuse a daemon at another address than the one in the settings.

        The address is only compared. Nothing is sent to it, because a project's settings file comes with a clone.

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

    def is_published(self, project_root: Path, base_url: str) -> bool:
        """Return whether registration and pointer lead to the daemon at an address."""
        expected = (str(project_root), base_url)
        is_pointed = self.pointer is not None and (self.pointer.project_root, self.pointer.base_url) == expected
        return is_pointed and self.registration == "valid"


def resolve_mode(project_root: Path, state_dir: Path) -> ProjectMode:
    """Return the mode of a project. Invalid settings count as project mode; starting a server reports them.

    Args:
        project_root: Canonical root.
        state_dir: Absolute.
    """
    try:
        settings = load_settings(state_dir)
    except (ConfigError, StateDirError) as exc:
        logger.info("Ignored: %s", exc)
        return ProjectMode(is_shared=False)
    is_set = settings.origins["mode"] != DEFAULT_ORIGIN
    url, origin = settings.config.shared_server_url, settings.origins[URL_KEY]
    if is_set and settings.config.mode == "project":
        return ProjectMode(False, url, origin)
    registration = check_registration(project_root)
    pointer = _read_own_pointer(project_root, state_dir)
    is_shared = is_set or registration != "missing" or (pointer is not None and not is_stale(brain_home()))
    return ProjectMode(is_shared, url, origin, registration, pointer)


def _read_own_pointer(project_root: Path, state_dir: Path) -> SharedPointer | None:
    try:
        pointer = read_pointer(state_dir)
    except UnknownSchemaError:
        return None
    # a copy of a project contains the pointer of the original
    return pointer if pointer is not None and pointer.project_root == str(project_root) else None


def _parse_address(url: str) -> tuple[str, int]:
    """Return host and port of `http://host:port`; all loopback names are the same host."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        port = parts.port or HTTP_PORT
    except ValueError:  # over 65535: no server answers there
        port = 0
    return "localhost" if is_loopback(host) else host, port
