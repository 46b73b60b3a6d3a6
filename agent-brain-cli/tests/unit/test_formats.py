"""The format of an answer, and short JSON."""

from pathlib import Path

import click
import pytest

from agent_brain_cli.formats import (
    AGENT_VARIABLES,
    asks_for_json,
    choose_format,
    find_paths_from,
    shorten_answer,
)


@pytest.fixture(autouse=True)
def without_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in AGENT_VARIABLES:
        monkeypatch.delenv(name, raising=False)


def choose(chosen=None, *, as_json=False, budget=None, full=False, explain=False):
    return choose_format(chosen, as_json=as_json, budget=budget, full=full, explain=explain)


def test_format_is_text_unless_options_say_otherwise():
    assert choose() == choose(full=True) == choose("text") == "text"
    assert choose(as_json=True) == choose("json") == choose("json", as_json=True, budget=100) == "json"
    assert choose(budget=100) == choose("compact") == "compact"


@pytest.mark.parametrize("name", AGENT_VARIABLES)
def test_format_is_compact_for_agents(name, monkeypatch):
    monkeypatch.setenv(name, "1")
    assert choose() == "compact"
    assert choose("text") == choose(full=True) == choose(explain=True) == "text"
    assert choose(as_json=True) == "json"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert choose() == "text"


@pytest.mark.parametrize(
    "options",
    [
        {"chosen": "text", "as_json": True},
        {"chosen": "text", "budget": 100},
        {"full": True, "budget": 100},
        {"chosen": "compact", "full": True},
        {"chosen": "compact", "explain": True},
        {"budget": 100, "explain": True},
    ],
)
def test_contradicting_options_are_refused(options):
    with pytest.raises(click.UsageError):
        choose(**options)


def test_asks_for_json_knows_every_spelling():
    assert asks_for_json(["query", "x", "--json"])
    assert asks_for_json(["query", "--format", "json", "--bad"])
    assert asks_for_json(["--format=json"])
    assert not asks_for_json(["query", "json", "--format", "text"])


def test_paths_from_is_the_current_directory(tmp_path: Path, monkeypatch):
    (tmp_path / "a/b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert find_paths_from(tmp_path) == ""
    monkeypatch.chdir(tmp_path / "a/b")
    assert find_paths_from(tmp_path) == "a/b"
    assert find_paths_from(tmp_path / "c") == "/"


def test_shorten_answer_drops_nulls_and_digits():
    result = {
        "score": 1.23456,
        "vector_score": None,
        "part": 1,
        "parts": 2,
        "copies": [],
        "symbols": [],
        "bm25_score": 12,
    }
    assert shorten_answer({"results": [result], "query_time_ms": 1.23456, "heading": None}) == {
        "results": [{"score": 1.235, "parts": 2, "symbols": [], "bm25_score": 12}],
        "query_time_ms": 1.23456,
    }
