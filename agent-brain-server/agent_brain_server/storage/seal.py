"""Checksums of files that lie still: written when a store is closed, compared when it is opened again.

SQLite checks the structure of a page and not what stands in it, Chroma's native code checks nothing. A seal finds every
byte that was changed while no server ran. It is taken away on opening, so that a server which is killed leaves none,
and nothing that it wrote is taken for damage.
"""

import contextlib
import json
import zlib
from collections.abc import Iterable
from enum import Enum
from pathlib import Path

from agent_brain_server.errors import StateDirError
from agent_brain_server.support.state_files import open_file, read_file, replace_file

SEAL_SUFFIX = ".seal"

SEAL_LIMIT = 128 * 1024 * 1024
"""Bytes up to which files are sealed: CRC-32 reads 4 GB in a second, so that this costs a start some 30 ms."""

MAX_SEAL_BYTES = 16 * 1024 * 1024
"""Longest seal that is read; 40 bytes for each file are usual."""

BLOCK_BYTES = 1024 * 1024
"""Read at a time, so that a large file costs no memory."""


class SealState(Enum):
    """What a seal says of its files."""

    MISSING = "missing"
    INTACT = "intact"
    BROKEN = "broken"


def seal_files(seal: Path, files: Iterable[Path], *, limit: int = SEAL_LIMIT) -> None:
    """Write down what the files hold; nothing is written where they are too large, or the disk is full.

    Args:
        seal: Where to.
        files: In the seal's directory or below it; nobody writes them any more.
        limit: Bytes beyond which they are too large.
    """
    listed = sorted(files)
    try:
        if sum(file.stat().st_size for file in listed) > limit:
            return
        sums = {file.relative_to(seal.parent).as_posix(): _measure(file) for file in listed}
        replace_file(seal, json.dumps(sums).encode(), durable=False)  # a torn seal would pass for damage
    except (OSError, StateDirError):
        with contextlib.suppress(OSError):
            seal.unlink(missing_ok=True)


def break_seal(seal: Path, files: Iterable[Path]) -> SealState:
    """Take a seal away and say whether the files are as they were sealed.

    Raises:
        OSError: The seal cannot be taken away.
    """
    try:
        text = read_file(seal, MAX_SEAL_BYTES)
    except FileNotFoundError:
        return SealState.MISSING
    seal.unlink()
    try:
        found = {file.relative_to(seal.parent).as_posix(): _measure(file) for file in files}
        return SealState.INTACT if json.loads(text) == found else SealState.BROKEN
    except (OSError, StateDirError, ValueError):
        return SealState.BROKEN


def _measure(file: Path) -> list[int]:
    """Return size and CRC-32."""
    size, checksum = 0, 0
    with open(open_file(file), "rb", buffering=0) as stream:
        while block := stream.read(BLOCK_BYTES):
            size, checksum = size + len(block), zlib.crc32(block, checksum)
    return [size, checksum]
