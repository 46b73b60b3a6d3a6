"""What a job does follows from the walk and the records alone."""

import pytest

from agent_brain_server.services.change_plan import IndexScope, plan_changes
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


def test_new_and_differing_files_are_changed_and_missing_ones_removed() -> None:
    plan = plan_changes(WALKED, RECORDS, scope())
    assert [file.path for file in plan.changed] == ["grown.py", "new.py", "touched.py"]
    assert plan.removed == ("gone.py",)
    assert plan.unchanged == 1


def test_a_file_that_was_not_indexed_to_the_end_is_read_again() -> None:
    plan = plan_changes([FileStat("a.py", 10, 1)], {"a.py": record("a.py", state="pending")}, scope())
    assert [file.path for file in plan.changed] == ["a.py"]


def test_a_binary_that_did_not_change_is_not_read_again() -> None:
    plan = plan_changes([FileStat("a.bin", 10, 1)], {"a.bin": record("a.bin", state="skipped")}, scope())
    assert plan.changed == ()


def test_force_reads_everything() -> None:
    assert len(plan_changes(WALKED, RECORDS, scope(), force=True).changed) == len(WALKED)


@pytest.mark.parametrize(
    ("judge", "removed"),
    [
        (scope(), ("a.py", "src/b.py", "src/deep/c.py", "srcs/d.py")),
        (scope("src"), ("src/b.py", "src/deep/c.py")),
        (scope("src", recursive=False), ("src/b.py",)),
        (scope(recursive=False), ("a.py",)),
        (scope("src/b.py"), ("src/b.py",)),
        (scope(suffix="c.py"), ("src/deep/c.py",)),
    ],
)
def test_only_what_the_walk_would_have_found_is_removed(judge: IndexScope, removed: tuple[str, ...]) -> None:
    records = {path: record(path) for path in ("a.py", "src/b.py", "src/deep/c.py", "srcs/d.py")}
    assert plan_changes([], records, judge).removed == removed
