"""Count the tokens that an agent reads until it finds the answer."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent_brain_server.indexing.chunking.source_lines import estimate_tokens
from agent_brain_server.support.tokens import STOP_WORDS
from benchmarks.retrieval.query_set import Target
from benchmarks.retrieval.scoring import DEPTH, Result, WholeFile, first_rank

WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Reading:
    """Tokens read for one query, and whether the answer was in them."""

    tokens: int
    is_found: bool


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file for grep: its text in lower case, and its number of tokens."""

    text: str
    tokens: int


def read_in_order(results: Sequence[Result], tokens: Sequence[int], targets: Sequence[Target]) -> Reading:
    """Read results in order until one shows a target; all ten if none does.

    Args:
        results: Results, best first.
        tokens: Number of tokens of each result.
        targets: Targets that exist in the tree.
    """
    rank = first_rank(results, targets)
    return Reading(sum(tokens[: rank or DEPTH]), rank is not None)


def load_files(root: Path, paths: Iterable[str]) -> dict[str, SourceFile]:
    """Read the files of a tree."""
    texts = {path: (root / path).read_text(encoding="utf-8", errors="replace") for path in sorted(paths)}
    return {path: SourceFile(text.lower(), estimate_tokens(text)) for path, text in texts.items()}


def order_by_matches(query: str, files: Mapping[str, SourceFile]) -> list[str]:
    """Return the files with a word of the query, those with most of its words first, then by path."""
    words = {word.lower() for word in WORD.findall(query)}
    words = words - STOP_WORDS or words
    counts = {path: sum(word in file.text for word in words) for path, file in files.items()}
    return sorted((path for path, count in counts.items() if count), key=lambda path: (-counts[path], path))


def read_like_grep(query: str, files: Mapping[str, SourceFile], targets: Sequence[Target]) -> Reading:
    """Read complete files, at most ten, those with most of the query's words first."""
    paths = order_by_matches(query, files)[:DEPTH]
    return read_in_order([WholeFile(path) for path in paths], [files[path].tokens for path in paths], targets)
