"""Merge results that touch, and fold identical texts."""

from typing import Any

from agent_brain_server.models.query import ContextLineModel, QueryResult
from agent_brain_server.search.merging import interleave_results, merge_results


def make_result(source: str, start: int, text: str, **changes: Any) -> QueryResult:
    lines = text.count("\n")
    values: dict[str, Any] = {
        "chunk_id": f"{source}:{start}",
        "text": text,
        "source": source,
        "start_line": start,
        "end_line": start + lines,
        "language": "python",
        "source_type": "code",
        "symbols": [],
        "heading": None,
        "score": 1.0,
        "vector_score": None,
        "bm25_score": 2.0,
    }
    return QueryResult(**(values | changes))


def merge(*results: QueryResult, blank: bool = True) -> list[QueryResult]:
    return merge_results(results, lambda *_: blank)


def test_merge_joins_adjacent_chunks_of_a_file() -> None:
    best = make_result("a.py", 3, "c\nd", symbols=["second"], score=0.9)
    other = make_result("b.py", 1, "x", score=0.8)
    first = make_result("a.py", 1, "a\nb", symbols=["first"], score=0.7)
    merged, kept = merge(best, other, first)
    assert (merged.text, merged.start_line, merged.end_line) == ("a\nb\nc\nd", 1, 4)
    assert (merged.chunk_id, merged.score, merged.symbols) == ("a.py:3", 0.9, ["first", "second"])
    assert [(part.chunk_id, part.score) for part in merged.merged] == [("a.py:1", 0.7), ("a.py:3", 0.9)]
    assert kept == other


def test_merge_joins_overlapping_and_contained_chunks() -> None:
    results = [make_result("a.py", 1, "a\nb\nc"), make_result("a.py", 2, "b"), make_result("a.py", 3, "c\nd")]
    (merged,) = merge(*results)
    assert (merged.text, merged.end_line) == ("a\nb\nc\nd", 4)


def test_merge_keeps_overlapping_chunks_that_differ() -> None:
    assert len(merge(make_result("a.py", 1, "a\nb"), make_result("a.py", 2, "other\nc"))) == 2


def test_merge_keeps_parts_of_a_long_line() -> None:
    parts = [make_result("a.py", 7, "x = 1;"), make_result("a.py", 7, "y = 2;", chunk_id="second")]
    assert merge(*parts) == parts
    assert len(merge(make_result("a.md", 1, "One. Two.", end_line=4), make_result("a.md", 5, "Three."))) == 2


def test_merge_joins_over_blank_lines_only() -> None:
    pair = [make_result("a.py", 1, "a"), make_result("a.py", 4, "b")]
    assert merge(*pair)[0].text == "a\n\n\nb"
    assert merge(*pair, blank=False) == pair
    assert len(merge(make_result("a.py", 1, "a"), make_result("a.py", 6, "b"))) == 2


def test_merge_completes_parts_and_drops_inner_context() -> None:
    head = make_result("a.py", 1, "def f():\n    a", part=1, parts=2)
    tail = make_result("a.py", 3, "    b", part=2, parts=2, context=[ContextLineModel(line=1, text="def f():")])
    (merged,) = merge(tail, head)
    assert (merged.part, merged.parts, merged.context) == (1, 1, [])
    assert merge(tail)[0].parts == 2


def test_merge_lists_copies_of_a_text() -> None:
    results = [
        make_result("a.py", 1, "same"),
        make_result("b.py", 5, "same\r\n", end_line=5),
        make_result("c.py", 1, "x"),
    ]
    merged, other = merge(*results)
    assert [(copy.source, copy.start_line, copy.end_line) for copy in merged.copies] == [("b.py", 5, 5)]
    assert other.copies == []


def test_merge_joins_copies_of_merged_chunks() -> None:
    texts = ["a\nb", "c\nd"]
    results = [make_result(path, line, text) for text, line in zip(texts, (1, 4), strict=True) for path in ("a", "v/a")]
    (merged,) = merge(*results)
    assert [(copy.source, copy.start_line, copy.end_line) for copy in merged.copies] == [("v/a", 1, 5)]


def test_interleave_takes_the_best_of_each_query_first() -> None:
    a, b, c = (make_result("a.py", line, str(line)) for line in (1, 2, 3))
    results = interleave_results([[a, b], [c, a]])
    assert [(result.start_line, result.answers) for result in results] == [(1, [0, 1]), (3, [1]), (2, [0])]
