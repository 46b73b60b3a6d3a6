"""What is read until the answer."""

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


def test_reading_ends_with_the_first_right_result() -> None:
    results = [WholeFile("x.py"), WholeFile("a.py"), WholeFile("b.py")]
    targets = [Target("b.py"), Target("a.py")]
    assert read_in_order(results, [10, 20, 30], targets) == Reading(30, is_found=True)


def test_without_a_right_result_ten_are_read() -> None:
    results = [WholeFile(f"{number}.py") for number in range(12)]
    assert read_in_order(results, [5] * 12, [Target("11.py")]) == Reading(50, is_found=False)


def test_files_are_ordered_by_how_many_words_they_hold_and_left_out_where_they_hold_none() -> None:
    assert order_by_matches("where is the LOCK released: release", FILES) == ["b.py", "a.py"]
    assert order_by_matches("lock", FILES) == ["a.py", "b.py"]


def test_stop_words_count_where_there_are_no_others() -> None:
    assert order_by_matches("of it", FILES) == ["c.py"]


def test_reading_like_grep_takes_whole_files() -> None:
    assert read_like_grep("release lock", FILES, [Target("a.py")]) == Reading(120, is_found=True)
    assert read_like_grep("release lock", FILES, [Target("c.py")]) == Reading(120, is_found=False)


def test_files_are_read_whatever_their_encoding(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes(b"LOCK = '\xff'")
    assert load_files(tmp_path, ["a.py"])["a.py"].text == "lock = '\ufffd'"
