"""Publish how a running server is found: its runtime file, the holder of its lock, and its entry in the registry.

The server publishes when it answers and withdraws before it stops. In between it checks the files every second and
writes them again if they were damaged or removed. Clients rely on them, and only the server knows their content.
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

RETRY_S = 30.0  # pause after a failed write, as on a full disk, so that the log does not repeat it every second


class RuntimePublisher:
    """Publishes one running server.

    Args:
        state_dir: State directory of the server.
        state: Content of the runtime file.
        lock: Lock of the state directory; held.
    """

    def __init__(self, state_dir: Path, state: RuntimeState, lock: StateLock) -> None:
        self._state_dir = state_dir
        self._state = state
        self._lock = lock
        self._document = make_runtime_document(state)
        self._entry = None if state.project_root is None else RegistryEntry(Path(state.project_root), state_dir)
        self._registry_mark: object = None
        self._paused_until = 0.0
        self._repair_thread: threading.Thread | None = None

    def publish(self) -> None:
        """Write the runtime file, so that clients find the server.

        Raises:
            OSError: The state directory cannot be written.
        """
        write_runtime(self._state_dir, self._state)

    def withdraw(self) -> None:
        """Remove the runtime file. Nothing is written afterwards."""
        self._paused_until = float("inf")
        if self._repair_thread is not None:
            self._repair_thread.join()
        # if our lock file is gone, so is our runtime file: the one there belongs to a successor
        if self._lock.is_intact():
            delete_runtime(self._state_dir)

    def tick(self) -> None:
        """Start to write again what was damaged or removed. Returns at once; reads three small files."""
        is_repairing = self._repair_thread is not None and self._repair_thread.is_alive()
        if time.monotonic() < self._paused_until or is_repairing:
            return
        if not self._is_published() or not self._is_registered():
            # the lock of the registry may block, and requests must not wait for it
            self._repair_thread = threading.Thread(target=self._repair, name="publisher", daemon=True)
            self._repair_thread.start()

    def _is_published(self) -> bool:
        with contextlib.suppress(UnreadableDocumentError):
            return self._lock.is_noted() and read_document(runtime_path(self._state_dir)) == self._document
        return False

    def _is_registered(self) -> bool:
        """Return whether the registry lists the project. The registry is read only if it has changed."""
        mark = registry.read_mark()
        if self._entry is None or mark is None or mark == self._registry_mark:
            return True
        self._registry_mark = mark
        return self._entry in registry.entries()

    def _repair(self) -> None:
        try:
            if not self._is_published():
                logger.warning("%s or the lock's holder was changed: writing them again", runtime_path(self._state_dir))
                self._lock.note_holder()
                write_runtime(self._state_dir, self._state)
            if self._entry is not None and self._entry not in registry.entries():
                registry.register(self._entry.project_root, self._entry.state_dir)
        except (OSError, StateDirError):
            logger.warning("Clients cannot find the server until this can be written", exc_info=True)
            self._paused_until = max(self._paused_until, time.monotonic() + RETRY_S)
