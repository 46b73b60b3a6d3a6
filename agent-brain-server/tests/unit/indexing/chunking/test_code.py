import re
from pathlib import Path

import pytest

from agent_brain_server.indexing.chunking.code import chunk_source, parse_source
from agent_brain_server.indexing.chunking.source_lines import Limits, SourceLines, estimate_tokens
from agent_brain_server.indexing.files.file_types import detect_language
from agent_brain_server.structure.syntax import SlowSyntaxError
from agent_brain_server.types import ContextLine, SourceText

SAMPLES = sorted((Path(__file__).parents[3] / "data" / "code").iterdir())


def cut(text: str, path: str = "a.py", chunk_size: int = 512):
    source = SourceText(path, text, detect_language(path, b""), "code", "", 0, 0)
    return list(chunk_source(parse_source(SourceLines(text), source), Limits.of_chunk_size(chunk_size, 0)))


def spans(pieces) -> list[tuple[int, int]]:
    return [(piece.start_line, piece.end_line) for piece in pieces]


def function(name: str, statements: int, indent: str = "") -> str:
    body = "".join(f"{indent}    value_{number} = compute(value_{number - 1})\n" for number in range(statements))
    return f"{indent}def {name}(self):\n{body}"


@pytest.mark.parametrize("chunk_size", [32, 60, 120, 512])
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.name)
def test_chunk_source_has_each_line_once(sample, chunk_size):
    text = sample.read_text()
    rows = text.split("\n")
    covered = []
    for piece in cut(text, sample.name, chunk_size):
        assert piece.text == "\n".join(rows[piece.start_line - 1 : piece.end_line])
        covered += range(piece.start_line, piece.end_line + 1)
    assert covered == sorted(set(covered))
    assert {number for number, row in enumerate(rows, 1) if row.strip()} <= set(covered)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.name)
def test_chunk_source_finds_last_function_of_each_language(sample):
    pieces = cut(sample.read_text(), sample.name, 60)
    named = [piece for piece in pieces if piece.symbols]
    assert all(estimate_tokens(piece.text) <= 60 for piece in pieces)
    assert len(named) >= 2


def test_chunk_source_splits_only_large_classes():
    small = "class Small:\n" + function("f", 3, "    ")
    large = "class Large:\n    '''Does much.'''\n\n    limit = 3\n\n" + "\n".join(
        function(name, 20, "    ") for name in ("first", "second", "third")
    )
    pieces = cut(f"{small}\n\n{large}")
    assert [(piece.symbols, piece.heading) for piece in pieces] == [
        (("Small", "f"), None),
        (("Large",), "class Large"),
        (("first",), "class Large"),
        (("second",), "class Large"),
        (("third",), "class Large"),
    ]
    assert spans(pieces)[:2] == [(1, 5), (8, 11)]


def test_chunk_source_splits_long_function_at_statements():
    text = "class C:\n" + function("long", 60, "    ") + "\n" + function("short", 30, "    ")
    pieces = cut(text)
    assert [(piece.symbols, piece.heading, piece.part, piece.parts) for piece in pieces] == [
        (("C",), "class C", 1, 1),
        (("long",), "class C", 1, 2),
        ((), "class C > def long", 2, 2),
        (("short",), "class C", 1, 1),
    ]
    assert [piece.context for piece in pieces] == [
        (ContextLine(2, "def long(self)"), ContextLine(64, "def short(self)")),
        (),
        (ContextLine(2, "def long(self)"),),
        (),
    ]
    assert all(estimate_tokens(piece.text) <= 512 for piece in pieces)


def test_chunk_source_head_of_class_lists_members():
    fields = "    limit = 3\n    # why\n    other = 4\n\n"
    methods = "\n".join(f"    @cached\n{function(name, 20, '    ')}" for name in ("first", "second", "third"))
    head, *members = cut(f"@final\nclass C(B):\n    '''Does much.'''\n\n{fields}{methods}")
    assert (head.start_line, head.end_line) == (1, 7)
    assert head.context == tuple(
        ContextLine(10 + 23 * n, f"def {name}(self)") for n, name in enumerate(["first", "second", "third"])
    )
    assert all(piece.text.startswith("    @cached") for piece in members)


def test_chunk_source_long_list_of_members_has_only_names():
    methods = "".join(f"    def method_{number}(self, first: int, second: str): ...\n" for number in range(100))
    head, *_ = cut(f"class C:\n{methods}")
    assert head.context[0].text == f"def method_{head.end_line - 1}"
    assert sum(estimate_tokens(line.text) for line in head.context) <= 512


def test_chunk_source_long_function_has_head_docstring_and_body():
    docstring = "    '''Explain.\n\n" + "    More words.\n" * 60 + "    '''\n"
    first, *others = cut("@cached\n" + function("long", 60).replace(":\n", ":\n" + docstring, 1))
    assert first.text.startswith("@cached\ndef long(self):")
    assert "value_3 = " in first.text
    assert (first.part, first.parts, first.context) == (1, 1 + len(others), ())
    for number, piece in enumerate(others, 2):
        assert (piece.part, piece.heading, piece.symbols) == (number, "def long", ())
        assert piece.context == (ContextLine(2, "def long(self)"),)


def test_chunk_source_long_first_statement_is_divided():
    text = "def f():\n    if a:\n" + "        call(argument_of_some_length)\n" * 80
    pieces = cut(text)
    assert pieces[0].text.startswith("def f():\n    if a:\n        call")
    assert all(piece.context for piece in pieces[1:])


def test_chunk_source_long_decorator_list_leaves_body_with_head():
    values = "".join(f"    ('some value', {number}),\n" for number in range(60))
    pieces = cut(f"@parametrize([\n{values}])\ndef test_it(value):\n    check(value)\n    check_again(value)\n")
    assert pieces[-1].text.endswith("def test_it(value):\n    check(value)\n    check_again(value)")
    assert [piece.context for piece in pieces] == [(ContextLine(63, "def test_it(value)"),)] * (len(pieces) - 1) + [()]


def test_chunk_source_comment_across_blank_line_stays():
    text = function("other", 40) + "\n# Why it is so.\n\n" + function("f", 40)
    assert cut(text)[-1].text.startswith("# Why it is so.\n\ndef f")


def test_chunk_source_long_comment_carries_signature():
    text = "/**\n" + " * Words about the function.\n" * 150 + " */\nint f() { return 1; }\n"
    pieces = cut(text, "A.java")
    assert pieces[-1].text.endswith("int f() { return 1; }")
    assert all("int f()" in piece.context[0].text for piece in pieces[:-1])


def test_chunk_source_bare_module_stays_with_class():
    methods = "".join(f"    def m{number}(a)\n{'      call(a, b);' * 30}\n    end\n" for number in range(4))
    first, *_ = cut(f"module Acme\n  class Response\n{methods}  end\nend\n", "a.rb")
    assert first.symbols[:2] == ("Acme", "Response")
    assert first.context


def test_chunk_source_call_is_context_of_its_parts():
    cases = "".join(f"  it('works {number}', () => {{\n    check({number})\n  }})\n" for number in range(60))
    before = "import a from 'b'\n\n" + "use(a)\n" * 100
    pieces = cut(f"{before}\ndescribe('closing', () => {{\n{cases}}})\n", "a.js")
    assert pieces[-1].context[0].text == "describe('closing', () => {"


def test_chunk_source_keeps_short_function_separate():
    pieces = cut(function("long", 30) + "\ndef short(): pass\n\n" + function("last", 30) + "call()\n")
    assert [piece.symbols for piece in pieces] == [("long",), ("short",), ("last",)]
    assert pieces[-1].text.endswith("call()")


def test_chunk_source_groups_small_definitions():
    text = "import os\nimport sys\n\nLIMIT = 3\n\n" + "\n".join(f"def f{number}():\n    pass\n" for number in range(5))
    (piece,) = cut(text)
    assert piece.symbols == ("LIMIT", "f0", "f1", "f2", "f3", "f4")


@pytest.mark.parametrize(
    ("path", "leading", "definition"),
    [
        ("a.py", "# why\n# more\n@decorated(\n    1,\n)\n", "def f():\n    pass\n"),
        ("a.rs", "/// why\n#[inline]\n", "fn f() {\n}\n"),
        ("a.go", "// why\n", "func f() {\n}\n"),
        ("A.java", "/**\n * why\n */\n@Deprecated\n", "class A {\n}\n"),
        ("a.js", "/** why */\n", "export function f() {\n}\n"),
        ("a.ts", "@sealed({ a: 1, b: 2 })\n", "class A {\n}\n"),
        ("a.hs", "-- | why\nf :: Int\n", "f = 1\n"),
        ("a.ex", '@doc """\nwhy\n"""\n@spec f :: 1\n', "def f do\n  1\nend\n"),
        ("a.cpp", "// why\ntemplate <typename T>\n", "T f(T a) {\n}\n"),
        ("a.cs", "/// why\n[Obsolete]\n", "class A {\n}\n"),
        ("a.php", "<?php\n/** why */\n#[Pure]\n", "function f() {\n}\n"),
        ("a.lua", "--- why\n", "function f()\nend\n"),
        ("a.rb", "# why (and, so, on, and, on)\n", "def f\nend\n"),
        ("a.sh", "# why\n", "f() {\n  :\n}\n"),
        ("a.kt", "/** why */\n@Inline\n", "fun f() {\n}\n"),
        ("a.swift", "/// why\n@inline\n", "func f() {\n}\n"),
        ("a.zig", "/// why\n", "pub fn f() void {\n}\n"),
    ],
)
def test_chunk_source_keeps_comments_with_definition(path, leading, definition):
    other = re.sub(r"\bf\b", "g", leading.removeprefix("<?php\n") + definition)
    pieces = cut(f"{leading}{definition}\n{other}", path, 40)
    expected = (leading.removeprefix("<?php\n") + definition).strip()
    assert expected in [piece.text.strip().removeprefix("<?php\n") for piece in pieces]


def test_chunk_source_keeps_docstring_with_constant():
    lines = [
        f'LIMIT_{number} = {number}\n"""Why the limit {number} is what it is, at some length."""\n'
        for number in range(40)
    ]
    pieces = cut("\n".join(lines))
    assert len(pieces) > 2
    for piece in pieces:
        assert piece.text.startswith("LIMIT_")
        assert piece.text.rstrip().endswith('"""')


def test_chunk_source_broken_syntax_is_complete():
    text = "def f(:\n    return ]\n\nclass {{{\n" + "x = (\n" * 50 + "def g():\n    pass\n"
    pieces = cut(text, chunk_size=64)
    assert "\n".join(piece.text for piece in pieces).split() == text.split()


def test_chunk_source_deep_nesting():
    text = "".join(" " * depth + "if x:\n" for depth in range(900)) + " " * 900 + "y = 1\n"
    pieces = cut(text)
    assert "\n".join(piece.text for piece in pieces).split() == text.split()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a.c", "(\n" * 60_000),
        ("a.ex", "a " * 9_000 + "\n"),
        ("a.kt", "<" * 19_000 + "\n" + "<" * 19_000),
        ("a.swift", "#" * 90_000),
    ],
)
def test_chunk_source_slow_syntax_raises(path, text):
    with pytest.raises(SlowSyntaxError):
        cut(text, path)
