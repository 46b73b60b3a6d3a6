"""Open the files of a state directory without following links.

A project's state directory can come with a clone or an archive, so its files may be planted: a symbolic link to a file
of the user, a FIFO that blocks, a file that another user still owns. So each file is opened by name relative to its
directory, both without following links, and checked through its descriptor.

The check stays valid: `storage_paths.prepare_state_dir` makes the directory private (0700), so no other user can
replace a file in it. There is no protection against other processes of the same user.
"""

import contextlib
import errno
import functools
import os
import secrets
import shlex
import shutil
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from agent_brain_server.errors import UnsafePathError

PRIVATE_FILE_MODE = 0o600  # runtime files hold a token, logs and indexes repeat the project's text
PRIVATE_DIR_MODE = 0o700
TEMPORARY_SUFFIX = ".tmp"
REMOVED_INFIX = ".removed."
"""Infix of a directory that is being removed, before a random text."""
ROOT_UID = 0
DIRECTORY_OPTIONS = "--state-dir for a project, AGENT_BRAIN_HOME for the shared daemon"

_NOT_FOLLOWED = os.O_NOFOLLOW | os.O_CLOEXEC
# without O_NONBLOCK, opening a FIFO blocks until a process opens its other end
_FILE_FLAGS = _NOT_FOLLOWED | os.O_NONBLOCK
_WRITING = os.O_WRONLY | os.O_RDWR

OVERFLOW_UID_FILE = Path("/proc/sys/kernel/overflowuid")
UID_MAP_FILE = Path("/proc/self/uid_map")


def is_own(facts: os.stat_result) -> bool:
    """Return whether a file belongs to the effective user of this process.

    In a user namespace, the overflow uid represents all users who do not exist there, so it owns nothing.
    """
    user = os.geteuid()
    return facts.st_uid == user and not _is_placeholder(user)


def is_own_path(path: Path) -> bool:
    """Return whether `path` exists and belongs to the current user. Symlinks are not followed."""
    try:
        return is_own(path.lstat())
    except (OSError, ValueError):  # missing, not accessible, or not a valid path
        return False


@functools.cache  # a process stays in its user namespace
def _is_placeholder(uid: int) -> bool:
    """Return whether a uid is the overflow uid, in a user namespace that has no user of that number."""
    try:
        if uid != int(OVERFLOW_UID_FILE.read_text(encoding="ascii")):
            return False
        ranges = [tuple(map(int, line.split())) for line in UID_MAP_FILE.read_text(encoding="ascii").splitlines()]
    except (OSError, ValueError):  # a system without user namespaces
        return False
    return not any(first <= uid < first + count for first, _, count in ranges)


@contextmanager
def open_directory(path: Path) -> Iterator[int]:
    """Open a directory of this user for operations relative to it.

    Raises:
        UnsafePathError: It is a link or belongs to another user.
        OSError: It does not exist, is not a directory or cannot be opened.
    """
    descriptor = _open(path, os.O_RDONLY | os.O_DIRECTORY | _NOT_FOLLOWED)
    try:
        _require_own(path, os.fstat(descriptor))
        yield descriptor
    finally:
        os.close(descriptor)


def open_file(path: Path, flags: int = os.O_RDONLY) -> int:
    """Open a regular file of this user and return its descriptor; a file that is created is private.

    Args:
        path: In a directory of this user.
        flags: As for `os.open`. A hard-linked file is not opened for writing: its other name may be anywhere.

    Raises:
        UnsafePathError: The file or its directory is a link, not a regular file, or of another user.
        OSError: As from `os.open`.
    """
    with open_directory(path.parent) as directory:
        return _open_in(directory, path, flags)


def open_log(path: Path, *, max_bytes: int | None = None) -> int:
    """Open a log for appending, make it private, and return its descriptor.

    Args:
        path: In a directory of this user.
        max_bytes: A longer file is replaced by an empty one.

    Raises:
        UnsafePathError: As for `open_file`.
        OSError: As from `os.open`.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    with open_directory(path.parent) as directory:
        facts = _look(directory, path.name)
        if facts is not None and stat.S_ISREG(facts.st_mode):
            is_long = max_bytes is not None and facts.st_size > max_bytes
            if is_long or facts.st_nlink > 1:
                os.unlink(path.name, dir_fd=directory)
        descriptor = _open_in(directory, path, flags)
    os.fchmod(descriptor, PRIVATE_FILE_MODE)
    return descriptor


def read_file(path: Path, limit: int) -> bytes:
    """Return the content of a small file.

    Args:
        path: In a directory of this user.
        limit: Maximum number of bytes to read.

    Raises:
        UnsafePathError: As for `open_file`.
        OSError: The file does not exist or cannot be read.
    """
    with open(open_file(path), "rb") as file:
        return file.read(limit)


def replace_file(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Replace a file, so that a reader sees the old or the new content. A link is replaced, not followed.

    Args:
        path: In a directory of this user.
        data: The new content.
        durable: Return only when the content survives a power loss.

    Raises:
        UnsafePathError: The directory is a link or belongs to another user.
        OSError: The directory cannot be written or the disk is full; the old content is still there.
    """
    with open_directory(path.parent) as directory:
        temporary = f".{path.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FILE_FLAGS
        try:
            with open(os.open(temporary, flags, PRIVATE_FILE_MODE, dir_fd=directory), "wb") as file:
                file.write(data)
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            os.replace(temporary, path.name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=directory)
            raise
        if durable:
            # some file systems refuse to sync a directory; then a power loss may restore the old content
            with contextlib.suppress(OSError):
                os.fsync(directory)


def remove_temporaries(path: Path) -> None:
    """Remove the temporary files of killed writers of `path`. No process may be writing the file.

    Raises:
        UnsafePathError: The directory is a link or belongs to another user.
        OSError: A file cannot be removed.
    """
    with open_directory(path.parent) as directory:
        for name in os.listdir(directory):
            if name.startswith(f".{path.name}.") and name.endswith(TEMPORARY_SUFFIX):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=directory)


def remove_tree(path: Path) -> None:
    """Remove a directory, or a file or link of this name; links are not followed.

    The directory is renamed first, so that a killed process never leaves half of it under its name.

    Raises:
        OSError: Something cannot be removed.
    """
    if path.is_symlink() or not path.is_dir():
        path.unlink()
        return
    removed = path.with_name(f"{path.name}{REMOVED_INFIX}{secrets.token_hex(4)}")
    path.rename(removed)
    shutil.rmtree(removed)


def remove_leftovers(path: Path) -> bool:
    """Finish removals of `path` by `remove_tree` that were killed half-way; return whether there were any."""
    prefix = path.name + REMOVED_INFIX
    try:
        left = [name for name in os.listdir(path.parent) if name.startswith(prefix)]
    except OSError:
        return False
    for name in left:
        shutil.rmtree(path.with_name(name), ignore_errors=True)
    return bool(left)


def create_file(path: Path, data: bytes) -> bool:
    """Create a private file. Return `False` if a file of any kind has the name.

    Raises:
        UnsafePathError: The directory is a link or belongs to another user.
        OSError: The file cannot be written.
    """
    try:
        descriptor = open_file(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    except FileExistsError:
        return False
    with open(descriptor, "wb") as file:
        file.write(data)
    return True


def make_private_dir(path: Path) -> None:
    """Create a directory and its missing parents, private to this user regardless of the umask.

    Raises:
        UnsafePathError: It is a link or belongs to another user, or root would create it in another user's directory.
        OSError: It cannot be created or is not a directory.
    """
    missing: list[Path] = []
    for directory in (path, *path.parents):
        if directory.exists() or directory.is_symlink():
            break
        missing.append(directory)
    if missing:
        _require_usable_by_owner(missing[-1].parent)
    for directory in reversed(missing):
        with contextlib.suppress(FileExistsError):  # another process creates it too
            directory.mkdir(mode=PRIVATE_DIR_MODE)
    with open_directory(path):
        pass


def _require_usable_by_owner(parent: Path) -> None:
    """Refuse to create a directory as root in another user's directory: that user could neither use nor remove it.

    Raises:
        UnsafePathError: This process is root and `parent` belongs to another user.
        OSError: `parent` cannot be read.
    """
    owner = parent.stat().st_uid
    if os.geteuid() == ROOT_UID and owner != ROOT_UID:
        raise UnsafePathError(
            f"{parent} belongs to another user (uid {owner}), who could not use what root creates in it.",
            hint=f"Run the command as that user, without sudo, or name a directory of root's own: {DIRECTORY_OPTIONS}.",
        )


def require_safe_tree(directory: Path, *, skip: Collection[str] = (), links_allowed: Collection[str] = ()) -> None:
    """Refuse a directory that contains a link, a special file or a file of another user.

    Engines such as SQLite and tantivy open files by path and follow links, so the whole tree is checked first.

    Args:
        directory: Of this user.
        skip: Names directly in it that are not descended into.
        links_allowed: Names directly in it that may be links of this user.

    Raises:
        UnsafePathError: It contains such a file; the message names it.
        OSError: A directory cannot be read.
    """
    with open_directory(directory) as descriptor:
        for entry in _scan(descriptor):
            path = directory / entry.name
            if entry.is_symlink() and entry.name in links_allowed:
                _require_own(path, entry.stat(follow_symlinks=False))
            elif entry.name not in skip:
                _require_safe_entry(descriptor, entry.name, path)


def _require_safe_entry(parent: int, name: str, path: Path) -> None:
    facts = _look(parent, name)
    if facts is None:  # removed since the directory was listed
        return
    _require_own(path, facts)
    if not stat.S_ISDIR(facts.st_mode):
        _require_regular(path, facts)
        return
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | _NOT_FOLLOWED, dir_fd=parent)
    except FileNotFoundError:
        return
    try:
        for entry in _scan(descriptor):
            _require_safe_entry(descriptor, entry.name, path / entry.name)
    finally:
        os.close(descriptor)


def _scan(directory: int) -> list[os.DirEntry[str]]:
    with os.scandir(directory) as entries:
        return list(entries)


def _look(directory: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _open_in(directory: int, path: Path, flags: int) -> int:
    descriptor = _open(
        path, flags | _FILE_FLAGS, lambda safe: os.open(path.name, safe, PRIVATE_FILE_MODE, dir_fd=directory)
    )
    try:
        facts = os.fstat(descriptor)
        _require_own(path, facts)
        _require_regular(path, facts)
        if flags & _WRITING and facts.st_nlink > 1:
            raise _refuse(path, "is hard-linked, so that another file would be written")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _open(path: Path, flags: int, opener: Callable[[int], int] | None = None) -> int:
    try:
        return opener(flags) if opener else os.open(path, flags)
    except OSError as exc:
        # O_NOFOLLOW fails with ELOOP on a link, and together with O_DIRECTORY with ENOTDIR
        if exc.errno == errno.ELOOP or (exc.errno == errno.ENOTDIR and path.is_symlink()):
            raise _refuse(path, "is a symbolic link, which a state directory may not contain") from exc
        if exc.errno == errno.ENXIO:  # a FIFO without a reader, or a socket
            raise _refuse(path, "is not a regular file") from exc
        if exc.errno == errno.EACCES:
            with contextlib.suppress(OSError):
                _require_own(path, path.lstat())  # a more specific error, if it applies
        raise


def _require_own(path: Path, facts: os.stat_result) -> None:
    if not is_own(facts):
        raise UnsafePathError(
            f"{path} belongs to another user (uid {facts.st_uid}).",
            hint="Run as that user, change its owner with chown, or name another directory with --state-dir.",
        )


def _require_regular(path: Path, facts: os.stat_result) -> None:
    if stat.S_ISLNK(facts.st_mode):
        raise _refuse(path, "is a symbolic link, which a state directory may not contain")
    if not stat.S_ISREG(facts.st_mode):
        raise _refuse(path, "is not a regular file")


def _refuse(path: Path, fault: str) -> UnsafePathError:
    hint = f"It may come from the repository. Check it, then remove it: rm -r {shlex.quote(str(path))}"
    return UnsafePathError(f"{path} {fault}.", hint=hint)
