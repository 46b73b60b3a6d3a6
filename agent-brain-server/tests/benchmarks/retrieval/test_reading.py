"""Tokens read until the first relevant result."""

from pathlib import Path

from benchmarks.retrieval.query_set import Target
from benchmarks.retrieval.reading import (
    Reading,
    SourceFile,
    load_files,
    order_by_matches,
    read_in_order,
    read_like_grep,
)
from benchmarks.retrieval.scoring import WholeFile

FILES = {
    "a.py": SourceFile("def lock(): pass", 100),
    "b.py": SourceFile("def release_lock(): pass", 20),
    "c.py": SourceFile("nothing of it", 3),
}


def test_reading_stops_at_first_relevant_result() -> None:
    results = [WholeFile("x.py"), WholeFile("a.py"), WholeFile("b.py")]
    targets = [Target("b.py"), Target("a.py")]
    assert read_in_order(results, [10, 20, 30], targets) == Reading(30, is_found=True)


def test_reading_without_relevant_result_reads_ten() -> None:
    results = [WholeFile(f"{number}.py") for number in range(12)]
    assert read_in_order(results, [5] * 12, [Target("11.py")]) == Reading(50, is_found=False)


def test_grep_orders_files_by_matched_words() -> None:
    assert order_by_matches("where is the LOCK released: release", FILES) == ["b.py", "a.py"]
    assert order_by_matches("lock", FILES) == ["a.py", "b.py"]


def test_grep_with_only_stop_words_uses_them() -> None:
    assert order_by_matches("of it", FILES) == ["c.py"]


def test_grep_reads_whole_files() -> None:
    assert read_like_grep("release lock", FILES, [Target("a.py")]) == Reading(120, is_found=True)
    assert read_like_grep("release lock", FILES, [Target("c.py")]) == Reading(120, is_found=False)


def test_grep_reads_files_of_any_encoding(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes(b"LOCK = '\xff'")
    assert load_files(tmp_path, ["a.py"])["a.py"].text == "lock = '\ufffd'"
