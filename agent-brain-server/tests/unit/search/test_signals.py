import pytest

from agent_brain_server.search.question import read_question
from agent_brain_server.search.signals import are_relatives, defines_name, lies_deeper, spells_file_name, stem_parts
from agent_brain_server.tokens import stem
from agent_brain_server.types import ChunkFacts


def facts(symbols):
    return ChunkFacts(1, "a.py", 1, 9, "python", "code", symbols, None)


@pytest.mark.parametrize(
    ("query", "symbols", "value"),
    [
        ("flat_hash_map", ("FlatHashMap",), 1.0),
        ("how does parseHeader work", ("Client", "parse_header"), 1.0),
        ("parse header fields quickly", ("parse",), 0.0),
        ("parseHeader", (), 0.0),
    ],
)
def test_a_definition_of_a_named_thing_is_seen(query, symbols, value):
    assert defines_name(read_question(query), facts(symbols)) == value


@pytest.mark.parametrize(
    ("query", "path", "value"),
    [
        ("request throttling and concurrency", "middleware/throttle.go", 1.0),
        ("panic recovery middleware", "middleware/recoverer.go", 1.0),
        ("how are routes matched", "src/router.ts", 1.0),
        ("how are routes matched", "src/route_headers.ts", 0.0),
        ("routing", "routing/__init__.py", 1.0),
        ("routing", "routing/index.ts", 1.0),
        ("main loop", "___", 0.0),
    ],
)
def test_a_file_named_after_what_is_asked_is_seen(query, path, value):
    assert spells_file_name(read_question(query), path) == value


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("validation", "validator", True),
        ("recovery", "recoverer", True),
        ("route", "router", True),
        ("log", "logger", True),
        ("con", "context", False),
        ("io", "iota", False),
        ("compose", "computer", False),
        ("interface", "interpolate", False),
        ("authentic", "authenticator", True),
        ("time", "token", False),
    ],
)
def test_relatives_share_most_of_their_beginning(one, other, expected):
    assert are_relatives(stem(one), stem(other)) is expected
    assert are_relatives(stem(other), stem(one)) is expected


def test_depth_counts_from_the_candidate_nearest_to_the_root():
    assert lies_deeper("src/main/java/org/lang/A.java", 5) == 0.0
    assert lies_deeper("a/b/c.py", 1) == pytest.approx(0.2)
    assert lies_deeper("/".join("abcdefghijk"), 0) == 1.0


def test_hidden_files_have_a_name_too():
    assert stem_parts(".gitignore") == {stem("gitignore")}
