"""Report changes through the platform's own notification (FSEvents on macOS), for systems without inotify.

Its events arrive late, in a separate thread, and may be merged, so they prove nothing: they only make a change visible
before the next comparison of the tree. What is promised about freshness rests on that comparison.
"""

import logging
import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from agent_brain_server.services.tree_watch import GIT_NAME, GIT_RULE_FILES, RULE_FILES

logger = logging.getLogger(__name__)

GROUPING_MS = 50
STEP_MS = 10
STOP_LIMIT_S = 5.0


class PlatformWatch:
    """Report changed paths of a project from a thread.

    Args:
        root: Canonical root of the project.
        is_excluded: Returns whether a directory, relative to the root, belongs to Agent Brain and is never watched.
        on_change: Called in the thread with the changed paths relative to the root, and whether a rule about ignored
            files may have changed.
    """

    def __init__(
        self, root: Path, is_excluded: Callable[[bytes], bool], on_change: Callable[[set[bytes], bool], None]
    ) -> None:
        self._root = root
        self._base = os.fsencode(root) + b"/"
        self._is_excluded = is_excluded
        self._on_change = on_change
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="platform-watch", daemon=True)

    def start(self) -> None:
        """Start to report changes."""
        self._thread.start()

    def close(self) -> None:
        """Stop reporting changes."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(STOP_LIMIT_S)

    def _run(self) -> None:
        try:
            from watchfiles import watch  # noqa: PLC0415 - Linux never needs it

            for changes in watch(
                self._root,
                watch_filter=None,
                debounce=GROUPING_MS,
                step=STEP_MS,
                stop_event=self._stopping,
                rust_timeout=1000,
                raise_interrupt=False,
                ignore_permission_denied=True,
            ):
                self._report(path for _, path in changes)
        except Exception:  # boundary: without events, comparisons still find every change
            logger.warning("The platform reports no changes of %s; the tree is compared", self._root, exc_info=True)

    def _report(self, changed: Iterable[str]) -> None:
        paths, is_rule_changed = set(), False
        for text in changed:
            path = os.fsencode(text).removeprefix(self._base)
            parts = path.split(b"/")
            if path.startswith(b"/") or self._is_excluded_below(parts):
                continue
            if GIT_NAME in parts:
                is_rule_changed |= parts[-1] in GIT_RULE_FILES
                continue
            is_rule_changed |= parts[-1] in RULE_FILES
            paths.add(path)
        if paths or is_rule_changed:
            self._on_change(paths, is_rule_changed)

    def _is_excluded_below(self, parts: list[bytes]) -> bool:
        return any(self._is_excluded(b"/".join(parts[:length])) for length in range(1, len(parts) + 1))
