"""Compare a tree with its index. Pure: neither stores nor the disk are read."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from agent_brain_server.types import FileRecord, FileStat, Skip, is_in


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference between a tree and its index.

    Attributes:
        changed: New files and files that differ from their record, sorted by path.
        removed: Paths that are in the index and should not be, sorted.
        unchanged: Number of files that are as recorded.
        still_skipped: Number of these that were read once and contain nothing to index.
        scope: The part of the project that was compared.
        skipped: What the walk skipped; `None` if that has been recorded before.
    """

    changed: tuple[FileStat, ...]
    removed: tuple[str, ...]
    unchanged: int
    still_skipped: int
    scope: "IndexScope"
    skipped: tuple[Skip, ...] | None = None

    @property
    def files_total(self) -> int:
        """Number of files that belong in the index."""
        return len(self.changed) + self.unchanged - self.still_skipped


@dataclass(frozen=True, slots=True)
class IndexScope:
    """The recorded files that a run may remove: those that its walk would have found.

    Attributes:
        prefix: The folder or file relative to the root; "" for the root itself.
        recursive: Whether folders below `prefix` are part of it.
        is_included: Returns whether a path matches the include patterns of the request.
        only: The files and directories that the walk was restricted to; `None` if it was not.
    """

    prefix: str
    recursive: bool
    is_included: Callable[[str], bool]
    only: frozenset[str] | None = None

    def covers(self, path: str) -> bool:
        """Return whether the walk would have found a path."""
        if path == self.prefix:
            return True
        if self.prefix and not path.startswith(f"{self.prefix}/"):
            return False
        below = path[len(self.prefix) + 1 :] if self.prefix else path
        if "/" in below and not self.recursive:
            return False
        return (self.only is None or is_in(path, self.only)) and self.is_included(path)


def compare(
    walked: Iterable[FileStat],
    records: Mapping[str, FileRecord],
    scope: IndexScope,
    *,
    force: bool = False,
    written: Collection[str] = (),
) -> Difference:
    """Compare the files of a walk with their records.

    A file is unchanged if it was indexed completely and has the recorded size and modification time.

    Args:
        walked: The files that the walk found.
        records: Every recorded file of the project, by path.
        scope: The records that the walk covers.
        force: Treat every file as changed.
        written: Files, and directories of files, that were written since they were recorded. They count as changed
            whatever their size and modification time, which two writes within one clock tick do not change.
    """
    present: set[str] = set()
    changed = []
    still_skipped = 0
    for file in walked:
        present.add(file.path)
        record = records.get(file.path)
        if force or record is None or is_in(file.path, written) or not is_current(file, record):
            changed.append(file)
        elif record.state == "skipped":
            still_skipped += 1
    return Difference(
        changed=tuple(sorted(changed, key=lambda file: file.path)),
        removed=tuple(sorted(path for path in records if path not in present and scope.covers(path))),
        unchanged=len(present) - len(changed),
        still_skipped=still_skipped,
        scope=scope,
    )


def is_current(file: FileStat, record: FileRecord) -> bool:
    """Return whether a file is as recorded, and was indexed completely."""
    return record.state != "pending" and record.size == file.size and record.mtime_ns == file.mtime_ns
