import pytest

from agent_brain_server.indexing.files.file_types import classify, find_unwanted


@pytest.mark.parametrize(
    ("path", "head", "expected"),
    [
        ("src/app.py", b"", ("python", "code")),
        ("src/App.TSX", b"", ("typescript", "code")),
        ("include/a.h", b"int f(int);\n", ("c", "code")),
        ("include/a.h", b"namespace a {\nclass B;\n}\n", ("cpp", "code")),
        ("bin/run", b"#!/usr/bin/env -S python3.11\n", ("python", "code")),
        ("bin/run", b"#!/bin/bash -e\n", ("shell", "code")),
        ("bin/run", b"just words\n", ("text", "doc")),
        ("CMakeLists.txt", b"", ("cmake", "code")),
        ("Dockerfile.dev", b"", ("dockerfile", "code")),
        (".bashrc", b"", ("shell", "code")),
        ("README", b"", ("text", "doc")),
        ("docs/a.md", b"", ("markdown", "doc")),
        ("tests/notes.md", b"", ("markdown", "doc")),
        ("page.html", b"<p>Hello</p>", ("html", "doc")),
        ("page.html", b"{% block body %}<p>{{ name }}</p>", ("html", "code")),
        ("a.ipynb", b"", ("notebook", "doc")),
        ("tests/helper.py", b"", ("python", "test")),
        ("pkg/test_app.py", b"", ("python", "test")),
        ("conftest.py", b"", ("python", "test")),
        ("tree_test.go", b"", ("go", "test")),
        ("src/a.spec.ts", b"", ("typescript", "test")),
        ("lib/__tests__/a.js", b"", ("javascript", "test")),
        ("src/test/java/a/B.java", b"", ("java", "test")),
        ("a/ClientTest.java", b"", ("java", "test")),
        ("a/Latest.java", b"", ("java", "code")),
        ("spec/a_spec.rb", b"", ("ruby", "test")),
        ("apps/x/test/a_test.exs", b"", ("elixir", "test")),
        ("django/test/client.py", b"", ("python", "code")),
        ("testing/example_scripts/acceptance.py", b"", ("python", "test")),
        ("testing/helpers.go", b"", ("go", "test")),
        ("numpy/testing/utils.py", b"", ("python", "code")),
        ("packages/forms/testing/src/harness.ts", b"", ("typescript", "code")),
        ("packages/forms/testing/test_harness.py", b"", ("python", "test")),
        ("spec/support/helpers.rb", b"", ("ruby", "test")),
        ("engines/shop/spec/support/helpers.rb", b"", ("ruby", "test")),
        ("spec/helper.py", b"", ("python", "test")),
        ("src/contest.py", b"", ("python", "code")),
        ("attest.go", b"", ("go", "code")),
    ],
)
def test_classify_returns_language_and_source_type(path, head, expected):
    assert classify(path, head) == expected


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("a/logo.PNG", "binary"),
        ("package-lock.json", "generated"),
        ("Cargo.lock", "generated"),
        ("static/jquery.min.js", "generated"),
        ("x.dist-info/RECORD", "generated"),
        ("locale/de/django.po", "translation"),
        ("src/record", None),
        ("src/lock.py", None),
        ("bin", None),
        ("maps/europe.map", None),
    ],
)
def test_find_unwanted_by_name(path, reason):
    assert find_unwanted(path) == reason
