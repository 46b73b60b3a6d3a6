"""A minimal binding to Linux inotify (see inotify(7)).

The kernel queues an event before the system call that caused it returns. Reading the queue until it is empty therefore
proves that every earlier change in a watched directory was seen, which is what the freshness barrier relies on.
Libraries that read the queue in a thread of their own cannot give that proof.
"""

import ctypes
import errno
import os
import struct
from pathlib import Path

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

LIMITS = Path("/proc/sys/fs/inotify")

Event = tuple[int, int, bytes]
"""Watch descriptor, mask, and the name inside the watched directory (empty for the directory itself)."""

_libc = ctypes.CDLL(None, use_errno=True)


class Inotify:
    """One inotify instance. Thread-safe only as far as its caller serializes calls.

    Raises:
        OSError: `EMFILE` if the user's limit on instances is reached.
    """

    def __init__(self) -> None:
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


def describe_watch_error(error: OSError) -> str:
    """Return why a directory cannot be watched, in terms of what the user can change."""
    match error.errno:
        case errno.ENOSPC:
            return f"the limit on inotify watches is reached ({LIMITS / 'max_user_watches'})"
        case errno.EMFILE:
            return f"the limit on inotify instances is reached ({LIMITS / 'max_user_instances'})"
        case errno.EACCES:
            return "permission denied"
    return error.strerror or str(error)


def _check(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
