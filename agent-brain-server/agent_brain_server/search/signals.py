"""The signals of ranking: each a pure function of the question and of what is known of a chunk, between 0 and 1."""

from functools import lru_cache
from pathlib import PurePosixPath

from agent_brain_server.search.question import Question, terms_of, whole_name
from agent_brain_server.tokens import split_identifier, stem
from agent_brain_server.types import ChunkFacts

PACKAGE_STEMS = frozenset(("__init__", "__main__", "index", "init", "main", "mod", "lib", "package"))
"""File names that stand for their directory: the directory's name says what is in them."""


def defines_name(question: Question, facts: ChunkFacts) -> float:
    """Say whether the chunk defines a name that the question spells out."""
    return float(any(whole_name(symbol) in question.names for symbol in facts.symbols)) if question.names else 0.0


def defines_words(question: Question, facts: ChunkFacts) -> float:
    """Say how far a name that the chunk defines is made of the question's words, and these of its."""
    return max((_agreement(question, parts_of(symbol)) for symbol in facts.symbols), default=0.0)


def matches_stem(question: Question, facts: ChunkFacts) -> float:
    """Say how far the file's name is made of the question's words."""
    parts = stem_parts(facts.path)
    return len(parts & question.terms) / len(parts) if parts else 0.0


def matches_directory(question: Question, facts: ChunkFacts) -> float:
    """Say how many of the question's words are names of directories on the path."""
    directories = terms_of(str(PurePosixPath(facts.path).parent))
    return len(question.terms & directories) / max(1, len(question.words))


def matches_heading(question: Question, facts: ChunkFacts) -> float:
    """Say how many of the question's words stand in the section's or the enclosing definition's name."""
    if not facts.heading:
        return 0.0
    return min(1.0, len(question.terms & terms_of(facts.heading)) / max(1, len(question.words)))


@lru_cache(maxsize=1 << 15)
def parts_of(name: str) -> frozenset[str]:
    """Return the parts of an identifier, stemmed: parseHeaders is parse and header."""
    return frozenset(stem(part) for part in split_identifier(name))


@lru_cache(maxsize=1 << 14)
def stem_parts(path: str) -> frozenset[str]:
    """Return the parts of a file's name; its directory's where the name says only that it is the package's own."""
    pure = PurePosixPath(path)
    name = pure.name.split(".", 1)[0] or pure.name
    if name.lower() in PACKAGE_STEMS and pure.parent.name:
        name = pure.parent.name
    return parts_of(name)


def _agreement(question: Question, parts: frozenset[str]) -> float:
    """Return the harmonic mean of the share of the name and the share of the question that both have."""
    common = len(parts & question.terms)
    return 2 * common / (len(parts) + len(question.words)) if common else 0.0
