"""Files that are expensive to parse: every format with every pattern, 600 in all."""

import json
import zlib
from collections.abc import Callable, Iterator

SIZE = 250_000
"""Bytes of most files: below the size from which a file is read after all others."""

LARGE_SIZE = 950_000
"""Bytes of generated sources: just below the default of `max_file_bytes`."""

LINE = 80

FORMATS = """
    py js ts tsx cs swift java go rs c cpp h rb php kt scala lua hs ex zig sh
    md rst html adoc tex org ipynb json yaml css sql txt pem
""".split()  # noqa: SIM905 - shorter than a list of literals

NESTED = {
    "html": "<div><table><tr><td>",
    "md": "> - ",
    "rst": "* ",
    "ipynb": '{"cells":[',
    "json": '{"a":[',
    "py": "(lambda: ",
    "rb": "begin ",
    "hs": "let x = ",
    "sh": "$( ",
    "lua": "function() ",
    "ex": "fn -> ",
    "tex": r"\begin{a}{",
    "yaml": "[{a: ",
}
"""Text that opens a level, for formats that do not use braces."""

GENERATED = {
    "py": "class C{n}(B{n}):\n    def m{n}(self, a, b=1):\n        return [a, b, {{'k': self.x}}]\n",
    "js": "class C{n} extends B {{ m{n}(a, b) {{ return a.map(x => x + b) }} }}\nconst f{n} = (a) => ({{k: a}})\n",
    "ts": "export interface I{n}<T> {{ a: T; m(x: Array<I{n}<T>>): Promise<T | undefined> }}\n",
    "tsx": "export const C{n} = (p: P<{n}>) => <div a={{p.x}}><B k='v'>text {{p.y}}</B></div>;\n",
    "cs": "public class C{n}<T> : B {{ public int P {{ get; set; }} int M(T a) => a is X x ? x.y : F<T>(a)[0]; }}\n",
    "swift": "struct S{n}<T: P> {{ var a: [T] = []; func m(_ x: T) -> T? {{ a.first {{ $0 == x && !x.b }} }} }}\n",
    "java": "class C{n}<T> {{ private int a; @Override public T m(List<? extends T> x) {{ return x.get(0); }} }}\n",
    "go": 'type T{n} struct {{ a int }}\nfunc (t *T{n}) M(x map[string][]int) int {{ return x["a"][0] }}\n',
    "rs": "pub struct S{n}<'a, T> {{ a: &'a T }}\nimpl<'a, T> S{n}<'a, T> {{ fn m(&self) -> &T {{ self.a }} }}\n",
    "c": "struct s{n} {{ int a; }};\nstatic int f{n}(struct s{n} *x, int y) {{ return x->a ? y : (int)(x->a * y); }}\n",
    "cpp": "template <class T> class C{n} : public B<T> {{ T m(const T& a) const {{ return a < b > (c); }} }};\n",
    "h": "#define M{n}(a, b) ((a) + (b))\nextern int f{n}(int (*g)(void), char *x[]);\n",
    "rb": "class C{n} < B\n  def m{n}(a, b: 1) = a.map {{ |x| x + b }}\nend\n",
    "php": "<?php class C{n} {{ public function m(?int $a): array {{ return ['k' => $a, \"x{{$a}}\"]; }} }} ?>\n",
    "kt": "data class C{n}<T>(val a: T) {{ fun m(x: List<T>): T? = x.firstOrNull {{ it == a }} ?: null }}\n",
    "scala": "case class C{n}[T](a: T) {{ def m(x: Seq[T])(implicit o: O[T]): Option[T] = x.find(_ == a) }}\n",
    "lua": "local function f{n}(a, b)\n  return {{ k = a, [1] = b }}\nend\n",
    "hs": "data D{n} a = A{n} a | B{n} {{ f{n} :: Int }}\ng{n} :: Int -> Int\ng{n} x = case x of {{ y -> y }}\n",
    "ex": "defmodule M{n} do\n  def f(a, b \\\\ 1), do: a |> Enum.map(&(&1 + b))\nend\n",
    "zig": "const S{n} = struct {{ a: u8, fn m(self: S{n}) !u8 {{ return if (self.a > 0) self.a else 1; }} }};\n",
    "sh": 'f{n}() {{ local a="$(echo "${{1:-x}}" | sed \'s/a/b/\')"; [[ $a == *x* ]] && echo "$a"; }}\n',
    "md": "### Heading {n} with `code`\n- item **{n}** [a](b)\n\n| a | b |\n|---|---|\n| {n} | x |\n\n",
    "rst": "Title {n}\n=========\n\n.. note:: text {n}\n\n+---+---+\n| a | b |\n+---+---+\n\n",
    "html": "<h2>Heading {n}</h2><table><tr><td>{n}</td><td><a href='x'>&amp;&lt;</a></td></tr></table>\n",
    "adoc": "== Title {n}\n\n* item\n|===\n|a |b\n|===\n",
    "tex": "\\section{{Title {n}}}\n\\begin{{itemize}}\\item $a_{n}$\\end{{itemize}}\n",
    "org": "* Title {n}\n** Sub\n| a | b |\n",
    "ipynb": '{{"cell_type":"code","source":["x = {n}\\n"],"outputs":[{{"data":{{"text/plain":["{n}"]}}}}]}},\n',
    "json": '{{"id":{n},"a":[1,2,{{"b":null}}]}},\n',
    "yaml": "- id: {n}\n  a: &x{n} {{b: [1, 2]}}\n  c: *x{n}\n",
    "css": ".c{n} > a:not(.b)::after {{ content: 'x'; margin: calc(1px + {n}px) }}\n",
    "sql": "INSERT INTO t{n} VALUES ({n}, 'a''b', (SELECT max(x) FROM u WHERE y IN (1, 2)));\n",
    "txt": "Sentence {n}, e.g. of Dr. No... and so on! Is it? Yes.\n",
    "pem": "-----BEGIN CERTIFICATE-----\nMIIB{n}AgIBAaA=\n-----END CERTIFICATE-----\n",
}
"""A definition of each format, repeated until the file is large."""


def _repeat(unit: str, size: int = SIZE) -> str:
    return unit * (size // max(len(unit.encode()), 1))


def _wrap(text: str) -> str:
    return "\n".join(text[start : start + LINE] for start in range(0, len(text), LINE))


def _generate(extension: str, size: int = LARGE_SIZE) -> str:
    unit = GENERATED[extension]
    return "".join(unit.format(n=number) for number in range(size // len(unit)))


def _nest(extension: str, size: int = SIZE) -> str:
    return _repeat(NESTED.get(extension, "a({["), size)


PATTERNS: dict[str, Callable[[str], str]] = {
    "blanks": lambda _: f"#{' ' * SIZE}x\n# a{' ' * SIZE}#\n",
    "blank-file": lambda _: "begin\n" + " " * (3 * SIZE) + "\nend\n",
    "line": lambda _: "a" * SIZE,
    "brackets": lambda _: _wrap(_repeat("([{")),
    "comments": lambda _: _wrap(_repeat("/* <!-- {- ")),
    "quotes": lambda _: _wrap(_repeat("\"'`")),
    "unclosed": lambda extension: 'x = "' + _generate(extension, SIZE),
    "newlines": lambda _: "a\n" + "\n" * SIZE + "b\n",
    "line-ends": lambda _: _repeat("a\r\nb\rc\n\x0b\x0c\u2028"),
    "unicode": lambda _: _wrap(_repeat("e\u0301\U0001f468\u200d\U0001f469\ufdfd\u4e2d ")),
    "nul": lambda extension: "\0".join(_generate(extension, SIZE).split(" ")),
    "tokens": lambda _: _wrap(_repeat("a b;c,d ")),
    "operators": lambda _: "x = " + _wrap(_repeat("a + -b * !c < d > ")),
    "generated": _generate,
    "nested": lambda extension: _wrap(_nest(extension, LARGE_SIZE)),
    "nested-line": lambda extension: _nest(extension)[:19_000],
    "minified": lambda extension: _generate(extension, SIZE).replace("\n", " "),
}


def hostile_files() -> Iterator[tuple[str, bytes]]:
    """Yield the name and content of every file."""
    for extension in FORMATS:
        for pattern, make in PATTERNS.items():
            yield f"{extension}/{pattern}.{extension}", make(extension).encode()
    yield from _hostile_notebooks()
    yield from _hostile_pdfs()


def _hostile_notebooks() -> Iterator[tuple[str, bytes]]:
    cell = {"cell_type": "code", "source": ["x = 1\n"] * 5, "outputs": [{"data": {"image/png": "A" * 5_000}}]}
    yield "ipynb/outputs.ipynb", json.dumps({"cells": [cell] * 180}).encode()
    yield "ipynb/no-cells.ipynb", b'{"cells": "' + b"\\u0041" * 150_000 + b'"}'
    yield "ipynb/one-source.ipynb", json.dumps({"cells": [{"source": ["a\n"] * 100_000}]}).encode()


def _hostile_pdfs() -> Iterator[tuple[str, bytes]]:
    page = b"BT /F1 12 Tf 72 712 Td (words on a page) Tj ET\n"
    bomb = zlib.compress(b"(word) Tj " * 20_000_000, 9)
    streams = {
        "pages": (page, 1_500, b""),
        "text": (page * 18_000, 1, b""),
        "marks": (b"q " * 400_000, 1, b""),
        "arrays": (b"[" * 400_000, 1, b""),
        "dictionaries": (b"<<" * 400_000, 1, b""),
        "strings": (b"(" * 800_000, 1, b""),
        "names": (b"/" * 800_000, 1, b""),
        "numbers": (b"1 " * 400_000, 1, b""),
        "images": (b"BI /W 1 /H 1 ID x EI " * 30_000, 1, b""),
        "one-image": (b"BI /W 1 ID " + b"E" * 800_000, 1, b""),
        "bomb": (bomb, 1, b"/Filter /FlateDecode"),
        "bombs": (zlib.compress(b"(word) Tj " * 2_000_000, 9), 40, b"/Filter /FlateDecode"),
        "double-bomb": (zlib.compress(bomb, 9), 1, b"/Filter [/FlateDecode /FlateDecode]"),
        "hex": (b"0" * 800_000, 1, b"/Filter /ASCIIHexDecode"),
        "base85": (b"z" * 400_000, 1, b"/Filter /ASCII85Decode"),
        "lzw": (b"\x80\x0b\x60\x50" * 150_000, 1, b"/Filter /LZWDecode"),
        "run-length": (b"\x81a" * 300_000, 1, b"/Filter /RunLengthDecode"),
    }
    for name, (content, count, attributes) in streams.items():
        yield f"pdf/{name}.pdf", _write_pdf(content, count, attributes)
    yield "pdf/deep.pdf", b"%PDF-1.4\n" + b"1 0 obj " + b"[" * 300_000
    yield "pdf/objects.pdf", b"%PDF-1.4\n" + b"".join(b"%d 0 obj null endobj\n" % n for n in range(40_000))


def _write_pdf(content: bytes, page_count: int, attributes: bytes) -> bytes:
    """Return a PDF whose pages share one content stream."""
    first_page = 4
    kids = b" ".join(b"%d 0 R" % (first_page + number) for number in range(page_count))
    page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 3 0 R /Resources << >> >>"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Count %d /Kids [%s] >>" % (page_count, kids),
        b"<< /Length %d %s >> stream\n%s\nendstream" % (len(content), attributes, content),
        *[page] * page_count,
    ]
    data = bytearray(b"%PDF-1.4\n")
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(data))
        data += b"%d 0 obj %s endobj\n" % (number, body)
    start = len(data)
    data += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    data += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    data += b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, start)
    return bytes(data)
