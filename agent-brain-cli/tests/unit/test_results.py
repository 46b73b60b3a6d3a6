"""Results as text."""

from pathlib import Path

import pytest

from agent_brain_cli.results import (
    describe_freshness,
    describe_match,
    format_plain,
    locate,
    prepare_result,
    print_results,
)


def make_result(**changes):
    return {
        "chunk_id": "c" * 24,
        "text": "def release(lock):\n    lock.free()\n",
        "source": "src/locking.py",
        "start_line": 88,
        "end_line": 89,
        "language": "python",
        "source_type": "code",
        "symbols": ["release"],
        "heading": "class Lock",
        "score": 0.875,
        "vector_score": 0.5,
        "bm25_score": None,
        "explanation": None,
    } | changes


def plain(tmp_path: Path, query: str = "release", *, full: bool = False, **changes) -> str:
    return format_plain(prepare_result(make_result(**changes), query, tmp_path, full=full))


@pytest.fixture(autouse=True)
def in_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_plain_result_starts_with_path_and_line(tmp_path):
    lines = plain(tmp_path).splitlines()
    assert lines[0].startswith("src/locking.py:88 ")
    assert "release" in lines[0]
    assert "class Lock" in lines[0]
    assert "0.875" in lines[0]
    assert lines[1:] == ["88  def release(lock):", "89      lock.free()"]


def test_plain_result_shows_part_and_context(tmp_path):
    context = [{"line": 60, "text": "def release(lock):"}, {"line": 91, "text": "def acquire(\u202elock):"}]
    lines = plain(tmp_path, context=context, part=2, parts=4).splitlines()
    assert "part 2 of 4" in lines[0]
    assert lines[1] == "  60  def release(lock):"
    assert lines[-1] == "  91  def acquire(<U+202E>lock):"


def test_plain_result_cuts_long_outline_unless_full(tmp_path):
    context = [{"line": number, "text": f"def f{number}():"} for number in range(100, 130)]
    assert "18 more members (--full shows all)" in plain(tmp_path, context=context)
    assert "129  def f129():" in plain(tmp_path, context=context, full=True)


def test_excerpt_has_line_numbers_of_the_file(tmp_path):
    text = "\n".join(["filler"] * 39 + ["needle()"] + ["filler"] * 20)
    shown = plain(tmp_path, "needle", text=text, start_line=100, end_line=159)
    assert "139  needle()" in shown
    assert "more lines" in shown


def test_full_result_shows_every_line(tmp_path):
    text = "\n".join(f"line {number}" for number in range(60))
    shown = plain(tmp_path, text=text, full=True)
    assert "line 0" in shown
    assert "line 59" in shown
    assert "more lines" not in shown


def test_long_line_is_shortened_unless_full(tmp_path):
    assert len(plain(tmp_path, text="x" * 100_000)) < 1_000
    assert len(plain(tmp_path, text="x" * 100_000, full=True)) > 100_000


def test_plain_result_has_no_escape_sequences(tmp_path):
    shown = plain(tmp_path, text="\x1b[31mred", source="a\x1b]0;x\x07.py", symbols=["s\x9b"], heading="h\u202e")
    assert shown.replace("\n", "").isprintable()


def test_hidden_characters_are_visible_and_counted(tmp_path):
    shown = plain(tmp_path, text="x = 1\U000e0041\u200b", source="a\u202e.py", hidden_characters=3)
    assert "x = 1<U+E0041><U+200B>" in shown
    assert "a<U+202E>.py:" in shown
    assert "3 hidden characters made visible" in shown


def test_locate_returns_path_from_current_directory(tmp_path, monkeypatch):
    (tmp_path / "src").mkdir()
    assert locate("src/a.py", tmp_path) == "src/a.py"
    monkeypatch.chdir(tmp_path / "src")
    assert locate("src/a.py", tmp_path) == "a.py"
    assert locate("docs/b.md", tmp_path) == "../docs/b.md"
    monkeypatch.chdir("/")
    assert locate("src/a.py", tmp_path) == str(tmp_path / "src/a.py")


def test_explanation_names_retrievers_and_signals(tmp_path):
    signals = [{"name": "path_match", "value": 1.0, "contribution": 0.25}]
    shown = plain(tmp_path, explanation=signals)
    assert "vector 0.500" in shown
    assert "bm25" not in shown
    assert "path_match 1.000 (+0.250)" in shown


def test_results_in_a_pipe_have_no_colour(tmp_path, capsys):
    answer = {"results": [make_result(), make_result(source="b.py")]}
    print_results(answer, ["release"], tmp_path, full=False)
    text = capsys.readouterr().out
    assert "\x1b" not in text
    assert "\n\nb.py:88" in text


@pytest.mark.parametrize(
    ("pending", "coverage", "mode", "words"),
    [(0, 1.0, "hybrid", None), (3, 1.0, "hybrid", "3 changed"), (0, 0.4, "hybrid", "40 %"), (0, 0.4, "bm25", None)],
)
def test_describe_freshness_reports_what_is_missing(pending, coverage, mode, words):
    index = {"last_indexed_at": None, "files_pending": pending, "vector_coverage": coverage}
    text = describe_freshness({"index": index, "mode": mode})
    assert text is None if words is None else words in text


def test_describe_match_warns_if_no_word_matches():
    far, near = make_result(), make_result(bm25_score=1.5)
    assert "nearest in meaning" in describe_match({"mode": "hybrid", "results": [far, far]})
    assert describe_match({"mode": "hybrid", "results": [far, near]}) is None
    assert describe_match({"mode": "vector", "results": [far]}) is None


def test_result_shows_copies_and_queries(tmp_path):
    copies = [{"source": f"v{number}/a.py", "start_line": 3, "end_line": 9} for number in range(5)]
    shown = plain(tmp_path, copies=copies, answers=[0, 2])
    assert "also at v0/a.py:3, v1/a.py:3, v2/a.py:3 and 2 more" in shown
    assert "answers 1, 3" in shown.splitlines()[0]


def test_describe_freshness_accepts_answer_within_budget():
    assert describe_freshness({"total_results": 1}) is None
    assert "12 changed files" in describe_freshness({"index": {"files_pending": 12}})
