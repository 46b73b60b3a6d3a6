import hashlib
import io
import json
import os
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_brain_server.indexing.reading.loader import (
    COARSE_TICK_NS,
    FILE_TICK_NS,
    NS_PER_S,
    UNSETTLED_NS,
    is_unsettled,
    load_file,
)
from agent_brain_server.types import FileStat, Skip, SourceText

MAX_BYTES = 100_000


def load(root, path, max_bytes=MAX_BYTES):
    return load_file(root, FileStat(path, 1, 1), max_bytes)


def load_bytes(root, data: bytes, name="file.txt"):
    (root / name).write_bytes(data)
    return load(root, name)


def test_load_file_returns_hash_and_stat(tmp_path):
    data = b"def f():\r\n    return 1\r\n"
    (tmp_path / "a.py").write_bytes(data)
    os.utime(tmp_path / "a.py", ns=(5, 7_000_000_001))
    loaded = load(tmp_path, "a.py")
    assert loaded == SourceText(
        path="a.py",
        text="def f():\r\n    return 1\r\n",
        language="python",
        source_type="code",
        content_hash=hashlib.sha256(data).hexdigest(),
        size=len(data),
        mtime_ns=(tmp_path / "a.py").stat().st_mtime_ns,
    )


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("naïve Zoë ☃\n".encode(), "naïve Zoë ☃\n"),
        (b"\xef\xbb\xbfwords\n", "words\n"),
        ("wörds\n".encode("utf-16"), "wörds\n"),
        (b"\xfe\xff" + "wörds\n".encode("utf-16-be"), "wörds\n"),
        ("wörds\n".encode("utf-32"), "wörds\n"),
        ("Zoë paid 5 € – “cash”\n".encode("cp1252"), "Zoë paid 5 € – “cash”\n"),
        ("äöü ÄÖÜ ".encode() * 20 + b"\xff broken\n", "äöü ÄÖÜ " * 20 + "\ufffd broken\n"),
    ],
)
def test_load_file_decodes_common_encodings(tmp_path, data, text):
    assert load_bytes(tmp_path, data).text == text


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.txt", b"PK\0\3words", "binary"),
        ("a.txt", bytes(range(1, 32)) * 10, "binary"),
        ("a.txt", b"", "empty"),
        ("a.txt", b" \n\t\n", "empty"),
        ("a.js", b"var a=1;" * 1000, "minified"),
        ("a.json", b'{"a": [' + b"1," * 5000 + b"1]}", "minified"),
        ("a.txt", b"x" * (MAX_BYTES + 1), "too_large"),
        ("a.pdf", b"%PDF-1.4 broken", "unreadable_pdf"),
    ],
)
def test_load_file_without_text_is_skipped(tmp_path, name, data, reason):
    assert load_bytes(tmp_path, data, name) == Skip(name, reason)


def test_load_file_keeps_long_line_of_prose(tmp_path):
    assert load_bytes(tmp_path, b"A sentence. " * 1000, "a.md").text.startswith("A sentence.")


def test_load_file_keeps_single_long_line_of_code(tmp_path):
    data = b"x = '" + b"a" * 3000 + b"'\n" + b"def f(): pass\n" * 500
    assert load_bytes(tmp_path, data, "a.py").language == "python"


def test_load_file_skips_links_fifos_and_missing_files(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.txt").write_text("secret")
    root = tmp_path / "root"
    root.mkdir()
    (root / "link.txt").symlink_to(tmp_path / "outside" / "secret.txt")
    (root / "folder").symlink_to(tmp_path / "outside")
    (root / "directory").mkdir()
    os.mkfifo(root / "pipe")
    assert load(root, "link.txt") == Skip("link.txt", "symlink")
    assert load(root, "pipe") == Skip("pipe", "special_file")
    assert load(root, "directory") == Skip("directory", "special_file")
    assert load(root, "missing.txt") == Skip("missing.txt", "missing")
    assert isinstance(load(root, "folder/secret.txt"), Skip)


@pytest.mark.parametrize(
    ("age_ns", "mtime_ns", "unsettled"),
    [
        (1_000_000, 1_700_000_000_123_456_789, True),
        (FILE_TICK_NS, 1_700_000_000_123_456_789, False),
        (FILE_TICK_NS, 1_700_000_000_000_000_000, True),  # a file system with a resolution of seconds
        (COARSE_TICK_NS, 1_700_000_000_000_000_000, False),
        (-1_000_000, 1_700_000_000_123_456_789, True),  # the clock was set back slightly
        (-86_400_000_000_000, 1_700_000_000_123_456_789, False),  # the clock was set back a day
        (1_700_000_000_000_000_000, 0, False),
    ],
)
def test_is_unsettled_near_last_write(age_ns, mtime_ns, unsettled):
    assert is_unsettled(mtime_ns, mtime_ns + age_ns) is unsettled


def test_load_file_right_after_write_records_unsettled(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("first")
    os.utime(path, ns=(5, time.time_ns() // NS_PER_S * NS_PER_S))
    assert load(tmp_path, "a.txt").mtime_ns == UNSETTLED_NS


def test_load_file_changed_since_walk_returns_new_stat(tmp_path):
    (tmp_path / "a.txt").write_text("longer than the walk saw")
    os.utime(tmp_path / "a.txt", ns=(5, 7_000_000_000))
    loaded = load(tmp_path, "a.txt")
    assert (loaded.size, loaded.mtime_ns) == (24, 7_000_000_000)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the user")
@pytest.mark.usefixtures("public_tmp_path")
def test_load_file_unreadable_is_skipped(tmp_path):
    (tmp_path / "a.txt").write_text("words")
    (tmp_path / "a.txt").chmod(0)
    os.seteuid(65534)
    try:
        loaded = load(tmp_path, "a.txt")
    finally:
        os.seteuid(0)
    assert loaded == Skip("a.txt", "unreadable")


def test_load_file_html_keeps_lines(tmp_path):
    page = (
        "<!doctype html>\n<title>Locks</title>\n<style>p { color: red }</style>\n<h2>Release &amp; close</h2>\n"
        "<p>The lock is <b>released</b>\nlast.</p><script>\nlet a = 1 < 2;\n</script>\n<img alt='a padlock'>\n"
    )
    loaded = load_bytes(tmp_path, page.encode(), "a.html")
    rows = loaded.text.split("\n")
    assert rows[1] == "# Locks"
    assert rows[3] == "## Release & close"
    assert rows[4:6] == ["The lock is  released", "last."]
    assert rows[8] == "a padlock"
    assert "red" not in loaded.text
    assert "let a" not in loaded.text
    assert len(rows) == len(page.split("\n"))


def test_load_file_html_template_is_code(tmp_path):
    page = "{% extends 'base.html' %}\n<p class='x'>{{ name }}</p>\n"
    loaded = load_bytes(tmp_path, page.encode(), "a.html")
    assert (loaded.text, loaded.source_type) == (page, "code")


def test_load_file_notebook_returns_cell_sources(tmp_path):
    notebook = {
        "metadata": {"source": "no cell", "count": 1, "x": True},
        "cells": [
            {"cell_type": "markdown", "metadata": {"a": [1, {"source": ["no"]}]}, "source": ["# Títle\n", "words"]},
            {"cell_type": "code", "execution_count": 1, "outputs": [{"text": ["printed"]}], "source": "x = 1\ny = 2"},
        ],
    }
    document = json.dumps(notebook, indent=1)
    rows = load_bytes(tmp_path, document.encode(), "a.ipynb").text.split("\n")
    file_rows = document.split("\n")
    assert len(rows) == len(file_rows)
    found = {row: file_rows[number] for number, row in enumerate(rows) if row}
    assert list(found) == ["# Títle", "words", "x = 1 y = 2"]
    assert "words" in found["words"]
    assert "x = 1" in found["x = 1 y = 2"]


def test_load_file_broken_notebook_is_text(tmp_path):
    assert load_bytes(tmp_path, b"not json }]}", "a.ipynb").text == "not json }]}"


def make_pdf(words: str) -> bytes:
    """Return a minimal PDF of two pages."""
    stream = f"BT /F1 12 Tf 72 720 Td ({words}) Tj ET".encode()
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R 3 0 R]/Count 2>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(stream), stream),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    out = io.BytesIO(b"%PDF-1.4\n")
    out.seek(0, 2)
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(out.tell())
        out.write(b"%d 0 obj\n%s\nendobj\n" % (number, body))
    table = out.tell()
    out.write(b"xref\n0 6\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % offset for offset in offsets))
    out.write(b"trailer<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % table)
    return out.getvalue()


def test_load_file_pdf_returns_text_of_pages(tmp_path):
    loaded = load_bytes(tmp_path, make_pdf("The lock is released last"), "a.pdf")
    assert (loaded.language, loaded.source_type) == ("pdf", "doc")
    assert loaded.text.split("\f") == ["The lock is released last"] * 2


def test_load_file_pdf_without_pypdf_is_skipped(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pypdf", None)
    assert load_bytes(tmp_path, make_pdf("x"), "a.pdf") == Skip("a.pdf", "pdf_extra_not_installed")


@settings(max_examples=150, deadline=None)
@given(data=st.binary(max_size=400), name=st.sampled_from(["a.py", "a.html", "a.ipynb", "a.md", "a", "a.txt", "a.pdf"]))
def test_load_file_any_bytes_return_text_or_skip(tmp_path_factory, data, name):
    loaded = load_bytes(tmp_path_factory.getbasetemp(), data, name)
    if isinstance(loaded, SourceText):
        loaded.text.encode("utf-8")
        assert loaded.text.strip()
        assert loaded.size == len(data)
    else:
        assert loaded.reason.isidentifier()


@settings(max_examples=100, deadline=None)
@given(text=st.text(alphabet=st.sampled_from("<>!/-[]&;\"'=a \n"), max_size=200))
def test_load_file_any_markup_keeps_line_count(tmp_path_factory, text):
    loaded = load_bytes(tmp_path_factory.getbasetemp(), text.encode(), "markup.html")
    if isinstance(loaded, SourceText):
        assert loaded.text.count("\n") == text.count("\n")
