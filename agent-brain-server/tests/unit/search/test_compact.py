"""Compact and JSON answers within a budget."""

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_brain_server.embedding.token_counter import TokenCounter
from agent_brain_server.models.query import ContextLineModel, Copy, IndexFreshness, QueryResult
from agent_brain_server.search.compact import CompactEntry, render_compact
from agent_brain_server.search.excerpting import make_passages
from agent_brain_server.search.small_json import JsonEntry, render_small_json
from agent_brain_server.support.text import count_hidden, visible

COUNTER = TokenCounter()
FRESH = IndexFreshness(last_indexed_at="2026-01-02T03:04:05Z", files_pending=0, vector_coverage=1.0, watch="on")
STALE = FRESH.model_copy(update={"files_pending": 12_345, "vector_coverage": 0.51234, "watch": "partial"})
RELEASE = 'class Lock:\n    def release(self, force=False):\n        """Free it."""\n        self.holder = None\n'
HOSTILE = [
    "😀" * 3_000,
    "x" * 20_000,
    '"' * 20_000,
    "a\r\nb\r\n" * 400,
    "\t" * 9_000 + "x",
    "\u202e\u200b" * 5_000,
    "\n" * 500,
]


def make_result(**changes: Any) -> QueryResult:
    values: dict[str, Any] = {
        "chunk_id": "0123456789abcdef01234567",
        "text": RELEASE,
        "source": "src/lock.py",
        "start_line": 10,
        "end_line": 13,
        "language": "python",
        "source_type": "code",
        "symbols": ["Lock"],
        "heading": None,
        "score": 1.23456,
        "vector_score": 0.5,
        "bm25_score": None,
    }
    return QueryResult(**(values | changes))


def compact(*results: QueryResult, query: str = "release", budget: int = 1500, remark: str | None = None) -> str:
    entries = [
        CompactEntry(passage, visible(passage.result.source), "") for passage in make_passages(results, [query], budget)
    ]
    return render_compact(entries, budget, COUNTER.count, remark, len(results) - len(entries))


def small_json(
    *results: QueryResult, budget: int = 1500, index: IndexFreshness = FRESH, remark: str | None = None
) -> str:
    entries = [JsonEntry(passage, explain=False) for passage in make_passages(results, ["release"], budget)]
    return render_small_json(entries, budget, COUNTER.count, index=index, remark=remark)


def make_long(number: int = 0, lines: int = 60) -> QueryResult:
    body = [f"    step_{row} = compute_something(step_{row - 1})" for row in range(1, lines)]
    body[40] = "    release_the_lock()"
    text = "\n".join([f"def run_{number}(step_0):", *body])
    return make_result(text=text, source=f"src/m{number}.py", start_line=1, end_line=lines, symbols=[f"run_{number}"])


def test_compact_result_starts_with_path_lines_and_symbol() -> None:
    assert compact(make_result()) == (
        "src/lock.py:10-13 Lock · class Lock:\n"
        "  def release(self, force=False):\n"
        '      """Free it."""\n'
        "      self.holder = None"
    )


def test_compact_excerpt_has_signature_and_way_to_the_rest() -> None:
    *_, last = [make_long(number) for number in range(5)]
    lines = compact(*[make_result(source=f"{n}.py", text=str(n), symbols=[]) for n in range(4)], last).splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("src/m4.py"))
    assert re.fullmatch(r"src/m4\.py:(\d+)-(\d+) run_4 · def run_4\(step_0\):", lines[start])
    assert "  release_the_lock()" in lines[start:]
    assert lines[-1] == "  … agent-brain read src/m4.py:1-60"


def test_compact_lists_results_without_room() -> None:
    results = [make_long(number) for number in range(10)]
    text = compact(*results, budget=600)
    assert COUNTER.count(text) <= 600
    assert "Also found:" in text
    for number in range(10):
        assert f"src/m{number}.py:1" in text
    tiny = compact(*results, budget=50)
    assert tiny.startswith("src/m0.py:")
    assert "more results: ask with a larger budget" in tiny


def test_larger_budget_shows_more_results() -> None:
    results = [make_long(number) for number in range(8)]
    assert "src/m5.py:1 run_5" in compact(*results)
    text = compact(*results, budget=6000)
    assert text.count("def run_") == 8
    assert "Also found:" not in text


def test_exact_phrase_leaves_out_most_others() -> None:
    query = "the lock was not released in time"
    body = "\n".join(["def check():", *["    pass"] * 30, f'    raise TimeoutError("{query}")', *["    pass"] * 30])
    found = make_result(text=body, source="src/check.py", start_line=1, end_line=62, symbols=["check"])
    others = [make_long(number) for number in range(6)]
    text = compact(found, *others, query=query)
    assert query in text
    assert len(text.splitlines()) < 25
    assert text.splitlines()[-4:-1] == [f"src/m{number}.py:1 run_{number}" for number in range(3)]
    assert text.splitlines()[-1] == "… 3 more results: ask with a larger budget"
    assert "src/m5.py" in compact(found, *others, query=query, budget=4000)
    assert "src/m5.py" in compact(*others, found, query=query)


def test_rest_of_result_begins_after_shown_lines() -> None:
    text = compact(make_long(), query="run_0", budget=400)
    shown = re.search(r"src/m0.py:1-(\d+) run_0", text)
    assert shown
    assert f"… agent-brain read src/m0.py:{int(shown[1]) + 1}-60" in text


def test_compact_shows_copies_members_and_remark() -> None:
    copies = [Copy(source=f"v{n}/lock.py", start_line=1, end_line=4) for n in range(5)]
    members = [ContextLineModel(line=20, text="    def acquire(self):")]
    text = compact(make_result(copies=copies, context=members), remark="Nearest in meaning.")
    assert text.startswith("Nearest in meaning.\n")
    assert "  20: def acquire(self):\n" in text
    assert "  also at v0/lock.py:1-4, v1/lock.py:1-4, v2/lock.py:1-4 and 2 more" in text


def test_compact_part_has_the_signature_of_its_definition() -> None:
    context = [ContextLineModel(line=2, text="def parse(source):")]
    assert compact(make_result(text="x = 1", end_line=10, symbols=[], heading="parse", context=context)).startswith(
        "src/lock.py:10-10 parse · def parse(source):\n"
    )


def test_compact_shows_hidden_characters() -> None:
    text = compact(make_result(text="x = 1\u202e\x1b[2J\U000e0041", symbols=["a\u200bb"], end_line=10))
    assert count_hidden(text) == 0
    assert "x = 1<U+202E>␛[2J<U+E0041>" in text


def test_small_json_has_no_nulls_and_short_scores() -> None:
    document = json.loads(small_json(make_result()))
    assert document["total_results"] == 1
    assert document["results"] == [
        {
            "source": "src/lock.py",
            "start_line": 10,
            "end_line": 13,
            "symbols": ["Lock"],
            "score": 1.235,
            "chunk_id": "0123456789abcdef01234567",
            "text": RELEASE.rstrip("\n"),
        }
    ]


def test_small_json_lists_results_without_room() -> None:
    document = json.loads(small_json(*[make_long(number) for number in range(10)], budget=600))
    assert document["results"][0]["excerpt"] == [20, 59] or "excerpt" in document["results"][0]
    assert len(document["results"]) + len(document["rest"]) == document["total_results"] == 10
    assert document["rest"][-1] == "src/m9.py:1 run_9"


def test_small_json_reports_incomplete_index() -> None:
    document = json.loads(small_json(make_result(), index=STALE, remark="Far."))
    assert document["index"] == {
        "last_indexed_at": "2026-01-02T03:04:05Z",
        "files_pending": 12_345,
        "vector_coverage": 0.5123,
        "watch": "partial",
    }
    assert document["note"] == "Far."
    assert json.loads(small_json(make_result(), index=STALE, budget=50))["index"] == {}
    never = IndexFreshness(last_indexed_at=None, files_pending=0, vector_coverage=1.0)
    assert json.loads(small_json(index=never))["index"] == {"files_pending": 0}


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("budget", [50, 51, 64, 200])
def test_hostile_text_never_exceeds_budget(text: str, budget: int) -> None:
    results = [make_result(text=text, source=f"{n}/{text[:200]}", symbols=[text], heading=text) for n in range(3)]
    for answer in (compact(*results, budget=budget, remark="x"), small_json(*results, budget=budget, index=STALE)):
        assert COUNTER.count(answer) <= budget
        assert count_hidden(answer) == 0
    json.loads(answer)


TEXTS = st.one_of(st.text(max_size=300), st.sampled_from(HOSTILE), st.just(RELEASE))
RESULTS = st.lists(
    st.builds(
        make_result,
        text=TEXTS.filter(bool),
        source=st.text(st.characters(codec="utf-8"), min_size=1, max_size=60),
        symbols=st.lists(st.text(min_size=1, max_size=30), max_size=4),
        heading=st.none() | st.text(max_size=30),
        end_line=st.integers(10, 40),
    ),
    max_size=6,
)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(RESULTS, st.integers(50, 400), st.sampled_from([FRESH, STALE]))
def test_answers_never_exceed_budget(results: list[QueryResult], budget: int, index: IndexFreshness) -> None:
    remark = "No result contains a word of the query; these are the nearest in meaning."
    assert COUNTER.count(compact(*results, budget=budget, remark=remark)) <= budget
    document = small_json(*results, budget=budget, index=index, remark=remark)
    assert COUNTER.count(document) <= budget
    answer = json.loads(document)
    assert len(answer["results"]) + len(answer.get("rest", [])) + answer.get("omitted", 0) == len(results)
