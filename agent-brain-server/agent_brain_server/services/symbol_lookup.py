"""Find the definitions and the uses of a name that a person typed, in files that exist."""

import difflib
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from agent_brain_server.models.symbols import NameMatch
from agent_brain_server.search.symbol_names import SymbolName, matches_qualifier
from agent_brain_server.storage.symbol_index import Match, SymbolIndex
from agent_brain_server.support.globs import compile_selection
from agent_brain_server.types import (
    NAMELESS_KINDS,
    FileReferences,
    FoundReferences,
    ReferenceKind,
    StoredDefinition,
)

MAX_CANDIDATES = 2_000
"""Definitions of one name that are compared with a qualifier or a filter."""

MAX_SORTED = 200
"""Definitions of one name that are ordered; the others follow by path."""

MAX_NEAREST = 8
MIN_SIMILARITY = 0.5  # of a name that is suggested for an unknown one, by `difflib`

MAX_MEANINGS = 20
"""Definitions of a name among which the meaning of a use is looked for."""

MATCHES: tuple[Match, ...] = ("exact", "ignore_case")

Allows = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class SymbolFilter:
    """Restrictions on definitions or uses; an empty tuple does not restrict.

    Attributes:
        kinds: Kinds of definitions.
        paths: Globs on the path.
        languages: Languages.
        source_types: `code` and `test`.
    """

    kinds: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    source_types: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether everything is allowed."""
        return not (self.kinds or self.paths or self.languages or self.source_types)

    def allows(self, found: StoredDefinition) -> bool:
        """Return whether a definition has one of the languages and source types."""
        if self.languages and found.language not in self.languages:
            return False
        return not self.source_types or found.source_type in self.source_types


@dataclass(frozen=True, slots=True)
class Lookup:
    """Definitions of a name.

    Attributes:
        match: How they match.
        definitions: One page.
        total: Number on all pages.
    """

    match: NameMatch = "none"
    definitions: tuple[StoredDefinition, ...] = ()
    total: int = 0


@dataclass(frozen=True, slots=True)
class Uses:
    """Uses of a name.

    Attributes:
        files: One page, by file.
        total: Number of uses on all pages.
        total_files: Number of files on all pages.
    """

    files: tuple[FileReferences, ...] = ()
    total: int = 0
    total_files: int = 0


@dataclass(slots=True)
class _Existing:
    """Tells whether files exist; looks each one up once."""

    root: Path
    known: dict[str, bool] = field(default_factory=dict)

    def __call__(self, path: str) -> bool:
        exists = self.known.get(path)
        if exists is None:
            exists = self.known[path] = os.path.lexists(os.path.join(self.root, path))
        return exists


class SymbolLookup:
    """Finds definitions and uses in one project; files that were deleted are left out.

    Args:
        index: The syntax facts.
        root: Canonical root of the project.
        is_test: Returns whether the file with a path is a test.
    """

    def __init__(self, index: SymbolIndex, root: Path, is_test: Allows) -> None:
        self._index = index
        self._root = root
        self._is_test = is_test

    def find(self, wanted: SymbolName, only: SymbolFilter = SymbolFilter(), *, limit: int, offset: int = 0) -> Lookup:
        """Return the definitions of a name: those of exactly this name, else in another case, else of a longer name.

        Args:
            wanted: The name; its qualifier may name modules and files.
            only: Restrictions.
            limit: Maximum number.
            offset: Number to skip.

        Raises:
            InvalidRequestError: A glob is invalid.
        """
        allows = self._make_allows(only.paths)
        for match in MATCHES:
            if found := self._find(wanted, match, only, allows):
                return _make_page(match, found, limit, offset)
        if wanted.qualifier:
            for match in MATCHES:
                if found := self._find(SymbolName(wanted.name), match, only, allows):
                    return _make_page("unqualified", found, limit, offset)
        found = self._find(wanted, "part", only, allows)
        return _make_page("part", found, limit, offset) if found else Lookup()

    def find_uses(
        self,
        wanted: SymbolName,
        kinds: Collection[ReferenceKind] = (),
        paths: Sequence[str] = (),
        *,
        limit: int,
        offset: int = 0,
        only: Literal["code", "test"] | None = None,
    ) -> Uses:
        """Return the uses of a name: those in code first, then those in tests; files with the qualifier's name first.

        Args:
            wanted: The name, in its case.
            kinds: Kinds of uses; empty for all.
            paths: Globs; empty for all files.
            limit: Maximum number.
            offset: Number to skip.
            only: Leave out the uses in tests, or those in code.

        Raises:
            InvalidRequestError: A glob is invalid.
        """
        allows = self._make_allows(paths)
        files: list[FileReferences] = []
        total = total_files = taken = 0
        for chooses in self._order_files(wanted.qualifier, only=only):
            found = self._index.references(
                wanted.name,
                kinds=kinds,
                allows=lambda path, chooses=chooses: chooses(path) and allows(path),  # type: ignore[misc]
                limit=limit - taken,
                offset=max(0, offset - total),
            )
            files.extend(found.files)
            taken += _count_sites(found)
            total += found.total_sites
            total_files += found.total_files
        return Uses(tuple(files), total, total_files)

    def find_part(self, part: str, only: SymbolFilter, *, limit: int) -> Sequence[StoredDefinition]:
        """Return definitions whose name contains a text, in any case.

        Args:
            part: The text.
            only: Restrictions.
            limit: Maximum number.

        Raises:
            InvalidRequestError: A glob is invalid.
        """
        return self._find(SymbolName(part), "part", only, self._make_allows(only.paths))[:limit]

    def list_named(self, name: str, paths: Sequence[str], *, limit: int) -> Sequence[StoredDefinition]:
        """Return the definitions of an unqualified name in its case, ordered by path and line.

        Args:
            name: The name.
            paths: Globs; empty for all files.
            limit: Maximum number.

        Raises:
            InvalidRequestError: A glob is invalid.
        """
        return self._index.definitions(name, allows=self._make_allows(paths), limit=limit).definitions

    def find_exact(self, name: str, *, near: str) -> StoredDefinition | None:
        """Return the definition that a name most likely means in a file: in this file, or the only one in code.

        Args:
            name: Unqualified name, in its case.
            near: Path of the file.
        """
        if not self._index.has_name(name):
            return None
        found = self._index.definitions(name, allows=self._make_allows(()), limit=MAX_MEANINGS).definitions
        here = [each for each in found if each.path == near]
        code = [each for each in found if each.source_type != "test" and each.definition.kind not in NAMELESS_KINDS]
        return here[0] if here else code[0] if len(code) == 1 else None

    def suggest(self, wanted: SymbolName) -> list[str]:
        """Return the defined names nearest to a name, without those that have little in common with it."""
        near = self._index.nearest_names(wanted.name, MAX_NEAREST)
        matcher = difflib.SequenceMatcher(None, b=wanted.name.casefold())
        similar = []
        for name in near:
            matcher.set_seq1(name.casefold())
            if matcher.ratio() >= MIN_SIMILARITY:
                similar.append(name)
        return similar

    def _find(self, wanted: SymbolName, match: Match, only: SymbolFilter, allows: Allows) -> list[StoredDefinition]:
        """Return all definitions that match, at most `MAX_CANDIDATES`."""
        found = self._index.definitions(wanted.name, match=match, kinds=only.kinds, allows=allows, limit=MAX_CANDIDATES)
        chosen = [each for each in found.definitions if only.allows(each)]
        if wanted.qualifier:
            is_loose = match != "exact"
            chosen = [
                each
                for each in chosen
                if matches_qualifier(each.path, each.definition.qualified_name, wanted.qualifier, ignore_case=is_loose)
            ]
        if match != "part" and len(chosen) <= MAX_SORTED:
            chosen.sort(key=_rank)
        return chosen

    def _order_files(self, qualifier: Sequence[str], *, only: Literal["code", "test"] | None) -> list[Allows]:
        """Return disjoint conditions on paths, in the order in which their uses are listed."""
        is_test = self._is_test
        by_type: dict[str, Allows] = {"code": lambda path: not is_test(path), "test": is_test}
        groups = list(by_type.values()) if only is None else [by_type[only]]
        if not qualifier:
            return groups
        related = self._files_with(qualifier[-1])
        return [
            lambda path, belongs=belongs, wanted=wanted: belongs(path) and (path in related) is wanted  # type: ignore[misc]
            for belongs in groups
            for wanted in (True, False)
        ]

    def _files_with(self, name: str) -> set[str]:
        """Return the files that define or use a name."""
        uses = self._index.references(name, limit=MAX_CANDIDATES)
        definitions = self._index.definitions(name, limit=MAX_CANDIDATES)
        return {file.path for file in uses.files} | {each.path for each in definitions.definitions}

    def _make_allows(self, paths: Sequence[str]) -> Allows:
        globs, exists = compile_selection(paths, "path"), _Existing(self._root)
        return exists if globs is None else lambda path: globs.match_file(path) and exists(path)


def _rank(found: StoredDefinition) -> tuple[bool, bool, bool]:
    """Return a sort key: code before tests, definitions before what extends them, outermost definitions first."""
    definition = found.definition
    is_inner = definition.qualified_name != definition.name
    return (found.source_type == "test", definition.kind in NAMELESS_KINDS, is_inner)


def _make_page(match: NameMatch, found: Sequence[StoredDefinition], limit: int, offset: int) -> Lookup:
    return Lookup(match, tuple(found[offset : offset + limit]), len(found))


def _count_sites(found: FoundReferences) -> int:
    return sum(len(file.sites) for file in found.files)
