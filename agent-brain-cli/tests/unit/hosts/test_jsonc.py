"""Edits of JSON with comments change nothing but the member."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_brain_cli.hosts import jsonc

SPACES = st.sampled_from(["", " ", "\n", "\r\n", "\t", "\n  ", " // a, {\n", '/* }, " */', "\n\n"])
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=8))
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)
SERVERS = st.dictionaries(st.sampled_from(["a", "b", "servers", 'q"', "é"]), VALUES, max_size=3)
DOCUMENTS = st.dictionaries(st.sampled_from(["x", "y", "//", "z"]), VALUES, max_size=3)


@st.composite
def texts(draw):
    """Return a document and its text with comments, blanks and trailing commas in every place."""
    document = draw(DOCUMENTS)
    if draw(st.booleans()):
        document["servers"] = draw(SERVERS)
    return document, render(draw, document)


def render(draw, value):
    if not isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=draw(st.booleans()))
    items = (
        [
            f"{draw(SPACES)}{json.dumps(key)}{draw(SPACES)}:{draw(SPACES)}{render(draw, inner)}{draw(SPACES)}"
            for key, inner in value.items()
        ]
        if isinstance(value, dict)
        else [f"{draw(SPACES)}{render(draw, inner)}{draw(SPACES)}" for inner in value]
    )
    comma = "," if items and draw(st.booleans()) else ""
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return f"{opening}{','.join(items)}{comma}{draw(SPACES)}{closing}"


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(texts(), st.dictionaries(st.text(max_size=4), VALUES, max_size=2))
def test_insert_then_remove_keeps_the_document(sample, value):
    document, text = sample
    edited = jsonc.insert(text, ("servers", "new"), value)
    expected = {**document, "servers": {**document.get("servers", {}), "new": value}}
    assert jsonc.parse(edited) == expected
    shorter = jsonc.remove(edited, ("servers", "new"))
    assert jsonc.parse(shorter) == {**document, "servers": document.get("servers", {})}
    assert [line for line in ("// a, {", '/* }, " */') if text.count(line) != shorter.count(line)] == []


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(texts())
def test_insert_keeps_every_character(sample):
    _, text = sample
    edited = iter(jsonc.insert(text, ("servers", "new"), {"command": "c"}))
    assert all(character in edited for character in text if not character.isspace())  # a subsequence


@settings(max_examples=40, deadline=None)
@given(st.text(alphabet='{}[]",:/*\\ \nab1e-u', max_size=30))
def test_parse_agrees_with_json(text):
    try:
        expected = json.loads(text)
    except ValueError:
        return
    assert jsonc.parse(text) == expected


@settings(max_examples=40, deadline=None)
@given(st.text(alphabet='{}[]",:/*\\ \nab1', max_size=40))
def test_parse_of_any_text_raises_one_error(text):
    try:
        jsonc.parse(text)
    except jsonc.InvalidJsonError as error:
        assert "line" in str(error)


@pytest.mark.parametrize("text", ["[" * 5_000, '{"a":' * 5_000, "{" + " " * 100_000, '{"a": 1, "a": 2}'])
def test_insert_refuses_hostile_text(text):
    with pytest.raises(jsonc.InvalidJsonError):
        jsonc.insert(text, ("b", "c"), 1) and jsonc.insert(text, ("a", "c"), 1)
