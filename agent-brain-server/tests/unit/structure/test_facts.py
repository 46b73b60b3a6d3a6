"""Definitions and references of files."""

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_brain_server.indexing.files.file_types import detect_language
from agent_brain_server.structure.facts import MAX_DEFINITIONS, extract_facts
from agent_brain_server.structure.heads import MAX_SIGNATURE
from agent_brain_server.structure.references import MAX_REFERENCES
from agent_brain_server.structure.syntax import find_definitions, grammar_name, parse
from agent_brain_server.types import SyntaxFacts

SAMPLES = Path(__file__).parents[2] / "data" / "code"

HOSTILE_SECONDS = 20.0
"""Seconds of CPU, generous; quadratic code takes minutes."""


def extract(data: bytes, path: str = "a.py") -> SyntaxFacts:
    grammar = grammar_name(detect_language(path, data), path)
    tree = parse(data, grammar)
    return extract_facts(tree, data, grammar, find_definitions(tree, data, grammar))


def test_extract_facts_python_definitions():
    facts = extract((SAMPLES / "sample.py").read_bytes())
    assert [(found.kind, found.qualified_name, found.start_line, found.end_line) for found in facts.definitions] == [
        ("constant", "MAX_RETRIES", 5, 5),
        ("class", "Client", 8, 23),
        ("class", "Client.Options", 11, 12),
        ("def", "Client.__init__", 14, 15),
        ("def", "Client.send", 17, 23),
        ("def", "Client.send.attempt", 20, 21),
        ("def", "connect", 26, 27),
    ]
    connect = facts.definitions[6]
    assert (connect.name, connect.signature, connect.parent) == ("connect", "async def connect(host)", None)
    assert facts.definitions[1].documentation == "Talks to one host."
    assert not facts.is_partial


def test_extract_facts_python_references():
    facts = extract((SAMPLES / "sample.py").read_bytes())
    found = {(use.name, use.line, use.kind, use.scope) for use in facts.references}
    assert {
        ("functools", 3, "import", None),
        ("dict", 11, "inherit", 2),
        ("wraps", 18, "call", 1),
        ("attempt", 23, "call", 4),
        ("Client", 27, "call", 6),
    } <= found
    assert "connect" not in {name for name, *_ in found}


def test_extract_facts_broken_file_is_partial():
    facts = extract(b"def send(request):\n    return request\n\nclass (:\n")
    assert facts.is_partial
    assert facts.definitions[0].name == "send"


def test_extract_facts_decorated_definition_starts_at_comment():
    facts = extract(b"x = 1\n\n# Sends. Twice.\n@wraps\n@other(1)\nasync def send(\n    data,\n):\n    return 1\n")
    send = facts.definitions[1]
    assert (send.start_line, send.name_line, send.end_line) == (3, 6, 9)
    assert (send.signature, send.documentation) == ("async def send( data, )", "Sends.")


def test_extract_facts_reference_once_per_line_and_scope():
    facts = extract(b"a(b, b)\na(b)\n\ndef f():\n    a(b, b)\n")
    assert [(use.name, use.line, use.kind, use.scope) for use in facts.references] == [
        ("a", 1, "call", None), ("b", 1, "use", None), ("a", 2, "call", None), ("b", 2, "use", None),
        ("a", 5, "call", 0), ("b", 5, "use", 0),
    ]  # fmt: skip


def test_extract_facts_local_variable_hides_only_bare_names():
    facts = extract(
        b"def f(timeout):\n    self.timeout = timeout\n    g(timeout=timeout)\n    global limit\n    limit = 1\n"
    )
    assert [(use.name, use.line) for use in facts.references] == [
        ("self", 2), ("timeout", 2), ("g", 3), ("timeout", 3), ("limit", 4), ("limit", 5),
    ]  # fmt: skip


def test_extract_facts_export_list_is_no_reference():
    assert {use.name for use in extract(b'__all__ = ["send"]\n').references} == set()


@pytest.mark.parametrize("text", ["def {}(): pass\n", "class C:\n    {} = 1\n", "x.{}()\n"])
def test_extract_facts_huge_name_is_cut_or_left_out(text):
    facts = extract(text.format("a" * 1_000_000).encode())
    names = [found.name for found in facts.definitions] + [use.name for use in facts.references]
    assert max(map(len, names), default=0) <= 100
    assert all(len(found.signature) <= MAX_SIGNATURE for found in facts.definitions)


@pytest.mark.slow
def test_extract_facts_counts_are_bounded():
    facts = extract(b"".join(b"def f%d(): return g%d(h, i, j, k)\n" % (n, n) for n in range(25_000)))
    assert len(facts.definitions) == MAX_DEFINITIONS
    assert len(facts.references) == MAX_REFERENCES
    assert facts.definitions[-1].name == f"f{MAX_DEFINITIONS - 1}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a.c", "int " + ", ".join(f"v{n}" for n in range(8_000)) + ";\n"),
        ("a.py", "".join(f"{' ' * n}def f{n}(a{n}):\n" for n in range(150)) + " " * 150 + "pass\n" * 8_000),
        ("a.py", "def f(" + ", ".join(f"a{n}" for n in range(3_000)) + "):\n" + "    def g(b): b\n" * 3_000),
        ("a.js", "/* a */\n" * 8_000 + "const a = 1, " + ", ".join(f"b{n} = 1" for n in range(8_000)) + ";\n"),
        ("a.rb", "# a\n" * 8_000 + "attr_reader " + ", ".join(f":b{n}" for n in range(8_000)) + "\n"),
        ("a.go", "const (\n" + "".join(f"\tA{n} = iota // b\n" for n in range(8_000)) + ")\n"),
    ],
    ids=["declarators", "nested", "parameters", "comments", "symbols", "constants"],
)  # fmt: skip
def test_extract_facts_of_hostile_file_takes_linear_time(path, text):
    began = time.thread_time()
    facts = extract(text.encode(), path)
    assert time.thread_time() - began < HOSTILE_SECONDS
    assert len(facts.definitions) + len(facts.references) > 100


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(
    name=st.sampled_from(sorted(path.name for path in SAMPLES.iterdir())),
    start=st.integers(0, 1_000),
    removed=st.integers(0, 200),
    inserted=st.text("(){}[]<>\"'`#/*:;=\n \\é_aA0", max_size=20),
)
def test_extract_facts_broken_samples_are_consistent(name, start, removed, inserted):
    whole = (SAMPLES / name).read_bytes()
    data = whole[:start] + inserted.encode() + whole[start + removed :]
    facts = extract(data.decode("utf-8", "replace").encode(), name)
    lines = data.count(b"\n") + 1
    for index, found in enumerate(facts.definitions):
        assert 1 <= found.start_line <= found.name_line <= found.end_line <= lines
        assert found.parent is None or 0 <= found.parent < index
        assert found.name and "\n" not in found.signature + found.documentation
    assert len(set(facts.references)) == len(facts.references)
    assert [use.line for use in facts.references] == sorted(use.line for use in facts.references)
    for use in facts.references:
        assert use.scope is None or 0 <= use.scope < len(facts.definitions)
    assert facts == extract(data.decode("utf-8", "replace").encode(), name)
