"""What others find this server by: runtime file, holder of the lock, pid, entry in the registry.

Written when the server answers, withdrawn before it stops to. In between it is looked at once a second, and written
again where it was damaged or removed: who starts, asks or stops a server relies on it, and only the server knows it.
"""

import contextlib
import logging
import threading
import time
from pathlib import Path

from agent_brain_server.errors import StateDirError
from agent_brain_server.lifecycle import registry
from agent_brain_server.lifecycle.registry import RegistryEntry
from agent_brain_server.locking import StateLock
from agent_brain_server.runtime import RuntimeState, delete_runtime, make_runtime_document, write_runtime
from agent_brain_server.storage_paths import runtime_path
from agent_brain_server.support.atomic_file import UnreadableDocumentError, read_document

logger = logging.getLogger(__name__)

RETRY_S = 30.0
"""Pause after something could not be written, as on a full disk: the log would only say it again."""


class Presence:
    """The files by which one running server is found.

    Args:
        state_dir: Of the server.
        state: What it tells of itself.
        lock: Of the state directory; held.
    """

    def __init__(self, state_dir: Path, state: RuntimeState, lock: StateLock) -> None:
        self._state_dir = state_dir
        self._state = state
        self._lock = lock
        self._document = make_runtime_document(state)
        self._entry = None if state.project_root is None else RegistryEntry(Path(state.project_root), state_dir)
        self._registry_mark: object = None
        self._quiet_until = 0.0
        self._mending: threading.Thread | None = None

    def announce(self) -> None:
        """Let the server be found.

        Raises:
            OSError: The state directory can't be written.
        """
        write_runtime(self._state_dir, self._state)

    def withdraw(self) -> None:
        """Let the server no longer be found; nothing is written any more."""
        self._quiet_until = float("inf")
        if self._mending is not None:
            self._mending.join()
        # if our lock file is gone, so is our runtime file: what lies there belongs to a successor
        if self._lock.is_intact():
            delete_runtime(self._state_dir)

    def look_after(self) -> None:
        """Write again what was damaged or removed; returns at once. Costs the reading of three small files."""
        if time.monotonic() < self._quiet_until or (self._mending is not None and self._mending.is_alive()):
            return
        if not self._is_whole() or not self._is_listed():
            # the registry may have to be waited for, and nothing may hold up the requests
            self._mending = threading.Thread(target=self._mend, name="presence", daemon=True)
            self._mending.start()

    def _is_whole(self) -> bool:
        with contextlib.suppress(UnreadableDocumentError):
            return self._lock.is_noted() and read_document(runtime_path(self._state_dir)) == self._document
        return False

    def _is_listed(self) -> bool:
        """Whether the registry has the project; it is read only after it was written."""
        mark = registry.read_mark()
        if self._entry is None or mark is None or mark == self._registry_mark:
            return True
        self._registry_mark = mark
        return self._entry in registry.entries()

    def _mend(self) -> None:
        try:
            if not self._is_whole():
                logger.warning("%s or the lock's holder was changed: writing them again", runtime_path(self._state_dir))
                self._lock.note_holder()
                write_runtime(self._state_dir, self._state)
            if self._entry is not None and self._entry not in registry.entries():
                registry.register(self._entry.project_root, self._entry.state_dir)
        except (OSError, StateDirError):
            logger.warning("The server can't be found until this can be written", exc_info=True)
            self._quiet_until = max(self._quiet_until, time.monotonic() + RETRY_S)
