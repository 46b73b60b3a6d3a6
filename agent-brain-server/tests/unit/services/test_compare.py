"""Compare walked files with their records."""

import pytest

from agent_brain_server.services.compare import IndexScope, compare
from agent_brain_server.types import FileRecord, FileStat


def record(path: str, *, size: int = 10, mtime_ns: int = 1, state: str = "indexed") -> FileRecord:
    return FileRecord(path, size, mtime_ns, "hash", state)  # type: ignore[arg-type]


def scope(prefix: str = "", *, recursive: bool = True, suffix: str = "") -> IndexScope:
    return IndexScope(prefix, recursive, lambda path: path.endswith(suffix))


WALKED = [
    FileStat("same.py", 10, 1),
    FileStat("touched.py", 10, 2),
    FileStat("grown.py", 11, 1),
    FileStat("new.py", 1, 1),
]
RECORDS = {path: record(path) for path in ("same.py", "touched.py", "grown.py", "gone.py")}


def test_compare_finds_changed_and_removed_files() -> None:
    difference = compare(WALKED, RECORDS, scope())
    assert [file.path for file in difference.changed] == ["grown.py", "new.py", "touched.py"]
    assert difference.removed == ("gone.py",)
    assert (difference.unchanged, difference.files_total) == (1, 4)


def test_compare_treats_pending_file_as_changed() -> None:
    difference = compare([FileStat("a.py", 10, 1)], {"a.py": record("a.py", state="pending")}, scope())
    assert [file.path for file in difference.changed] == ["a.py"]


def test_compare_treats_skipped_file_as_unchanged() -> None:
    difference = compare([FileStat("a.bin", 10, 1)], {"a.bin": record("a.bin", state="skipped")}, scope())
    assert difference.changed == ()


def test_compare_with_force_returns_every_file() -> None:
    assert len(compare(WALKED, RECORDS, scope(), force=True).changed) == len(WALKED)


@pytest.mark.parametrize(
    ("covered", "removed"),
    [
        (scope(), ("a.py", "src/b.py", "src/deep/c.py", "srcs/d.py")),
        (scope("src"), ("src/b.py", "src/deep/c.py")),
        (scope("src", recursive=False), ("src/b.py",)),
        (scope(recursive=False), ("a.py",)),
        (scope("src/b.py"), ("src/b.py",)),
        (scope(suffix="c.py"), ("src/deep/c.py",)),
    ],
)
def test_compare_removes_only_files_in_scope(covered: IndexScope, removed: tuple[str, ...]) -> None:
    records = {path: record(path) for path in ("a.py", "src/b.py", "src/deep/c.py", "srcs/d.py")}
    assert compare([], records, covered).removed == removed
