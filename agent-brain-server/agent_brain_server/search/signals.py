"""The signals of ranking: each a pure function of the question and of a chunk or its file, between 0 and 1."""

from functools import lru_cache
from pathlib import PurePosixPath

from agent_brain_server.search.question import MIN_PREFIX, Question, whole_name
from agent_brain_server.tokens import split_identifier, stem
from agent_brain_server.types import ChunkFacts

PACKAGE_STEMS = frozenset(("__init__", "__main__", "index", "init", "main", "mod", "lib", "package"))
"""File names that stand for their directory: the directory's name says what is in them."""

MIN_COMMON = 5
"""Letters that two relatives begin with where neither is the beginning of the other: authent-ic, authent-ify."""

MIN_COMMON_SHARE = 0.7
"""Of the longer word, which the common beginning must make up: serial-iz, serial-is, but not inter-fac, inter-polat."""

MIN_PREFIX_SHARE = 0.5
"""Of the longer word, which the shorter one must make up where it is its beginning: rout, router; not con, context."""

DEEPEST = 5
"""Directories below the candidate nearest to the root from which on depth makes no difference."""


def defines_name(question: Question, facts: ChunkFacts) -> float:
    """Say whether the chunk defines a name that the question spells out."""
    return float(any(whole_name(symbol) in question.names for symbol in facts.symbols)) if question.names else 0.0


def spells_file_name(question: Question, path: str) -> float:
    """Say whether each part of the file's name is a word of the question or a relative of one.

    A file that is named after a thing is where the thing is, as `throttle.go` is for "request throttling".
    """
    parts = stem_parts(path)
    for part in parts:  # a loop, as most files fail at the first part, and hundreds are looked at for each question
        alike = question.terms_by_beginning.get(part[:MIN_PREFIX], ())
        if not any(are_relatives(part, term) for term in alike):
            return 0.0
    return float(bool(parts))


def lies_deeper(path: str, least_depth: int) -> float:
    """Say how much deeper the file lies than the candidate nearest to the root: details lie below what uses them."""
    return min(1.0, (depth_of(path) - least_depth) / DEEPEST)


def depth_of(path: str) -> int:
    """Return how many directories a path has."""
    return path.count("/")


@lru_cache(maxsize=1 << 14)
def stem_parts(path: str) -> frozenset[str]:
    """Return the parts of a file's name, stemmed; of its directory's name where it is the package's own file."""
    pure = PurePosixPath(path)
    name = pure.name.split(".", 1)[0] or pure.name
    if name.lower() in PACKAGE_STEMS and pure.parent.name:
        name = pure.parent.name
    return frozenset(stem(part) for part in split_identifier(name))


def are_relatives(one: str, other: str) -> bool:
    """Tell whether two stemmed words come from one: beyond a stemmer's rules, by how much of a beginning they share."""
    if one == other:
        return True
    shorter, longer = sorted((len(one), len(other)))
    common = next((at for at in range(shorter) if one[at] != other[at]), shorter)
    if common == shorter:
        return shorter >= MIN_PREFIX and common >= MIN_PREFIX_SHARE * longer
    return common >= MIN_COMMON and common >= MIN_COMMON_SHARE * longer
