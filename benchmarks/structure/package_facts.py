"""The facts that the product extracts from a directory of sources."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from agent_brain_server.indexing.files.file_types import detect_language
from agent_brain_server.structure.facts import extract_facts
from agent_brain_server.structure.syntax import (
    GRAMMARS,
    SlowSyntaxError,
    find_definitions,
    grammar_name,
    has_grammar,
    parse,
)
from agent_brain_server.types import SyntaxFacts

Site = tuple[str, int]
"""Path relative to the directory, and line."""

MAX_FILE_BYTES = 1_000_000  # as the product's default
UNREAD = frozenset({".git", "build", "dist", "node_modules", "third_party", "vendor"})


@dataclass
class PackageFacts:
    """Definitions and references by name."""

    definitions: dict[str, set[Site]] = field(default_factory=dict)
    references: dict[str, set[Site]] = field(default_factory=dict)

    def add(self, path: str, facts: SyntaxFacts) -> None:
        """Add the facts of a file."""
        for definition in facts.definitions:
            self.definitions.setdefault(definition.name, set()).add((path, definition.name_line))
        for reference in facts.references:
            self.references.setdefault(reference.name, set()).add((path, reference.line))


def read_package(root: Path) -> PackageFacts:
    """Return the facts of all files in a directory."""
    package = PackageFacts()
    for path, _, facts in read_files(root):
        package.add(path, facts)
    return package


def read_files(root: Path, limit: int = sys.maxsize) -> Iterator[tuple[str, str, SyntaxFacts]]:
    """Yield relative path, grammar and facts of each file that has a grammar, evenly chosen if there are too many."""
    paths = list_sources(root)
    for path in paths[:: -(-len(paths) // limit) or 1]:
        relative = str(path.relative_to(root))
        data = path.read_bytes()[:MAX_FILE_BYTES]
        grammar = grammar_name(detect_language(relative, data), relative)
        if grammar in GRAMMARS and (facts := extract(data, grammar)) is not None:
            yield relative, grammar, facts


def list_sources(root: Path) -> list[Path]:
    """Return the files of a tree whose language has a grammar, ordered by path."""
    paths = [path for path in sorted(root.rglob("*")) if has_grammar(detect_language(path.name, b""))]
    paths = [path for path in paths if not UNREAD & set(path.relative_to(root).parts)]
    return [path for path in paths if path.is_file() and not path.is_symlink()]


def extract(data: bytes, grammar: str) -> SyntaxFacts | None:
    """Return the facts of a text, or `None` if the product would split it by lines only."""
    try:
        tree = parse(data, grammar)
        return extract_facts(tree, data, grammar, find_definitions(tree, data, grammar))
    except SlowSyntaxError:
        return None
