"""Recognize questions about the structure of code."""

import pytest

from agent_brain_server.search.structural import FORMS, parse_structural


@pytest.mark.parametrize(
    ("query", "kind", "target"),
    [
        ("who calls Router.mount?", "callers", "Router.mount"),
        ("Which functions call `ServeHTTP`", "callers", "ServeHTTP"),
        ("find all callers of send()", "callers", "send()"),
        ("where is parse called from", "callers", "parse"),
        ("what uses Context", "uses", "Context"),
        ("find usages of ctx.JSON", "uses", "ctx.JSON"),
        ("where is Mount used?", "uses", "Mount"),
        ("who imports requests", "imports", "requests"),
        ("all subclasses of W", "subclasses", "W"),
        ("which classes inherit from BaseHTTPMiddleware", "subclasses", "BaseHTTPMiddleware"),
        ("what implements the interface IRoutes", "subclasses", "IRoutes"),
        ("classes that extend Foo", "subclasses", "Foo"),
        ("find the tests of Z", "tests", "Z"),
        ("Which tests cover the Router class?", "tests", "Router"),
        ("outline of src/routing.py", "outline", "src/routing.py"),
        ("methods of Engine", "outline", "Engine"),
        ("where is HTTPException defined?", "definition", "HTTPException"),
        ("definition of  A::B", "definition", "A::B"),
        ("what is the default value of `cache_size`?", "values", "cache_size"),
        ("default for Config.timeout", "values", "Config.timeout"),
        ("what is MAX_SIZE set to", "values", "MAX_SIZE"),
        ("What is bodyLimit by default?", "values", "bodyLimit"),
        ("what is gcTime's default", "values", "gcTime"),
        ("what does retries default to?", "values", "retries"),
        ("where is print_leak_warnings initialized?", "values", "print_leak_warnings"),
        ("which value has itersize by default", "values", "itersize"),
        ("the value of the constant LIMIT", "values", "LIMIT"),
    ],
)
def test_parse_structural_finds_kind_and_target(query: str, kind: str, target: str) -> None:
    found = parse_structural(query)
    assert found is not None
    assert (found.kind, found.target) == (kind, target)


@pytest.mark.parametrize(
    "query",
    [
        "where is the lock released?",
        "who calls back after a failure",
        "where would I add an option",
        "how does Router dispatch?",
        "what is in the response body",
        "definition of done for release",
        "what is the default behaviour for large files",
        "where is the cache size set up",
        "what is the value of using an index",
        "tests",
        "Router.mount",
        "who calls X " * 100,
    ],
)
def test_parse_structural_of_other_queries_is_none(query: str) -> None:
    assert parse_structural(query) is None


def test_every_form_in_messages_is_recognized() -> None:
    assert [form for form in FORMS if parse_structural(form) is None] == []
