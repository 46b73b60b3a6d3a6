"""Ranking signals: pure functions of a parsed query and a chunk or file. Scores are in [0, 1]."""

import re
from collections.abc import Collection
from functools import lru_cache
from pathlib import PurePosixPath
from typing import NamedTuple

from agent_brain_server.search.parsed_query import MIN_PREFIX, ParsedQuery
from agent_brain_server.support.tokens import split_identifier, stem, tokenize
from agent_brain_server.types import ChunkMetadata

PACKAGE_STEMS = frozenset(("__init__", "__main__", "index", "init", "main", "mod", "lib", "package"))
"""File names that stand for their directory, whose name then describes the content."""

MIN_COMMON = 5  # letters of a common prefix, if neither word is a prefix of the other: authent-ic, authent-ify
MIN_COMMON_SHARE = 0.7  # of the longer word: serial-iz and serial-is, but not inter-fac and inter-polat
MIN_PREFIX_SHARE = 0.5  # of the longer word, if the shorter is its prefix: rout and router, but not con and context

# fmt: off
PERIPHERAL_DIRECTORIES = frozenset((
    "bench", "benchmark", "benchmarks", "demo", "demos", "example", "examples", "sample", "samples",
    "fixture", "fixtures", "mock", "mocks", "stub", "stubs", "external", "third_party", "vendor", "vendored",
))
# fmt: on
"""Directories of code that uses or imitates the project's own code, or comes from elsewhere."""

SUPERSEDED = frozenset(("compat", "deprecated", "legacy", "old"))
"""Names of directories and files with superseded code."""

CHANGELOGS = frozenset(("changelog", "changes", "history", "news", "release", "releases", "release_notes"))
"""Names of documents, or of their directories, that mention every subject and explain none."""

VERSION = re.compile(r"(?<![^/])v(\d+)(?:(alpha|beta)(\d+))?/")
"""A directory with one version of its siblings: `v1`, `v2beta1`."""

FINAL_STAGE = "final"  # sorts after "alpha" and "beta"

Version = tuple[int, str, int]
"""Number, stage and number of the stage; a newer version compares greater."""

MAX_DEPTH = 5  # directories below the shallowest candidate; deeper files score the same


class VersionedPath(NamedTuple):
    """A path with a version directory.

    Attributes:
        parent: The path before the directory: `lib/` for `lib/v1/a.py`.
        name: Name of the directory.
        version: Its version.
        current: The path without it: `lib/a.py`.
    """

    parent: str
    name: str
    version: Version
    current: str


def defines_name(query: ParsedQuery, chunk: ChunkMetadata) -> float:
    """Return 1 if the chunk defines a name that the query contains."""
    return 0.0 if query.names.isdisjoint(chunk.names) else 1.0


def filename_match(query: ParsedQuery, path: str) -> float:
    """Return 1 if each part of the file name is related to a term of the query: `throttle.go`, "request throttling"."""
    parts = stem_parts(path)
    for part in parts:  # a loop instead of all(): most of the hundreds of files fail at their first part
        similar = query.terms_by_prefix.get(part[:MIN_PREFIX])
        if not similar or not any(are_related(part, term) for term in similar):
            return 0.0
    return float(bool(parts))


def path_depth(path: str, min_depth: int) -> float:
    """Return the depth of a file relative to the shallowest candidate: details are in deeper directories.

    Args:
        path: Relative to the project root.
        min_depth: Number of directories in the path of the shallowest candidate.
    """
    return min(1.0, (count_directories(path) - min_depth) / MAX_DEPTH)


def count_directories(path: str) -> int:
    """Return the number of directories in a path."""
    return path.count("/")


def heading_match(query: ParsedQuery, heading: str | None) -> float:
    """Return the share of the query's terms in a section's path of headings."""
    return len(query.terms & heading_terms(heading)) / len(query.terms) if heading and query.terms else 0.0


class Versions:
    """The version directories among the paths of all candidates.

    Args:
        paths: Path of each candidate's file.
    """

    def __init__(self, paths: Collection[str]) -> None:
        self._paths = paths
        self._newest: dict[str, Version] = {}
        for path in paths:
            if found := find_version(path):
                self._newest[found.parent] = max(found.version, self._newest.get(found.parent, found.version))

    def is_superseded(self, query: ParsedQuery, path: str) -> bool:
        """Return whether a file has a newer version, and the query does not name its version.

        A file in `v1/` is superseded if a candidate has its path without `v1/`; every file in `v3/` is, if a candidate
        is in `v4/` beside it.
        """
        found = find_version(path)
        if found is None or found.name in query.terms:
            return False
        return found.current in self._paths or found.version < self._newest.get(found.parent, found.version)


def is_peripheral(query: ParsedQuery, path: str, *, is_document: bool, versions: Versions) -> bool:
    """Return whether a file is peripheral: an example, foreign or superseded code, or a changelog.

    A file is not peripheral if the query names its kind, as "example of a custom loader" does for `examples/`.

    Args:
        query: The parsed query.
        path: Path of the file, one of the candidates'.
        is_document: Whether the file is prose.
        versions: The version directories of all candidates.
    """
    if versions.is_superseded(query, path):
        return True
    words = peripheral_words(path, is_document)
    return bool(words) and words.isdisjoint(query.terms)


@lru_cache(maxsize=1 << 14)
def peripheral_words(path: str, is_document: bool) -> frozenset[str]:
    """Return the stemmed words that mark a path as peripheral; a hidden directory is marked by its dot."""
    *directories, name = path.lower().replace("-", "_").split("/")
    plain = [directory.strip("._") for directory in directories]
    markers = {directory for directory in plain if directory in PERIPHERAL_DIRECTORIES}
    names = {*plain, name.split(".", 1)[0].strip("_")}
    markers |= names & (SUPERSEDED | CHANGELOGS if is_document else SUPERSEDED)
    words = {stem(part) for marker in markers for part in split_identifier(marker)}
    return frozenset(words | {"." for directory in directories if directory.startswith(".")})


@lru_cache(maxsize=1 << 14)
def find_version(path: str) -> VersionedPath | None:
    """Return the first version directory of a path, or `None` if it has none."""
    match = VERSION.search(path)
    if match is None:
        return None
    number, stage, stage_number = match.groups()
    version = (int(number), stage or FINAL_STAGE, int(stage_number or 0))
    parent = path[: match.start()]
    return VersionedPath(parent, match[0][:-1], version, parent + path[match.end() :])


@lru_cache(maxsize=1 << 12)
def heading_terms(heading: str) -> frozenset[str]:
    """Return the terms of a heading."""
    return frozenset(tokenize(heading))


@lru_cache(maxsize=1 << 14)
def stem_parts(path: str) -> frozenset[str]:
    """Return the stemmed parts of a file name; of the directory's name for a file such as `__init__.py`."""
    pure = PurePosixPath(path)
    name = pure.name.split(".", 1)[0] or pure.name
    if name.lower() in PACKAGE_STEMS and pure.parent.name:
        name = pure.parent.name
    return frozenset(stem(part) for part in split_identifier(name))


def are_related(one: str, other: str) -> bool:
    """Return whether two stemmed words share enough of their beginning to be inflections of one word."""
    if one == other:
        return True
    shorter, longer = sorted((len(one), len(other)))
    common = next((at for at in range(shorter) if one[at] != other[at]), shorter)
    if common == shorter:
        return shorter >= MIN_PREFIX and common >= MIN_PREFIX_SHARE * longer
    return common >= MIN_COMMON and common >= MIN_COMMON_SHARE * longer
