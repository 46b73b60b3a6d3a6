"""What an indexing job has to do: the tree as walked against the files as remembered. Pure, no store, no disk."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from agent_brain_server.types import FileRecord, FileStat, is_in


@dataclass(frozen=True, slots=True)
class ChangePlan:
    """The difference between a tree and its index.

    Attributes:
        changed: New files and files that differ from their record, in path order.
        removed: Paths that are in the index and should not be, in order.
        unchanged: How many files are as recorded.
        still_skipped: How many of these were read once and hold nothing to index.
    """

    changed: tuple[FileStat, ...]
    removed: tuple[str, ...]
    unchanged: int
    still_skipped: int


@dataclass(frozen=True, slots=True)
class IndexScope:
    """Which recorded files a job may judge: those that its walk would have found.

    Attributes:
        prefix: The folder, relative to the root, "" for the root itself; or the one file.
        recursive: False leaves folders below `prefix` alone.
        is_included: Whether a path passes the job's include patterns; a path that doesn't is not the job's business.
        only: The files and directories that the walk was restricted to; `None` if it was not.
    """

    prefix: str
    recursive: bool
    is_included: Callable[[str], bool]
    only: frozenset[str] | None = None

    def covers(self, path: str) -> bool:
        """Whether the job decides about this path."""
        if path == self.prefix:
            return True
        if self.prefix and not path.startswith(f"{self.prefix}/"):
            return False
        below = path[len(self.prefix) + 1 :] if self.prefix else path
        return (self.recursive or "/" not in below) and self._is_asked(path) and self.is_included(path)

    def _is_asked(self, path: str) -> bool:
        """Whether a restricted walk looked for this path, by its name or by that of a directory above it."""
        return self.only is None or is_in(path, self.only)


def plan_changes(
    walked: Iterable[FileStat],
    records: Mapping[str, FileRecord],
    scope: IndexScope,
    *,
    force: bool = False,
    written: Collection[str] = (),
) -> ChangePlan:
    """Compare a walk with what the document store remembers.

    A file is unchanged if size and modification time are as recorded and it was indexed to the end.

    Args:
        walked: What the walk found.
        records: Every recorded file of the project, by path.
        scope: Which records the walk decides about.
        force: Take every file for changed.
        written: Files, and directories of files, that were written to since they were recorded, whatever their size and
            modification time: two writes within one tick of the file system's clock differ in neither.
    """
    present: set[str] = set()
    changed = []
    still_skipped = 0
    for file in walked:
        present.add(file.path)
        record = records.get(file.path)
        if force or record is None or is_in(file.path, written) or not _is_current(file, record):
            changed.append(file)
        elif record.state == "skipped":
            still_skipped += 1
    removed = sorted(path for path in records if path not in present and scope.covers(path))
    return ChangePlan(
        changed=tuple(sorted(changed, key=lambda file: file.path)),
        removed=tuple(removed),
        unchanged=len(present) - len(changed),
        still_skipped=still_skipped,
    )


def _is_current(file: FileStat, record: FileRecord) -> bool:
    return record.state != "pending" and record.size == file.size and record.mtime_ns == file.mtime_ns
