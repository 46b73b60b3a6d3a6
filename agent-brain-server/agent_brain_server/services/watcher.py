"""Keeps the index fresh: notices what changes in the tree and asks for the jobs that bring the index after it.

The directories of indexed files are watched, none else: `node_modules` costs nothing. What the kernel reports is only a
hint that something happened; a walk and a comparison say what. So nothing is missed for long: not after a pause, a
branch switch, ten thousand changes at once, or a queue of events that ran over.
"""

import logging
import math
import threading
import time
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from watchfiles import Change, DefaultFilter, watch

from agent_brain_server.errors import AgentBrainError
from agent_brain_server.log import project_id
from agent_brain_server.project_root import generate_project_id
from agent_brain_server.services.indexing_service import IndexingService
from agent_brain_server.storage.document_store import DocumentStore
from agent_brain_server.storage_paths import PRODUCT_DIR

logger = logging.getLogger(__name__)

SETTLE_MS = 50
"""An editor's save is several events within a few milliseconds; after this much quiet it is one change."""

MAX_DELAY_MS = 400
"""Under a constant stream of changes the index follows this often."""

STOP_CHECK_MS = 200
"""How often the waiting thread looks whether it is to end, or whether directories came or went."""

FOLLOW_S = 0.02
"""How often a job is looked at while the index follows a change."""

FULL_CHECK_S = 300.0
"""The tree is compared this often without any event: for those that the kernel dropped, or a file system never sent."""

RETRY_S = 5.0
"""Pause after a failure, such as a limit on watches that is reached."""


class TreeWatcher:
    """Watches the tree of one project in a thread of its own.

    Args:
        root: Canonical root of the project.
        documents: Tells what is indexed.
        indexing: Is asked whether the index is behind, and for the jobs.
    """

    def __init__(self, root: Path, documents: DocumentStore, indexing: IndexingService) -> None:
        self._root = root
        self._documents = documents
        self._indexing = indexing
        self._filter = SourceFilter()
        self._stopping = threading.Event()
        self._changed: set[str] = set()
        self._known_generation = -1
        self._known_directories: frozenset[str] = frozenset()
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def start(self) -> None:
        """Begin to watch; what changed while nobody did is caught up with first."""
        self._thread.start()

    def close(self) -> None:
        """Stop watching."""
        self._stopping.set()
        self._thread.join(STOP_CHECK_MS / 1000 + 1)

    def count_pending(self) -> int:
        """Return how many files are known to have changed and are not in the index yet."""
        return len(self._changed)

    def _run(self) -> None:
        project_id.set(generate_project_id(self._root))
        while not self._stopping.is_set():
            try:
                self._watch(self._directories())
            except Exception:  # border: a tree that can't be watched must not end the watching for good
                logger.warning(
                    "the tree of %s can't be watched now; see whether a limit is reached: agent-brain doctor",
                    self._root,
                    exc_info=True,
                )
                self._stopping.wait(RETRY_S)

    def _watch(self, directories: frozenset[str]) -> None:
        """Watch some directories until others are to be watched.

        The first comparison comes after the watch has begun, so that nothing falls between the two.
        """
        if not directories:
            self._stopping.wait(STOP_CHECK_MS / 1000)
            return
        changes = watch(
            *directories,
            watch_filter=self._filter,
            debounce=MAX_DELAY_MS,
            step=SETTLE_MS,
            rust_timeout=STOP_CHECK_MS,
            yield_on_timeout=True,
            stop_event=self._stopping,
            raise_interrupt=False,
            recursive=False,
        )
        compared_at = -math.inf
        for batch in changes:
            self._changed.update(path for _, path in batch)
            if batch or time.monotonic() - compared_at > FULL_CHECK_S:
                self._bring_up_to_date()
                compared_at = time.monotonic()
            if self._directories() != directories:
                return

    def _bring_up_to_date(self) -> None:
        """Ask for a job for each part of the project whose index is behind."""
        noticed = frozenset(self._changed)
        try:
            jobs = self._indexing.catch_up()
        except AgentBrainError:  # a folder that was indexed is gone, or a store is full: the next change tries again
            logger.info("the index of %s could not be brought up to date", self._root, exc_info=True)
            jobs = []
        while jobs and not self._stopping.wait(FOLLOW_S):
            jobs = [job_id for job_id in jobs if not self._is_followed(job_id)]
        self._changed -= noticed

    def _is_followed(self, job_id: str) -> bool:
        """Whether a job's keyword answers are complete, or will not be."""
        job = self._indexing.get_job(job_id)
        return job.progress.keywords_ready or job.finished_at is not None

    def _directories(self) -> frozenset[str]:
        """Return what is to be watched; worked out again only where the index has changed."""
        generation = self._documents.generation
        if generation != self._known_generation:
            paths = list_directories(self._root, self._documents.file_records())
            self._known_directories = frozenset(map(str, paths))
            self._known_generation = generation
        return self._known_directories


def list_directories(root: Path, paths: Iterable[str]) -> list[Path]:
    """Return the existing directories that hold indexed files, and those above them up to the root.

    Args:
        root: The project's root.
        paths: Of the indexed files, relative to it.
    """
    parents = {PurePosixPath(path).parent for path in paths}
    within = {above for parent in parents for above in (parent, *parent.parents)}
    return [directory for directory in (root / path for path in sorted(within)) if directory.is_dir()]


class SourceFilter(DefaultFilter):
    """Leaves out what editors, interpreters and this server write beside the sources."""

    def __call__(self, change: Change, path: str) -> bool:
        """Whether a change may concern the index."""
        return f"/{PRODUCT_DIR}/" not in path and super().__call__(change, path)
