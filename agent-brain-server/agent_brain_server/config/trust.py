"""Decide which settings in a project's `config.json` take effect, and record which of these files the user trusts.

The file comes with a clone, so by default it only tunes how the project is indexed. All other settings in it are
ignored until the user trusts the file: `agent-brain trust` records its path and the SHA-256 of its bytes in
`trusted.json` in the user's home. A changed file must be trusted again.
"""

import hashlib
import logging
import stat
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from agent_brain_server.errors import StateDirError
from agent_brain_server.storage_paths import prepare_brain_home, trusted_lock_path, trusted_path
from agent_brain_server.support.atomic_file import (
    UnreadableDocumentError,
    hold_exclusively,
    parse_document,
    read_content,
    read_document,
    write_atomic,
)
from agent_brain_server.support.http_client import is_loopback
from agent_brain_server.support.state_files import remove_temporaries

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 1

SECRET_KEYS = ("token", "chroma_token")
"""Never read from a project's file, which is shared through version control, and never shown."""

SECRET_ADDRESSES = {"chroma_token": "chroma_url"}
"""Secrets that are sent, and the setting with the address that gets each."""

TUNING_KEYS = (
    "mode",
    "port",
    "chunk_size",
    "chunk_overlap",
    "max_file_bytes",
    "index_generated",
    "watch",
    "vector_engine",
)
"""Settings that a project's file may always set. Any other takes effect only if the user trusts the file."""

RESTRICTED_KEYS: Mapping[str, str] = {
    "bind_host": "can let other machines connect to the server",
    "data_dir": "writes the index outside the state directory",
    "log_dir": "writes logs outside the state directory",
    "shared_server_url": "decides which daemon may serve the project",
    "embedding_model": "can send every chunk and every query to a remote service, with your key",
    "index_secrets": "puts private keys and credentials into the index",
    "idle_stop_seconds": "decides how long the server keeps running",
    "log_level": "decides what is written to the log",
    "chroma_url": "receives the vectors of every chunk and every query",
}
"""Settings that need trust, and why."""


@dataclass(frozen=True, slots=True)
class TrustedFile:
    """A config.json that the user trusts.

    Attributes:
        project_root: Root of its project when it was trusted.
        config_file: Canonical path of the file.
        sha256: Hash of the trusted bytes.
        secrets: Keys of the secrets that the addresses in the file may receive.
        trusted_at: ISO 8601 with zone.
    """

    project_root: str
    config_file: str
    sha256: str
    secrets: tuple[str, ...] = ()
    trusted_at: str = ""


@dataclass(frozen=True, slots=True)
class ProjectFile:
    """A project's config.json, read once, so that the hash is that of the parsed bytes.

    Attributes:
        path: The file.
        sha256: Hash of its bytes.
        values: All settings in it.
        restricted: Settings that take effect only if the file is trusted.
        is_trusted: Whether the user trusts exactly these bytes.
        was_trusted: Whether the user trusted an earlier version of the file.
        secrets: Keys of the secrets that its addresses may receive.
    """

    path: Path
    sha256: str
    values: Mapping[str, Any]
    restricted: Mapping[str, Any]
    is_trusted: bool = False
    was_trusted: bool = False
    secrets: tuple[str, ...] = ()

    @property
    def effective(self) -> Mapping[str, Any]:
        """The settings that take effect."""
        if self.is_trusted:
            return self.values
        return {key: value for key, value in self.values.items() if key not in self.restricted}


@dataclass(frozen=True, slots=True)
class Ignored:
    """The settings of a project's config.json that are ignored.

    Attributes:
        path: The file.
        values: Its settings that are ignored.
        reason: Why, such as `not trusted`.
        withheld: Keys of secrets that are not sent to an address in the file.
    """

    path: Path
    values: Mapping[str, Any]
    reason: str
    withheld: tuple[str, ...] = ()

    hint = "See them with: agent-brain config. Allow them with: agent-brain trust"

    def describe(self) -> str:
        """Return one sentence about what is ignored and why."""
        if self.withheld:
            return f"{self.path} is {self.reason}; not sent to its address: {', '.join(self.withheld)}."
        return f"{self.path} is {self.reason}; ignored: {', '.join(self.values)}."


def needs_trust(key: str, value: object, default: object) -> bool:
    """Return whether a setting in a project's file takes effect only if the user trusts the file.

    Defaults never need trust. Values of a wrong type are refused later, by the model of the settings.

    Args:
        key: The setting.
        value: Its value in the file.
        default: Its default.
    """
    if key in TUNING_KEYS or (value == default and type(value) is type(default)):
        return False
    is_harmless = HARMLESS_VALUES.get(key)
    return is_harmless is None or not is_harmless(value)


def may_need_trust(path: Path) -> bool:
    """Return whether a project's config.json may contain settings that need trust, without loading the model.

    Args:
        path: The file; it need not exist or be valid.
    """
    try:
        values = read_document(path) or {}
    except UnreadableDocumentError:
        return False
    return any(needs_trust(key, value, None) for key, value in values.items())


def _is_local(host: object) -> bool:
    return not isinstance(host, str) or is_loopback(host)


def _stays_below(directory: object) -> bool:
    if not isinstance(directory, str):
        return True
    path = PurePosixPath(directory)
    return not path.is_absolute() and ".." not in path.parts


HARMLESS_VALUES: Mapping[str, Callable[[object], bool]] = {
    "bind_host": _is_local,
    "data_dir": _stays_below,
    "log_dir": _stays_below,
}
"""Restricted settings of which some values need no trust."""


def read_project_file(path: Path, defaults: Mapping[str, Any]) -> ProjectFile | None:
    """Read a project's config.json and look up whether the user trusts it; return `None` if there is no file.

    Args:
        path: The file.
        defaults: Default of each setting.

    Raises:
        UnreadableDocumentError: The file cannot be read or is not a JSON object.
        StateDirError: The user has no home directory.
    """
    content = read_content(path)
    if content is None:
        return None
    values = parse_document(path, content)
    restricted = {key: value for key, value in values.items() if needs_trust(key, value, defaults.get(key))}
    sha256 = hashlib.sha256(content).hexdigest()
    entry = find_trusted(path) if restricted else None
    if entry is None or entry.sha256 != sha256:
        return ProjectFile(path, sha256, values, restricted, was_trusted=entry is not None)
    return ProjectFile(path, sha256, values, restricted, is_trusted=True, secrets=entry.secrets)


def find_ignored(file: ProjectFile, overridden: Collection[str], withheld: tuple[str, ...] = ()) -> Ignored | None:
    """Return the settings of a project's file that are ignored because it is not trusted, or `None` if there are none.

    Args:
        file: The file.
        overridden: Settings that the environment or a flag overrides.
        withheld: Keys of secrets that are not sent to an address in the file.
    """
    if withheld:
        return Ignored(file.path, {}, "trusted, but not with that secret", withheld)
    values = {} if file.is_trusted else {key: each for key, each in file.restricted.items() if key not in overridden}
    return (
        Ignored(file.path, values, "changed since it was trusted" if file.was_trusted else "not trusted")
        if values
        else None
    )


def find_withheld(file: ProjectFile, secrets: Collection[str], addresses: Collection[str]) -> tuple[str, ...]:
    """Return the secrets that must not be used, because they would be sent to an address in the project's file.

    A secret is sent only to an address from the user's file, the environment or a flag, or to an address in a project's
    file that the user trusted after being shown that it receives the secret.

    Args:
        file: The project's file.
        secrets: Keys of the secrets that are set.
        addresses: Settings whose effective value comes from the file.
    """
    received = find_received(file, secrets)
    return tuple(key for key in received if SECRET_ADDRESSES[key] in addresses and key not in file.secrets)


def find_received(file: ProjectFile, secrets: Collection[str]) -> tuple[str, ...]:
    """Return the secrets of the user that would be sent to an address in a project's file."""
    return tuple(key for key, address in SECRET_ADDRESSES.items() if key in secrets and file.values.get(address))


def list_trusted() -> list[TrustedFile]:
    """Return the files that the user trusts, ordered by path. A damaged or foreign list is logged and counts as empty.

    Raises:
        StateDirError: The user has no home directory.
    """
    path = trusted_path()
    try:
        document = read_document(path) if _is_private(path) else None
    except UnreadableDocumentError as exc:
        logger.warning("Ignored: %s", exc)
        return []
    listed = document.get("trusted") if document and document.get("schema_version") == SCHEMA_VERSION else None
    found = [_parse_entry(item) for item in listed] if isinstance(listed, list) else []
    return sorted((entry for entry in found if entry is not None), key=lambda entry: entry.config_file)


def find_trusted(config_file: Path) -> TrustedFile | None:
    """Return the trusted file at a path, whether or not it has changed since, or `None`.

    Raises:
        StateDirError: The user has no home directory.
    """
    name = _canonical(config_file)
    return next((entry for entry in list_trusted() if entry.config_file == name), None)


def check_trusted(entry: TrustedFile) -> str:
    """Return whether a trusted file is `current`, `changed` or `missing`."""
    try:
        content = read_content(Path(entry.config_file))
    except UnreadableDocumentError:
        return "changed"
    if content is None:
        return "missing"
    return "current" if hashlib.sha256(content).hexdigest() == entry.sha256 else "changed"


def trust_file(file: ProjectFile, project_root: Path) -> None:
    """Record that the user trusts a file with exactly the bytes that were read.

    Args:
        file: The file as it was shown to the user, with the secrets that its addresses may receive.
        project_root: Canonical root of its project.

    Raises:
        StateDirError: The list cannot be written.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    entry = TrustedFile(str(project_root), _canonical(file.path), file.sha256, file.secrets, now)
    _update(lambda kept: [*(each for each in kept if each.config_file != entry.config_file), entry])


def renew_trust(file: ProjectFile, content: bytes) -> None:
    """Trust the new content of a trusted file that the user has changed with a command.

    Args:
        file: The file as it was read before the change.
        content: The new content.

    Raises:
        StateDirError: The list cannot be written.
    """
    entry = find_trusted(file.path)
    if entry is not None:
        changed = replace(file, sha256=hashlib.sha256(content).hexdigest())
        trust_file(changed, Path(entry.project_root))


def revoke_trust(config_file: Path) -> bool:
    """Stop trusting a file; return whether it was trusted.

    Raises:
        StateDirError: The list cannot be written.
    """
    if find_trusted(config_file) is None:
        return False
    name = _canonical(config_file)
    _update(lambda kept: [each for each in kept if each.config_file != name])
    return True


def _canonical(path: Path) -> str:
    return str(path.parent.resolve() / path.name)


def _is_private(path: Path) -> bool:
    """Return whether no other user can write a file. Its owner is checked when it is read."""
    try:
        writable = path.lstat().st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    except OSError:
        return False
    if writable:
        logger.warning("Ignored: %s is writable by other users", path)
    return not writable


def _parse_entry(item: object) -> TrustedFile | None:
    if not isinstance(item, dict):
        return None
    root, config_file, sha256 = (item.get(name) for name in ("project_root", "config_file", "sha256"))
    if not isinstance(root, str) or not isinstance(config_file, str) or not isinstance(sha256, str):
        return None
    named = item.get("secrets")
    secrets = tuple(key for key in SECRET_ADDRESSES if isinstance(named, list) and key in named)
    return TrustedFile(root, config_file, sha256, secrets, str(item.get("trusted_at", "")))


def _update(change: Callable[[list[TrustedFile]], list[TrustedFile]]) -> None:
    path = trusted_path()
    try:
        prepare_brain_home()
        with hold_exclusively(trusted_lock_path()):
            remove_temporaries(path)  # of writers that were killed
            kept = change(list_trusted())
            write_atomic(path, {"schema_version": SCHEMA_VERSION, "trusted": [asdict(entry) for entry in kept]})
    except OSError as exc:
        raise StateDirError(f"{path} cannot be written: {exc.strerror}.") from exc
