"""Split source code along its syntax tree into definitions that a reader understands by themselves.

A definition that fits is one chunk, with the comments and attributes above it. A longer one is divided, and its chunks
carry lines from outside of their range as context: the head of a class the signatures of its members, a later part of a
function its signature. Small neighbors are joined.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tree_sitter import Tree

from agent_brain_server.indexing.chunking.outlines import Outlines
from agent_brain_server.indexing.chunking.segments import Scope
from agent_brain_server.indexing.chunking.source_lines import Limits, Piece, SourceLines
from agent_brain_server.indexing.chunking.splitter import Splitter
from agent_brain_server.structure.facts import extract_facts
from agent_brain_server.structure.syntax import Definitions, SlowSyntaxError, find_definitions, grammar_name, parse
from agent_brain_server.types import SourceText, SyntaxFacts

MAX_ROW_CHARACTERS = 20_000  # some scanners take quadratic time in the length of a line and cannot be cancelled


@dataclass(frozen=True, slots=True, eq=False)
class ParsedSource:
    """Source code with its syntax tree and the definitions in it."""

    lines: SourceLines
    language: str
    grammar: str
    tree: Tree
    definitions: Definitions

    def extract_facts(self) -> SyntaxFacts:
        """Return the definitions and references of the file."""
        return extract_facts(self.tree, self.lines.encoded, self.grammar, self.definitions)


def parse_source(lines: SourceLines, source: SourceText) -> ParsedSource:
    """Parse source code.

    Raises:
        SlowSyntaxError: The file takes too long to parse, as some broken or generated files do.
    """
    if any(len(row) > MAX_ROW_CHARACTERS for row in lines.rows):
        raise SlowSyntaxError("a line is too long")
    grammar = grammar_name(source.language, source.path)
    tree = parse(lines.encoded, grammar)
    return ParsedSource(lines, source.language, grammar, tree, find_definitions(tree, lines.encoded, grammar))


def chunk_source(parsed: ParsedSource, limits: Limits) -> Iterator[Piece]:
    """Split source code into definitions that fit into a chunk, parts of longer ones, and groups of small ones."""
    lines, definitions = parsed.lines, parsed.definitions
    outlines = Outlines(lines, limits, definitions)
    pieces: list[tuple[Scope | None, int, Piece]] = []
    counts: Counter[Scope] = Counter()
    for segment in Splitter(lines, limits, definitions, parsed.tree.root_node, parsed.language).split():
        symbols = definitions.find_symbols(segment.start, segment.end)
        heading = segment.heading_scope.heading
        whole = segment.whole_scope
        for piece in lines.make_pieces(segment.start, segment.end, limits, symbols=symbols, heading=heading):
            context = outlines.describe(segment.scope, piece.start_line - 1, piece.end_line)
            if whole is not None:
                counts[whole] += 1
            pieces.append((whole, counts[whole] if whole else 1, replace(piece, context=context)))
    for whole, part, piece in pieces:
        yield piece if whole is None else replace(piece, part=part, parts=counts[whole])
