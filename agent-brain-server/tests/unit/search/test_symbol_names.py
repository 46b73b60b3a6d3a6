"""Parse names as people type them."""

import pytest

from agent_brain_server.search.symbol_names import SymbolName, matches_qualifier, parse_symbol_name


@pytest.mark.parametrize("text", ["A::b", "A.b", "A#b", "A->b", "A/b", "A:b", "A\\b", "`A.b()`", "A.b(x, y)", "(*A).b"])
def test_parse_name_splits_every_notation(text: str) -> None:
    assert parse_symbol_name(text) == SymbolName("b", ("A",))


@pytest.mark.parametrize(
    ("text", "name"), [("@route", "route"), ("vector<int>", "vector"), ("empty?", "empty?"), ("__init__", "__init__")]
)
def test_parse_name_removes_decoration(text: str, name: str) -> None:
    assert parse_symbol_name(text) == SymbolName(name)


@pytest.mark.parametrize("text", ["", " ", "()", "::", "x" * 301, "(" * 300])
def test_parse_name_of_no_name_is_none(text: str) -> None:
    assert parse_symbol_name(text) is None


def test_qualifier_matches_files_and_enclosing_names() -> None:
    assert matches_qualifier("starlette/routing.py", "Router.mount", ("Router",))
    assert matches_qualifier("starlette/routing.py", "Router.mount", ("starlette", "Router"))
    assert matches_qualifier("starlette/routing.py", "Router", ("routing",))
    assert not matches_qualifier("starlette/routing.py", "Router.mount", ("Router", "routing"))
    assert not matches_qualifier("starlette/routing.py", "Router.mount", ("router",))
    assert matches_qualifier("starlette/routing.py", "Router.mount", ("router",), ignore_case=True)
