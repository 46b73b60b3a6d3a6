"""Parsing with every grammar, its limits, and the definitions that are found."""

import gc
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import pytest

from agent_brain_server.indexing.files.file_types import detect_language
from agent_brain_server.structure import syntax
from agent_brain_server.structure.definition_queries import DEFINITION_QUERIES
from agent_brain_server.structure.syntax import (
    GRAMMARS,
    MAX_PARSE_SECONDS,
    SlowSyntaxError,
    find_definitions,
    grammar_name,
    has_grammar,
    load_grammar,
    parse,
    unqualify,
)

PATIENCE = 10
"""Factor on the limit for busy machines; without the limit, parsing takes minutes."""


@pytest.mark.parametrize("name", GRAMMARS)
def test_load_grammar_each_loads_once_and_parses(name):
    assert load_grammar(name) is load_grammar(name)
    assert parse(b"x\n", name).root_node.end_byte == 2


def test_grammar_name_tsx():
    assert grammar_name("typescript", "src/App.TSX") == "tsx"
    assert grammar_name("typescript", "src/app.ts") == "typescript"
    assert grammar_name("python", "a.tsx") == "python"
    assert not parse(b"const a = <b>{c}</b>;", "tsx").root_node.has_error
    assert parse(b"const a = <b>{c}</b>;", "typescript").root_node.has_error


def test_has_grammar_unknown_language():
    assert has_grammar("rust")
    assert not has_grammar("cobol")


def test_parse_text_longer_than_buffer():
    data = b"".join(b"def f_%d():\n    return %d\n" % (number, number) for number in range(10_000))
    assert len(data) > 4 * syntax.READ_BYTES
    assert len(parse(data, "python").root_node.children) == 10_000


@pytest.mark.parametrize(
    "data", [b"(" * 50_000, b"a = " + b"[" * 50_000 + b"]" * 50_000, b"} ) ] " * 60_000], ids=["open", "deep", "wrong"]
)
def test_parse_degenerate_file_raises(data):
    began = time.thread_time()
    with pytest.raises(SlowSyntaxError):
        parse(data, "python")
    assert time.thread_time() - began < PATIENCE * MAX_PARSE_SECONDS


def test_parse_timeout_raises(monkeypatch):
    monkeypatch.setattr(syntax, "MAX_PARSE_SECONDS", 0.0)
    with pytest.raises(SlowSyntaxError, match="parsing takes too long"):
        parse(b"def f():\n    return 1\n" * 50_000, "python")


def make_source(number, functions):
    return b"".join(b"const value_%d_%d = require_nothing(%d);\n" % (number, at, at) for at in range(functions))


@pytest.mark.parametrize("functions", [10, 5_000], ids=["one part", "several parts"])
def test_parse_releases_text(functions):
    source = make_source(0, functions)
    held = sys.getrefcount(source)
    tree = parse(source, "javascript")
    assert find_definitions(tree, source, "javascript").find_symbols(0, 1) == ("value_0_0",)
    del tree
    gc.collect()
    assert sys.getrefcount(source) == held


@pytest.mark.slow
def test_parse_many_files_in_constant_memory():
    def parse_some(numbers):
        for number in numbers:
            find_definitions(parse(source := make_source(number, 200), "javascript"), source, "javascript")

    parse_some(range(20))
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    parse_some(range(100))
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 100 * len(make_source(0, 200)) / 10


@pytest.mark.slow
def test_parse_in_several_threads():
    expected = {number: str(parse(make_source(number, 2_000 + number), "javascript").root_node) for number in range(4)}
    found = {}

    def parse_often(number):
        for _ in range(5):
            found[number] = str(parse(make_source(number, 2_000 + number), "javascript").root_node)

    threads = [threading.Thread(target=parse_often, args=(number,)) for number in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == expected


SAMPLES = Path(__file__).parents[2] / "data" / "code"

EXPECTED: dict[str, dict[int, str]] = {
    "Sample.java": {
        7: "Client",
        8: "MAX_RETRIES",
        10: "Client",
        14: "send",
        17: "State",
        22: "Sender",
        23: "send",
        26: "Point",
        29: "Marker",
    },
    "sample.c": {
        3: "MAX_RETRIES",
        4: "SQUARE",
        6: "client",
        8: "client_t",
        10: "options",
        14: "state",
        17: "send_data",
        22: "client_name",
    },
    "sample.cpp": {
        5: "kMaxRetries",
        8: "Client",
        10: "Client",
        11: "~Client",
        12: "send",
        19: "Box",
        23: "send",
        27: "largest",
    },
    "sample.cs": {
        7: "Client",
        9: "MaxRetries",
        11: "Client",
        15: "Host",
        17: "Send",
        22: "ISender",
        24: "Send",
        27: "State",
        29: "Point",
        31: "Answer",
        33: "Handler",
    },
    "sample.ex": {
        1: "Client",
        12: "send",
        16: "attempt",
        18: "retry",
        23: "Sender",
        24: "send",
        28: "send",
    },
    "sample.go": {
        5: "MaxRetries",
        8: "defaultHost",
        12: "Client",
        16: "Sender",
        17: "Send",
        21: "Send",
        25: "Connect",
    },
    "sample.hs": {
        6: "Client",
        10: "Port",
        12: "Handler",
        14: "Sender",
        15: "send",
        21: "connect",
        22: "connect",
        23: "connect",
        25: "maxRetries",
        26: "maxRetries",
    },
    "sample.js": {
        3: "LIMIT",
        6: "Client",
        7: "constructor",
        11: "open",
        16: "connect",
        20: "parse",
        22: "close",
        26: "reset",
    },
    "sample.kt": {
        5: "MAX_RETRIES",
        9: "Client",
        10: "send",
        14: "open",
        18: "Sender",
        19: "send",
        22: "Registry",
        24: "State",
        26: "Handler",
        28: "connect",
    },
    "sample.lua": {
        3: "MAX_RETRIES",
        5: "Client",
        8: "send",
        12: "open",
        16: "connect",
        20: "close",
    },
    "sample.php": {
        7: "MAX_RETRIES",
        11: "Client",
        13: "LIMIT",
        15: "send",
        20: "Sender",
        22: "send",
        25: "Closes",
        27: "close",
        30: "State",
        35: "connect",
    },
    "sample.py": {
        5: "MAX_RETRIES",
        8: "Client",
        11: "Options",
        14: "__init__",
        19: "send",
        20: "attempt",
        26: "connect",
    },
    "sample.rb": {
        3: "Net",
        4: "MAX_RETRIES",
        7: "Client",
        10: "initialize",
        14: "open",
        20: "connect",
    },
    "sample.rs": {
        3: "MAX_RETRIES",
        7: "Client",
        11: "State",
        15: "Sender",
        16: "send",
        20: "send",
        23: "wire",
        24: "encode",
        27: "retry",
        31: "Answer",
        33: "connect",
    },
    "sample.scala": {
        6: "Client",
        7: "send",
        11: "Client",
        12: "MaxRetries",
        13: "open",
        16: "Sender",
        17: "send",
        20: "Point",
        22: "State",
    },
    "sample.sh": {
        4: "MAX_RETRIES",
        7: "send_file",
        11: "connect",
    },
    "sample.swift": {
        3: "maxRetries",
        6: "Client",
        10: "send",
        14: "Point",
        18: "State",
        22: "Sender",
        23: "send",
        27: "close",
        31: "Pool",
        34: "Handler",
        36: "connect",
    },
    "sample.ts": {
        3: "Options",
        7: "Handler",
        9: "State",
        14: "Wire",
        15: "encode",
        21: "Client",
        22: "close",
        24: "send",
        27: "connect",
        29: "describe",
    },
    "sample.tsx": {
        3: "Props",
        5: "Header",
        7: "Page",
    },
    "sample.zig": {
        3: "max_retries",
        6: "Client",
        9: "send",
        15: "State",
        17: "connect",
    },
}
"""Sample file to the names that it defines, in the order of lines."""


def test_definition_queries_cover_every_grammar():
    sampled = {grammar_name(detect_language(name, b""), name) for name in EXPECTED}
    assert set(DEFINITION_QUERIES) == set(GRAMMARS) == sampled
    assert set(EXPECTED) == {path.name for path in SAMPLES.iterdir()}


@pytest.mark.parametrize("name", EXPECTED)
def test_find_definitions_in_each_language(name):
    data = (SAMPLES / name).read_bytes()
    grammar = grammar_name(detect_language(name, data), name)
    definitions = find_definitions(parse(data, grammar), data, grammar)
    found = {row + 1: definitions.find_symbols(row, row + 1) for row in range(data.count(b"\n"))}
    assert {line: symbols for line, symbols in found.items() if symbols} == {
        line: (symbol,) for line, symbol in EXPECTED[name].items()
    }


def test_find_symbols_outermost_first_without_duplicates():
    source = b"class A:\n    def f(self): pass\nclass B:\n    def f(self):\n        def g(): pass\n"
    definitions = find_definitions(parse(source, "python"), source, "python")
    assert definitions.find_symbols(0, 5) == ("A", "B", "f", "g")
    assert definitions.find_symbols(1, 3) == ("B", "f")


def test_find_definitions_omits_imports():
    for grammar, source in {
        "javascript": b"const fs = require('fs');\nconst a = await import('a');\nconst limit = 3;\n",
        "lua": b"local fs = require('fs')\nlocal limit = 3\n",
        "zig": b'const fs = @import("fs");\nconst limit = 3;\n',
    }.items():
        assert find_definitions(parse(source, grammar), source, grammar).find_symbols(0, 9) == ("limit",)


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("send", "send"),
        ("net::Client<T>", "Client"),
        ("Net.Client", "Client"),
        ("A\\B", "B"),
        ("operator<", "operator"),
    ],
)
def test_unqualify_returns_last_part(name, symbol):
    assert unqualify(name) == symbol
