"""Every grammar loads, sound code is parsed, and what would take too long is refused in time."""

import gc
import sys
import threading
import time
import tracemalloc

import pytest

from agent_brain_server.indexing.chunking import syntax
from agent_brain_server.indexing.chunking.syntax import (
    GRAMMARS,
    MAX_PARSE_SECONDS,
    SlowSyntaxError,
    find_definitions,
    grammar_name,
    has_grammar,
    load_grammar,
    parse,
)

PATIENCE = 10
"""Times the limit: the machine may be busy, but a parser that is not stopped takes minutes."""


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
