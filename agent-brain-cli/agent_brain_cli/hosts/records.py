"""The record of what was written into the files of hosts, from which `uninstall` restores them byte for byte.

It is a file in the home of Agent Brain. It holds only the changed part of each file, never a whole settings file.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agent_brain_cli.hosts.catalog import Kind
from agent_brain_server.storage_paths import brain_home
from agent_brain_server.support.state_files import make_private_dir, read_file, replace_file

RECORD_FILE = "installed.json"
MAX_RECORD_BYTES = 16_000_000


@dataclass(slots=True)
class Change:
    """The recorded change of a file.

    Attributes:
        kind: Of the edit.
        content: Of the edit.
        base: The home directory or the project that the file belongs to.
        hosts: Names of the hosts that need the change.
        existed: The file existed before.
        start: Offset of the changed part.
        old: The changed part before.
        new: The changed part after.
        sha256: Of the file after the change.
        directories: Directories that were created for the file, the innermost first.
    """

    kind: Kind
    content: Any
    base: str
    hosts: list[str]
    existed: bool
    start: int
    old: str
    new: str
    sha256: str
    directories: list[str]

    def restore(self, text: str) -> str | None:
        """Return the text from before the change, or `None` if the file was changed again since."""
        if hash_text(text) != self.sha256:
            return None
        return text[: self.start] + self.old + text[self.start + len(self.new) :]


def find_difference(old: str, new: str) -> tuple[int, str, str]:
    """Return the offset of the part in which two texts differ, and this part of each."""
    start = len(os.path.commonprefix([old, new]))
    tail = len(os.path.commonprefix([old[start:][::-1], new[start:][::-1]]))
    return start, old[start : len(old) - tail], new[start : len(new) - tail]


def hash_text(text: str) -> str:
    """Return the SHA-256 of a text."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def read_record() -> dict[str, Change]:
    """Return the recorded change of each file; a damaged record counts as missing."""
    with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
        document = json.loads(read_file(brain_home() / RECORD_FILE, MAX_RECORD_BYTES))
        return {path: Change(**change) for path, change in document["files"].items()}
    return {}


def write_record(record: dict[str, Change]) -> None:
    """Write the record, or remove it if it is empty.

    Raises:
        StateDirError: The home of Agent Brain is unsafe.
        OSError: It cannot be written.
    """
    path = brain_home() / RECORD_FILE
    if not record:
        path.unlink(missing_ok=True)
        return
    make_private_dir(path.parent)
    document = {"version": 1, "files": {name: asdict(change) for name, change in sorted(record.items())}}
    replace_file(path, json.dumps(document, indent=1).encode())


def remove_directories(paths: Iterable[str]) -> None:
    """Remove directories that are empty, the innermost first."""
    with contextlib.suppress(OSError):
        for path in paths:
            Path(path).rmdir()
