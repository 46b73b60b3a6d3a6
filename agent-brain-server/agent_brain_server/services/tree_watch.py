"""Watch the directories of a project with inotify (see inotify(7)), and translate its events into changed paths.

The kernel queues an event before the system call that caused it returns. Reading the queue until it is empty therefore
proves that every earlier change in a watched directory was seen, which is what the freshness barrier relies on.
Libraries that read the queue in a separate thread cannot give that proof, so this module has its own binding.
"""

import ctypes
import errno
import logging
import os
import struct
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from agent_brain_server.indexing.files.git_files import git_directories
from agent_brain_server.indexing.files.ignore_rules import CACHE_MARKERS, IGNORE_FILE, scan_directories
from agent_brain_server.indexing.files.walker import BARE_REPOSITORY

logger = logging.getLogger(__name__)

IN_MODIFY = 0x002
IN_ATTRIB = 0x004
IN_CLOSE_WRITE = 0x008
IN_MOVED_FROM = 0x040
IN_MOVED_TO = 0x080
IN_CREATE = 0x100
IN_DELETE = 0x200
IN_DELETE_SELF = 0x400
IN_MOVE_SELF = 0x800
IN_UNMOUNT = 0x2000
IN_Q_OVERFLOW = 0x4000
IN_IGNORED = 0x8000
IN_ISDIR = 0x40000000

_IN_ONLYDIR = 0x01000000
_IN_DONT_FOLLOW = 0x02000000
_IN_EXCL_UNLINK = 0x04000000

_CHANGES = IN_MODIFY | IN_ATTRIB | IN_CLOSE_WRITE | IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE
_WATCH_MASK = _CHANGES | IN_DELETE_SELF | IN_MOVE_SELF | _IN_ONLYDIR | _IN_DONT_FOLLOW | _IN_EXCL_UNLINK

_HEADER = struct.Struct("iIII")  # wd, mask, cookie, length of the name with its padding
_READ_BYTES = 64 * 1024  # some 1,500 events; the kernel returns whole events only

ROOT = b""
"""The project root, as a path relative to itself."""

GIT_NAME = b".git"
GIT_RULE_FILES = frozenset({b"index", b"exclude"})
RULE_FILES = CACHE_MARKERS | BARE_REPOSITORY | {IGNORE_FILE, GIT_NAME}
"""Names whose change can move other files into the index or out of it."""

MAX_WATCHES = 1_000_000
"""Directories; each costs the kernel about a kilobyte. Beyond this limit the rest of the tree is compared instead."""

LIMITS = Path("/proc/sys/fs/inotify")

Event = tuple[int, int, bytes]
"""Watch descriptor, mask, and the name inside the watched directory (empty for the directory itself)."""

_libc = ctypes.CDLL(None, use_errno=True)

HAS_INOTIFY = hasattr(
    _libc, "inotify_init1"
)  # otherwise `platform_watch` reports changes, and directories are compared

MOUNTS = Path("/proc/self/mountinfo")
REMOTE_FILE_SYSTEMS = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "orangefs", "prl_fs"}
    | {"smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs"}
)
"""File systems on which another machine can change a file without an event here; FUSE is treated alike."""


class Inotify:
    """An inotify instance. The caller serializes the calls.

    Raises:
        OSError: `EMFILE` if the user's limit on instances is reached, `ENOSYS` if the system has no inotify.
    """

    def __init__(self) -> None:
        if not HAS_INOTIFY:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        self._fd = _check(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))

    def fileno(self) -> int:
        """Return the descriptor, which becomes readable when an event is queued."""
        return self._fd

    def watch(self, directory: bytes) -> int:
        """Watch a directory, not its subdirectories; return the watch descriptor.

        A directory that is already watched, under whatever path, keeps its descriptor: watches belong to inodes.

        Raises:
            OSError: `ENOENT` or `ENOTDIR` if there is no such directory or it is a link, `EACCES` if it cannot be
                read, `ENOSPC` if the user's limit on watches is reached.
        """
        return _check(_libc.inotify_add_watch(self._fd, ctypes.c_char_p(directory), ctypes.c_uint32(_WATCH_MASK)))

    def unwatch(self, descriptor: int) -> None:
        """Remove a watch; a watch that the kernel has already removed is ignored."""
        _libc.inotify_rm_watch(self._fd, descriptor)

    def read(self) -> list[Event]:
        """Return every queued event without waiting."""
        events: list[Event] = []
        while True:
            try:
                data = os.read(self._fd, _READ_BYTES)
            except BlockingIOError:
                return events
            offset = 0
            while offset < len(data):
                descriptor, mask, _, length = _HEADER.unpack_from(data, offset)
                offset += _HEADER.size
                events.append((descriptor, mask, data[offset : offset + length].rstrip(b"\0")))
                offset += length

    def close(self) -> None:
        """Remove every watch and close the descriptor."""
        os.close(self._fd)


@dataclass(slots=True)
class Events:
    """The changes that a read of the event queue reports.

    Attributes:
        paths: Files whose content or existence may have changed, relative to the root.
        directories: Directories that appeared, vanished or changed their mode.
        recheck: Why every file must be compared, or `None`.
        rescan: Whether the set of watched directories must be computed again as well.
        is_recrawl: Whether the reason is that events were lost.
    """

    paths: set[bytes] = field(default_factory=set)
    directories: set[bytes] = field(default_factory=set)
    recheck: str | None = None
    rescan: bool = False
    is_recrawl: bool = False

    def __bool__(self) -> bool:
        """Return whether anything may have changed."""
        return bool(self.paths or self.directories or self.recheck)


class TreeWatch:
    """Watch every directory of a project that is not ignored, by inode. Safe from any thread.

    Args:
        root: Canonical root of the project.
        is_excluded: Returns whether a directory, relative to the root, belongs to Agent Brain and is never watched.
    """

    def __init__(self, root: Path, is_excluded: Callable[[bytes], bool]) -> None:
        self._root = root
        self._base = os.fsencode(root)
        self._is_excluded = is_excluded
        self._lock = threading.RLock()
        self._inotify: Inotify | None = None
        self._paths: dict[int, bytes] = {}
        self._descriptors: dict[bytes, int] = {}
        self._git: dict[int, bytes] = {}
        self._unwatched: dict[bytes, str] = {}
        self._moved_away: list[int] = []

    def open(self) -> None:
        """Create the inotify instance; without one, the whole tree counts as unwatched."""
        with self._lock:
            try:
                self._inotify = Inotify()
            except OSError as error:
                self._unwatched[ROOT] = describe_watch_error(error)

    def close(self) -> None:
        """Remove every watch."""
        with self._lock:
            if self._inotify is not None:
                self._inotify.close()
                self._inotify = None

    def fileno(self) -> int | None:
        """Return the descriptor to poll, or `None` if nothing can be watched."""
        return self._inotify.fileno() if self._inotify else None

    def count(self) -> int:
        """Return the number of watched directories."""
        return len(self._descriptors)

    def unwatched(self) -> dict[bytes, str]:
        """Return the directories that are not watched, each with the reason."""
        return self._unwatched.copy()

    def polled(self) -> list[bytes]:
        """Return the unwatched directories whose files must be compared: those that can be entered."""
        return [path for path in self._unwatched.copy() if os.access(self._absolute(path), os.X_OK)]

    def rescan(self, extra: Iterable[bytes]) -> None:
        """Compute the directories to watch again, and watch exactly those.

        Args:
            extra: Directories to watch even if a rule ignores them, because they hold indexed files.

        Raises:
            FileNotFoundError: The project root does not exist.
        """
        if not self._root.is_dir():
            raise FileNotFoundError(errno.ENOENT, "The project root does not exist", str(self._root))
        with self._lock:
            self._unwatched = find_remote_mounts(self._root)
            self._git.clear()
            if self._inotify is None:
                self.open()
                if self._inotify is None:
                    return
            self._drop_moved_away()
        wanted: set[bytes] = set()
        scan_directories(self._root, [ROOT], self._is_excluded, lambda path: self._visit(path, wanted))
        self.watch_with_parents(extra, wanted)
        with self._lock:
            for path in self._descriptors.keys() - wanted:
                self._unwatch(self._descriptors.pop(path))

    def watch_below(self, directories: Iterable[bytes]) -> None:
        """Watch new directories, with everything below them."""
        with self._lock:
            self._drop_moved_away()
        scan_directories(self._root, directories, self._is_excluded, lambda path: self._visit(path, set()))

    def watch_with_parents(self, directories: Iterable[bytes], wanted: set[bytes] | None = None) -> set[bytes]:
        """Watch directories and their parents; return those that are watched now and were not before."""
        added = set()
        known = self._descriptors.keys() if wanted is None else wanted
        for directory in directories:
            path = directory
            while path not in known and path not in added:
                added.add(path)
                path = os.path.dirname(path)
        for path in sorted(added):
            self._visit(path, added if wanted is None else wanted)
        return added & self._descriptors.keys()  # a comparison of those that cannot be watched would never end

    def drain(self) -> Events:
        """Read every queued event without waiting."""
        found = Events()
        with self._lock:
            if self._inotify is not None:
                for event in self._inotify.read():
                    self._take(event, found)
        return found

    def _visit(self, path: bytes, wanted: set[bytes]) -> bool:
        """Watch one directory; return whether to list it."""
        wanted.add(path)
        with self._lock:
            if self._inotify is None:
                return False
            try:
                if path not in self._descriptors and len(self._descriptors) >= MAX_WATCHES:
                    raise OSError(errno.ENOSPC, "too many directories")
                descriptor = self._inotify.watch(self._absolute(path))
            except OSError as error:
                return self._note_failure(path, error)
            known = self._paths.get(descriptor)
            if known is not None and known != path and self._descriptors.get(known) == descriptor:
                del self._descriptors[known]  # the directory was renamed and its event is still queued
            self._paths[descriptor] = path
            self._descriptors[path] = descriptor
            self._unwatched.pop(path, None)
        if os.path.lexists(os.path.join(self._absolute(path), GIT_NAME)):
            self._watch_git(path)
        return True

    def _note_failure(self, path: bytes, error: OSError) -> bool:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return False  # it vanished or was replaced by a link, which an event of its parent reports
        if error.errno == errno.ENOSPC and any(r for p, r in self._unwatched.items() if _is_within(path, p)):
            return False  # one entry represents the subtree
        self._unwatched[path] = describe_watch_error(error)
        return False

    def _watch_git(self, path: bytes) -> None:
        repository = self._root / os.fsdecode(path)
        for directory in git_directories(repository):
            with self._lock:
                if self._inotify is None:
                    return
                try:
                    self._git[self._inotify.watch(os.fsencode(directory))] = path
                except OSError:
                    logger.debug("%s is not watched", directory, exc_info=True)

    def _take(self, event: Event, found: Events) -> None:
        descriptor, mask, name = event
        if mask & IN_Q_OVERFLOW:
            found.recheck, found.rescan, found.is_recrawl = "the kernel's event queue overflowed", True, True
            return
        if descriptor in self._git:
            if name in GIT_RULE_FILES and not mask & IN_ATTRIB:
                found.recheck = found.recheck or "git's index or exclude file changed"
            if descriptor not in self._paths:
                return
        path = self._paths.get(descriptor)
        if path is None:
            return  # the directory was moved or removed, which an event of its parent reports
        if mask & (IN_IGNORED | IN_UNMOUNT):
            self._forget(descriptor, path)
            found.directories.add(path)
        elif not name:
            if path == ROOT and mask & (IN_DELETE_SELF | IN_MOVE_SELF):
                found.recheck, found.rescan, found.is_recrawl = "the project root was moved or removed", True, True
            elif mask & IN_ATTRIB and not mask & IN_DELETE_SELF:
                found.directories.add(path)
        else:
            self._take_entry(mask, os.path.join(path, name), name, found)

    def _take_entry(self, mask: int, path: bytes, name: bytes, found: Events) -> None:
        if name in RULE_FILES and not (name == GIT_NAME and mask & IN_ATTRIB):
            found.recheck, found.rescan = f"{os.fsdecode(path)} changed", True
        if mask & IN_ISDIR:
            if mask & IN_MOVED_FROM:
                self._move_away(path)
            if name != GIT_NAME and not self._is_excluded(path):
                found.directories.add(path)
        elif name != GIT_NAME:
            found.paths.add(path)

    def _move_away(self, path: bytes) -> None:
        """Drop a directory that was renamed, with everything below it: its watches still have the old paths."""
        inner = path + b"/"
        for known in [p for p in self._descriptors if p == path or p.startswith(inner)]:
            descriptor = self._descriptors.pop(known)
            self._paths.pop(descriptor, None)
            self._moved_away.append(descriptor)

    def _drop_moved_away(self) -> None:
        # before new watches are added: a watch for the same inode would return the descriptor that is removed here
        for descriptor in self._moved_away:
            if descriptor not in self._paths:
                self._unwatch(descriptor)
        self._moved_away.clear()

    def _unwatch(self, descriptor: int) -> None:
        self._paths.pop(descriptor, None)
        if self._inotify is not None and descriptor not in self._git:
            self._inotify.unwatch(descriptor)

    def _forget(self, descriptor: int, path: bytes) -> None:
        del self._paths[descriptor]
        if self._descriptors.get(path) == descriptor:
            del self._descriptors[path]

    def _absolute(self, path: bytes) -> bytes:
        return os.path.join(self._base, path) if path else self._base


def describe_watch_error(error: OSError) -> str:
    """Return why a directory cannot be watched, in terms of what the user can change."""
    match error.errno:
        case errno.ENOSPC:
            return f"the limit on inotify watches is reached ({LIMITS / 'max_user_watches'})"
        case errno.EMFILE:
            return f"the limit on inotify instances is reached ({LIMITS / 'max_user_instances'})"
        case errno.EACCES:
            return "permission denied"
        case errno.ENOSYS:
            return "this system cannot prove that every change was reported"
    return error.strerror or str(error)


def find_remote_mounts(root: Path) -> dict[bytes, str]:
    """Find the directories of a project that another machine can change without an event here.

    Returns:
        Path relative to the root, to reason; the root itself if its file system is remote.
    """
    try:
        lines = MOUNTS.read_bytes().splitlines()
    except OSError:
        return {}
    base = os.fsencode(root)
    nearest = (b"", False, "")
    found: dict[bytes, str] = {}
    for line in lines:
        left, _, right = line.partition(b" - ")
        point = left.split(b" ")[4].decode("unicode_escape").encode("latin-1")
        kind = right.split(b" ")[0].decode("ascii", "replace")
        is_remote = kind in REMOTE_FILE_SYSTEMS or kind.startswith("fuse")
        if _is_within(base, point.rstrip(b"/")) and len(point) >= len(nearest[0]):
            nearest = (point, is_remote, kind)
        elif is_remote and _is_within(point, base):
            found[point[len(base) + 1 :]] = f"{kind} does not report every change"
    if nearest[1]:
        found[ROOT] = f"{nearest[2]} does not report every change"
    return found


def _is_within(path: bytes, directory: bytes) -> bool:
    return not directory or path == directory or path.startswith(directory + b"/")


def _check(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
