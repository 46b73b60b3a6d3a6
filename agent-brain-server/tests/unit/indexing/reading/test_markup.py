"""Converting HTML, notebooks and PDFs to text."""

import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pypdf import PdfWriter

from agent_brain_server.indexing.reading.markup import PAGE_BREAK, render_html, render_notebook, render_pdf


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("<p>one</p>\n<p>two</p>", "one\ntwo"),
        ("<h2>Title\nof two lines</h2>", "## Title\nof two lines"),
        ("<script>var x;\n</script>\nseen", "\n\nseen"),
        ("<svg><title>t</title></svg>after", "after"),
        ("<style>p{}</style><template>x<p>y</p></template>z", "z"),
        ('<img alt="A whale">', "A whale"),
        ('<img alt="" src="x.png"/>', ""),
        ("a &amp; b &#228;", "a & b ä"),
        ("<p>un<b>closed", "un closed"),
        ("<svg/>seen", "seen"),
        ("</script>seen", "seen"),
        ("<script>never closed\nseen?", "\n"),
        ("<!-- hidden -->\nseen", "\nseen"),
        ("plain", "plain"),
    ],
)
def test_render_html_keeps_visible_text(markup, text):
    assert render_html(markup) == text


@pytest.mark.slow
@given(
    st.lists(
        st.sampled_from(
            ["<p>", "</p>", "<script>", "</script>", "<![", "<!", "<?", "]]>", "\n", "x", "&#", "<h1>", '"']
        )
    )
)
@settings(max_examples=300, deadline=None)
def test_render_html_any_markup_keeps_line_count(parts):
    markup = "".join(parts)
    assert render_html(markup).count("\n") == markup.count("\n")


def test_render_notebook_keeps_line_numbers():
    document = json.dumps(
        {"cells": [{"cell_type": "code", "source": ["import os\n", "os.getcwd()"], "outputs": [{"text": "no"}]}]},
        indent=1,
    )
    rendered = render_notebook(document).split("\n")
    lines = document.split("\n")
    assert len(rendered) == len(lines)
    assert [(lines.index(line), text) for line, text in zip(lines, rendered, strict=True) if text] == [
        (next(i for i, line in enumerate(lines) if "import os" in line), "import os"),
        (next(i for i, line in enumerate(lines) if "getcwd" in line), "os.getcwd()"),
    ]


def test_render_notebook_joins_lines_and_omits_metadata():
    document = '{"metadata": {"source": "no"}, "cells": [{"source": "a\\nb", "id": "c"}, {"source": "\\ud800"}]}'
    assert render_notebook(document) == "a b ?"


@pytest.mark.parametrize(
    "document", ["", "no json", "[1, 2]", '{"cells": []}', '}{]["cells', '{"cells": [{"source": "']
)
def test_render_notebook_other_json_is_unchanged(document):
    assert render_notebook(document) == document


def test_render_notebook_invalid_string_is_kept_raw():
    assert render_notebook('{"cells": [{"source": "a\\qb"}]}') == "a\\qb"


def make_pdf(pages: int, password: str | None = None) -> bytes:
    writer = PdfWriter()
    for _ in range(pages):
        writer.add_blank_page(72, 72)
    if password:
        writer.encrypt(password)
    stream = io.BytesIO()
    writer.write(stream)
    return stream.getvalue()


def test_render_pdf_separates_pages():
    assert render_pdf(make_pdf(3)) == PAGE_BREAK * 2


@pytest.mark.parametrize("data", [b"", b"%PDF-1.4 and then nothing", make_pdf(1)[:200]])
def test_render_pdf_corrupt_file_returns_none(data):
    assert render_pdf(data) is None


def test_render_pdf_encrypted_file_returns_none():
    assert render_pdf(make_pdf(1, "secret")) is None
