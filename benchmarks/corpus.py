"""The corpus: Django's wheel without its translation catalogs, downloaded once by name, version and hash.

The catalogs (`*.po`, 1,226 files of similar text) would be more than half of the corpus, and no query is about them.
Without them it has 1,150 files of code, templates and text.
"""

import ast
import hashlib
import random
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

VERSION = "5.2.19"
WHEEL = f"django-{VERSION}-py3-none-any.whl"
SHA256 = "5965d974a5218a2b68a11dd1276434707f23886525c23f0598eccedaf4f4ca00"
LEFT_OUT = (".po", ".mo")
QUERY_LENGTH = 12  # words at most: longer than most queries that people type


def fetch_corpus(cache: Path) -> Path:
    """Return the directory of the unpacked wheel below `cache`; download it if needed.

    Raises:
        ValueError: The hash of the downloaded file differs.
    """
    unpacked = cache / f"django-{VERSION}"
    if unpacked.is_dir():
        return unpacked
    wheel = cache / WHEEL
    if not wheel.exists():
        cache.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        subprocess.run([*pip, "--dest", cache, f"django=={VERSION}"], check=True)
    if hashlib.sha256(wheel.read_bytes()).hexdigest() != SHA256:
        raise ValueError(f"{wheel} is not the expected file: remove it and run this again")
    partial = unpacked.with_suffix(".partial")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(partial, [name for name in archive.namelist() if not name.endswith(LEFT_OUT)])
    return partial.rename(unpacked)


def make_queries(corpus: Path) -> list[str]:
    """Return some thousand different queries in a fixed order: names, first sentences of docstrings, arguments."""
    questions = {question for path in sorted(corpus.rglob("*.py")) for question in read_queries(path)}
    ordered = sorted(questions)
    random.Random(0).shuffle(ordered)
    return ordered


def read_queries(path: Path) -> Iterator[str]:
    """Yield queries about a Python file: names, first sentences of docstrings, arguments.

    Raises:
        SyntaxError: It can't be parsed.
    """
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and (doc := ast.get_docstring(node)):
            yield node.name
            yield " ".join(re.split(r"\.\s", doc)[0].split()[:QUERY_LENGTH])
            if isinstance(node, ast.FunctionDef) and (named := [argument.arg for argument in node.args.args[1:]]):
                yield f"{node.name} with {' and '.join(named)}"
