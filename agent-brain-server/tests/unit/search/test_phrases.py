"""Texts that contain a query's words one after another."""

import pytest

from agent_brain_server.search.phrases import MAX_WORDS, find_runs, match_phrases


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("No name provided for attachment", 'raise TypeError(\n    "No name provided for attachment. Either set"\n)'),
        ('It aborts with "ran out of type slots!". Why?', 'check(n, "%s: ran out of "\n     "type slots!", name);'),
        ("größte Zahl im Fenster überschritten", "throw Fehler('Größte Zahl im Fenster überschritten')"),
        ('I get "pool is exhausted" at night', 'raise PoolError("pool is exhausted")'),
    ],
)
def test_match_phrases_finds_whole_message(query: str, text: str) -> None:
    assert match_phrases(query, {1: text, 2: "def other(): pass"}) == {1: 1.0}


def test_match_phrases_with_placeholder_returns_share() -> None:
    text = "\"The decorator '%s' has been added after start!\""
    assert match_phrases("The decorator 'x' has been added after start", {1: text}) == {1: 5 / 8}


@pytest.mark.parametrize("query", ["attachment name", "no name provided", "word " * (MAX_WORDS + 1), "", '"a b"'])
def test_find_runs_without_phrase_returns_nothing(query: str) -> None:
    assert find_runs(query) == ()


def test_match_phrases_with_scattered_words_returns_nothing() -> None:
    assert match_phrases("which function reads the header", {1: "reads a header; the function which"}) == {}


def test_match_phrases_with_long_run_of_question_returns_share() -> None:
    question = "Which version fixed the scheduler that stopped after scheduling twice during flush?"
    text = "* scheduler: no longer stops after scheduling twice during flush"
    assert match_phrases(question, {1: text}) == {1: 5 / 12}


def test_match_phrases_with_stop_words_alone_returns_nothing() -> None:
    assert match_phrases("is it what it is if it was not to be in this way", {1: "if it was not to be in this"}) == {}


def test_find_runs_groups_by_length() -> None:
    assert find_runs("one two three four five") == (
        (b" one two three four ", b" two three four five "),
        (b" one two three four five ",),
    )
