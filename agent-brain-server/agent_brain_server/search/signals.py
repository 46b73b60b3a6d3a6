"""The signals of ranking: each a pure function of the question and of a chunk or its file, between 0 and 1."""

import re
from collections.abc import Collection
from functools import lru_cache
from pathlib import PurePosixPath

from agent_brain_server.search.parsed_query import MIN_PREFIX, ParsedQuery
from agent_brain_server.support.tokens import split_identifier, stem, tokenize
from agent_brain_server.types import ChunkMetadata

PACKAGE_STEMS = frozenset(("__init__", "__main__", "index", "init", "main", "mod", "lib", "package"))
"""File names that stand for their directory: the directory's name says what is in them."""

MIN_COMMON = 5
"""Letters that two relatives begin with where neither is the beginning of the other: authent-ic, authent-ify."""

MIN_COMMON_SHARE = 0.7
"""Of the longer word, which the common beginning must make up: serial-iz, serial-is, but not inter-fac, inter-polat."""

MIN_PREFIX_SHARE = 0.5
"""Of the longer word, which the shorter one must make up where it is its beginning: rout, router; not con, context."""

# fmt: off
ASIDE_DIRECTORIES = frozenset((
    "bench", "benchmark", "benchmarks", "demo", "demos", "example", "examples", "sample", "samples",
    "fixture", "fixtures", "mock", "mocks", "stub", "stubs", "external", "third_party", "vendor", "vendored",
))
# fmt: on
"""What lies in them uses or imitates the code, or is somebody else's."""

SUPERSEDED = frozenset(("compat", "deprecated", "legacy", "old"))
"""Directories and files of these names keep what something else has taken the place of."""

CHANGELOGS = frozenset(("changelog", "changes", "history", "news", "release", "releases", "release_notes"))
"""Documents of these names, or in directories of these names, mention everything and explain nothing."""

VERSION = re.compile(r"(?<![^/])v\d+/")
"""A directory with a version of what is around it, as `v1`."""

DEEPEST = 5
"""Directories below the candidate nearest to the root from which on depth makes no difference."""


def defines_name(question: ParsedQuery, facts: ChunkMetadata) -> float:
    """Say whether the chunk defines a name that the question spells out."""
    return 0.0 if question.names.isdisjoint(facts.names) else 1.0


def filename_match(question: ParsedQuery, path: str) -> float:
    """Say whether each part of the file's name is a word of the question or a relative of one.

    A file that is named after a thing is where the thing is, as `throttle.go` is for "request throttling".
    """
    parts = stem_parts(path)
    for part in parts:  # a loop, as most files fail at the first part, and hundreds are looked at for each question
        alike = question.terms_by_beginning.get(part[:MIN_PREFIX])
        if not alike or not any(are_related(part, term) for term in alike):
            return 0.0
    return float(bool(parts))


def path_depth(path: str, least_depth: int) -> float:
    """Say how much deeper the file lies than the candidate nearest to the root: details lie below what uses them."""
    return min(1.0, (count_directories(path) - least_depth) / DEEPEST)


def count_directories(path: str) -> int:
    """Return how many directories a path has."""
    return path.count("/")


def heading_match(question: ParsedQuery, heading: str | None) -> float:
    """Say what share of the question's words stands in the headings above a section of a document."""
    return len(question.terms & heading_terms(heading)) / len(question.terms) if heading and question.terms else 0.0


def is_peripheral(question: ParsedQuery, path: str, *, is_document: bool, others: Collection[str]) -> bool:
    """Tell whether a file lies beside what the question is about: examples, foreign or superseded code, changelogs.

    One that the question speaks of does not, as examples don't for "example of a custom loader".

    Args:
        question: What was asked.
        path: Of the file.
        is_document: It is prose.
        others: Paths of all candidates, by which an old version is known: it has the path of another, in `v1`.
    """
    if (current := path_without_version(path)) and current in others:
        return True
    words = peripheral_words(path, is_document)
    return bool(words) and words.isdisjoint(question.terms)


@lru_cache(maxsize=1 << 14)
def peripheral_words(path: str, is_document: bool) -> frozenset[str]:
    """Return the stemmed words of a path that tell that the file lies aside; a hidden directory is named by its dot."""
    *directories, name = path.lower().replace("-", "_").split("/")
    plain = [directory.strip("._") for directory in directories]
    named = {directory for directory in plain if directory in ASIDE_DIRECTORIES}
    places = {*plain, name.split(".", 1)[0].strip("_")}
    named |= places & (SUPERSEDED | CHANGELOGS if is_document else SUPERSEDED)
    words = {stem(part) for word in named for part in split_identifier(word)}
    return frozenset(words | {"." for directory in directories if directory.startswith(".")})


@lru_cache(maxsize=1 << 14)
def path_without_version(path: str) -> str | None:
    """Return where the current version of a file would lie, `lib/a.py` for `lib/v1/a.py`; None where it is no other."""
    current = VERSION.sub("", path, count=1)
    return None if current == path else current


@lru_cache(maxsize=1 << 12)
def heading_terms(heading: str) -> frozenset[str]:
    """Return the words of a heading as a question's terms compare with them."""
    return frozenset(tokenize(heading))


@lru_cache(maxsize=1 << 14)
def stem_parts(path: str) -> frozenset[str]:
    """Return the parts of a file's name, stemmed; of its directory's name where it is the package's own file."""
    pure = PurePosixPath(path)
    name = pure.name.split(".", 1)[0] or pure.name
    if name.lower() in PACKAGE_STEMS and pure.parent.name:
        name = pure.parent.name
    return frozenset(stem(part) for part in split_identifier(name))


def are_related(one: str, other: str) -> bool:
    """Tell whether two stemmed words come from one: beyond a stemmer's rules, by how much of a beginning they share."""
    if one == other:
        return True
    shorter, longer = sorted((len(one), len(other)))
    common = next((at for at in range(shorter) if one[at] != other[at]), shorter)
    if common == shorter:
        return shorter >= MIN_PREFIX and common >= MIN_PREFIX_SHARE * longer
    return common >= MIN_COMMON and common >= MIN_COMMON_SHARE * longer
