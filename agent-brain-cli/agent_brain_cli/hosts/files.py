"""Read and replace the files of hosts, which belong to the user and to other programs.

A file that is a link, belongs to another user or is read-only is refused, since replacing it would surprise its owner.
"""

import contextlib
import os
import secrets
import stat
from pathlib import Path

from agent_brain_server.errors import ConfigError
from agent_brain_server.support.state_files import is_own

MAX_BYTES = 64_000_000  # ~/.claude.json also holds a history and grows to some megabytes
OTHERWISE = "Leave this host out, or add the entry yourself: agent-brain install --print-config HOST"


def read_text(path: Path, base: Path) -> str | None:
    """Return the text of a file that may be replaced, or `None` if it does not exist.

    Args:
        path: The file.
        base: The home directory or the project; no directory between it and the file may be a link in a project.

    Raises:
        ConfigError: It must not be replaced, or is not text in UTF-8.
    """
    _require_writable_parent(path, base)
    try:
        facts = path.lstat()
    except FileNotFoundError:
        return None
    _require_replaceable(path, facts)
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise refuse(path, "is not text in UTF-8") from error


def _require_replaceable(path: Path, facts: os.stat_result) -> None:
    if stat.S_ISLNK(facts.st_mode):
        raise refuse(path, f"is a symbolic link to {os.readlink(path)}")
    if not stat.S_ISREG(facts.st_mode):
        raise refuse(path, "is not a regular file")
    if not is_own(facts):
        raise refuse(path, f"belongs to another user (uid {facts.st_uid})")
    if not facts.st_mode & stat.S_IWUSR:
        raise refuse(path, "is read-only")
    if facts.st_nlink > 1:
        raise refuse(path, "has a second name (a hard link)")
    if facts.st_size > MAX_BYTES:
        raise refuse(path, f"has more than {MAX_BYTES // 1_000_000} MB")


def _require_writable_parent(path: Path, base: Path) -> None:
    """Refuse a file in a directory that is a link, belongs to another user or cannot be written."""
    if path.is_relative_to(base):
        for directory in path.relative_to(base).parents:
            if (base / directory).is_symlink() and directory != Path("."):
                raise refuse(base / directory, "is a symbolic link")
    parent = next(directory for directory in path.parents if os.path.lexists(directory))
    facts = parent.stat()
    if not stat.S_ISDIR(facts.st_mode):
        raise refuse(parent, "is not a directory")
    if not is_own(facts):
        raise refuse(parent, f"belongs to another user (uid {facts.st_uid})")
    if not os.access(parent, os.W_OK) or not facts.st_mode & stat.S_IWUSR:
        raise refuse(parent, "is read-only")


def list_missing_directories(path: Path) -> list[Path]:
    """Return the directories that have to be created for a file, the innermost first."""
    missing: list[Path] = []
    for directory in path.parents:
        if directory.exists():
            break
        missing.append(directory)
    return missing


def write_text(path: Path, text: str) -> None:
    """Create or replace a file, so that a reader sees the old or the new content; its permissions are kept.

    Raises:
        OSError: It cannot be written; the old content is still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
        with open(descriptor, "wb") as file:
            with contextlib.suppress(FileNotFoundError):
                os.fchmod(descriptor, stat.S_IMODE(path.lstat().st_mode))
            file.write(text.encode("utf-8"))
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def refuse(path: Path, fault: str) -> ConfigError:
    """Return the error for a file that is not edited."""
    return ConfigError(f"{path} {fault}, so it is not edited.", hint=OTHERWISE, code="host_file_refused")
