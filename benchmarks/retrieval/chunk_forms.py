"""Classify chunks of source code: whole definitions, parts of one, bare heads, comments.

Python files are judged by `ast`, which the product does not use; other languages by the definitions and comments in
their syntax tree.
"""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tree_sitter import Node, Tree

from agent_brain_server.structure.syntax import (
    SlowSyntaxError,
    find_definitions,
    grammar_name,
    has_grammar,
    parse,
)

COMMENT_TYPES = frozenset({"block_comment", "comment", "doc_comment", "haddock", "line_comment", "multiline_comment"})

FEW_LINES = 2

FORMS = ("bare head", "comment", "few lines")
PYTHON_FORMS = ("whole", "part", "part without head", "head without body", "split statement")


@dataclass(frozen=True, slots=True)
class Shown:
    """Lines of a file that a result shows, 1-based and inclusive, and the numbers of its context lines."""

    start_line: int
    end_line: int
    context: tuple[int, ...] = ()

    def has(self, line: int) -> bool:
        """Return whether a line is shown in the range."""
        return self.start_line <= line <= self.end_line

    def touches(self, start: int, end: int) -> bool:
        """Return whether some of the lines are in the range."""
        return self.start_line <= end and start <= self.end_line

    def covers(self, start: int, end: int) -> bool:
        """Return whether all of the lines are in the range."""
        return self.start_line <= start and end <= self.end_line


class SourceForms:
    """Judges the chunks of one file by its syntax tree."""

    def __init__(self, text: str, language: str, path: str) -> None:
        self._rows = text.split("\n")
        self._code_rows: set[int] | None = None
        self._heads: list[tuple[int, int, int]] = []
        if has_grammar(language):
            grammar = grammar_name(language, path)
            data = text.encode("utf-8", "replace")
            try:
                tree = parse(data, grammar)
            except SlowSyntaxError:
                return
            self._heads = [
                head for found in find_definitions(tree, data, grammar).nodes if (head := _find_head(found.node))
            ]
            self._code_rows = set(_list_code_rows(tree, self._rows))

    def describe(self, shown: Shown) -> set[str]:
        """Return the names of `FORMS` that apply."""
        forms = set()
        lines = [self._rows[line - 1] for line in range(shown.start_line, min(shown.end_line, len(self._rows)) + 1)]
        if sum(bool(line.strip()) for line in lines) <= FEW_LINES and not shown.context:
            forms.add("few lines")
        if self._code_rows is not None:
            if not shown.context and self._code_rows.isdisjoint(range(shown.start_line - 1, shown.end_line)):
                forms.add("comment")
            if not any(line > shown.end_line for line in shown.context) and any(
                shown.has(name + 1) and shown.end_line <= body and last > body for name, body, last in self._heads
            ):
                forms.add("bare head")
        return forms


def _find_head(node: Node) -> tuple[int, int, int] | None:
    """Return the row of a definition, the row at which its body begins, and its last row; `None` without a body."""
    body = node.child_by_field_name("body")
    if body is None or not body.named_children:
        return None
    first = body.named_children[0].start_point[0]
    return (node.start_point[0], first, body.end_point[0]) if first > node.start_point[0] else None


def _list_code_rows(tree: Tree, rows: Sequence[str]) -> Iterator[int]:
    """Yield the rows that have something else than a comment."""
    pending = [tree.root_node]
    comments: list[Node] = []
    while pending:
        node = pending.pop()
        if node.type in COMMENT_TYPES:
            comments.append(node)
        else:
            pending += node.named_children
    covered: set[int] = set()
    for node in comments:
        first, last = node.start_point[0], node.end_point[0] - (node.end_point[1] == 0)
        begins_row = not rows[first].encode()[: node.start_point[1]].strip()
        covered.update(range(first if begins_row else first + 1, last + 1))
    yield from (row for row, text in enumerate(rows) if text.strip() and row not in covered)


@dataclass(frozen=True, slots=True)
class _Span:
    """Lines of a statement; `head` is that of `def` or `class`, and `body` the first of what it does."""

    start: int
    end: int
    head: int
    body: int


class PythonForms:
    """Judges the chunks of one Python file by `ast`.

    Raises:
        SyntaxError: The file is not valid in this version of Python.
    """

    def __init__(self, text: str) -> None:
        self.functions: list[_Span] = []
        self._statements: list[_Span] = []
        pending: list[ast.stmt] = list(ast.parse(text).body)
        while pending:
            node = pending.pop()
            inner = [each for each in ast.iter_child_nodes(node) if isinstance(each, ast.stmt)]
            span = _measure(node)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                self.functions.append(span)
            elif isinstance(node, ast.ClassDef) or any(
                isinstance(each, ast.ClassDef | ast.FunctionDef) for each in inner
            ):
                pending += inner
            else:
                self._statements.append(span)

    def describe(self, shown: Shown) -> set[str]:
        """Return the names of `PYTHON_FORMS` that apply."""
        forms = set()
        for span in self.functions:
            if shown.touches(span.start, span.end) and not shown.covers(span.start, span.end):
                forms.add("part")
                if not shown.has(span.head) and span.head not in shown.context:
                    forms.add("part without head")
                if shown.has(span.head) and shown.end_line < span.body:
                    forms.add("head without body")
        if any(shown.touches(s.start, s.end) and not shown.covers(s.start, s.end) for s in self._statements):
            forms.add("split statement")
        return forms or {"whole"}

    def count_separated(self, chunks: Sequence[Shown]) -> int:
        """Return the number of functions whose decorator or docstring is in another chunk than their head."""
        count = 0
        for span in self.functions:
            home = next((shown for shown in chunks if shown.has(span.head)), None)
            count += home is not None and not home.has(span.start)
        return count


def _measure(node: ast.stmt) -> _Span:
    """Return the lines of a statement; a function's body begins after its docstring, if there is more."""
    decorators = getattr(node, "decorator_list", [])
    start = min([node.lineno, *(each.lineno for each in decorators)])
    body: list[ast.stmt] = getattr(node, "body", [])
    if len(body) > 1 and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        body = body[1:]
    return _Span(start, node.end_lineno or start, node.lineno, body[0].lineno if body else start)
