"""Queries about functions: the first sentence of a docstring, and the function without its docstring."""

import ast
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent_brain_server.support.tokens import STOP_WORDS, split_identifier, stem
from benchmarks.retrieval.kinds import KindQuery, KindSet, draw_order, make_tree
from benchmarks.retrieval.query_set import Target

ALONE = "docstring, a file for each function"
SHARED = "docstring, 40 functions in a file"

FUNCTIONS = 1_200
QUERIES = 400
PER_FILE = 40
SENTENCE_WORDS = range(5, 26)
BODY_LINES = range(6, 61)
QUERY_WORDS = 12
MIN_QUERY_WORDS = 3
"""Content words; a sentence with fewer beside the name of its function keeps them all."""

SENTENCE_END = re.compile(r"(?<=[.!?])\s|\n\s*\n")


@dataclass(frozen=True, slots=True)
class Documented:
    """A function.

    Attributes:
        sentence: First sentence of its docstring.
        source: Its source without docstring, not indented.
    """

    name: str
    sentence: str
    source: str


def make_docstring_sets(sources: Iterable[Path], directory: Path) -> list[KindSet]:
    """Write functions into two trees, and draw queries from their docstrings.

    Args:
        sources: Directories with Python files.
        directory: Of the trees.
    """
    files = [path for source in sources for path in sorted(source.rglob("*.py")) if not _is_test(path, source)]
    found = dict.fromkeys(function for path in files for function in find_documented(_read(path)))
    drawn = sorted(found, key=lambda each: draw_order(each.sentence + each.name))[:FUNCTIONS]
    return [
        _write_alone(drawn, make_tree(directory / "functions-alone")),
        _write_shared(drawn, make_tree(directory / "functions-shared")),
    ]


def _is_test(path: Path, source: Path) -> bool:
    return "test" in path.relative_to(source).as_posix()


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def find_documented(text: str) -> Iterator[Documented]:
    """Yield the functions of a Python file whose docstring begins with a sentence."""
    try:
        module = ast.parse(text)
    except (SyntaxError, ValueError):
        return
    rows = text.splitlines()
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("__"):
            documented = _read_function(node, rows)
            if documented is not None:
                yield documented


def _read_function(node: ast.FunctionDef | ast.AsyncFunctionDef, rows: Sequence[str]) -> Documented | None:
    docstring = ast.get_docstring(node)
    if not docstring or len(node.body) == 1:
        return None
    sentence = " ".join(SENTENCE_END.split(docstring.strip())[0].split())
    if len(find_plain_words(sentence)) not in SENTENCE_WORDS or ">>>" in sentence or ":" in sentence:
        return None
    start = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    statement = node.body[0]
    kept = [*rows[start - 1 : statement.lineno - 1], *rows[statement.end_lineno or start : node.end_lineno]]
    if len(kept) not in BODY_LINES:
        return None
    return Documented(node.name, sentence, textwrap.dedent("\n".join(kept)).rstrip())


def find_plain_words(text: str) -> list[str]:
    """Return the words of letters, in lower case."""
    return re.findall(r"[a-z]+", text.lower())


def make_query(function: Documented, *, without_name: bool) -> str:
    """Return the first words of the sentence.

    Args:
        function: The function.
        without_name: Leave out words of its name, if enough others are left.
    """
    words = find_plain_words(function.sentence)
    if without_name:
        of_name = set(map(stem, split_identifier(function.name)))
        others = [word for word in words if stem(word) not in of_name]
        if len([word for word in others if word not in STOP_WORDS]) >= MIN_QUERY_WORDS:
            words = others
    return " ".join(words[:QUERY_WORDS])


def _write_alone(functions: Sequence[Documented], tree: Path) -> KindSet:
    queries = []
    for number, function in enumerate(functions):
        name = f"function_{number:04}.py"
        (tree / name).write_text(f"{function.source}\n", encoding="utf-8")
        queries.append(KindQuery(make_query(function, without_name=number % 2 == 1), (Target(name),)))
    return KindSet(ALONE, tree, tuple(queries[:QUERIES]))


def _write_shared(functions: Sequence[Documented], tree: Path) -> KindSet:
    queries = []
    for first in range(0, len(functions), PER_FILE):
        name, line = f"functions_{first // PER_FILE:02}.py", 1
        group = functions[first : first + PER_FILE]
        for number, function in enumerate(group, first):
            end = line + function.source.count("\n")
            queries.append(KindQuery(make_query(function, without_name=number % 2 == 1), (Target(name, line, end),)))
            line = end + 3  # two empty lines between functions
        (tree / name).write_text("\n\n\n".join(function.source for function in group) + "\n", encoding="utf-8")
    return KindSet(SHARED, tree, tuple(queries[:QUERIES]))
