"""Parse the name of a definition as people type it: `A::B`, `a.b`, `A#b`, `A->b`, `a/b`, `b()`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

MAX_NAME_LENGTH = 300
"""Characters of a name with its qualifier; longer ones are no names."""

SEPARATORS = re.compile(r"::|->|[.#/\\:]")
DECORATION = re.compile(r"^[\s`'\"@&*$]+|[\s`'\"]*(?:\(.*\)|\(|<.*>)?[\s`'\";,]*$", re.DOTALL)
"""Marks around a name: quotes, `@`, `&`, the parentheses of a call, type arguments."""

RECEIVER = " ()*&"
"""Marks around a part of a name, as in `(*Client).Send`."""


@dataclass(frozen=True, slots=True)
class SymbolName:
    """A name that may be qualified.

    Attributes:
        name: The last part.
        qualifier: The parts before it, outermost first.
    """

    name: str
    qualifier: tuple[str, ...] = ()

    @property
    def qualified(self) -> str:
        """All parts, joined by dots."""
        return ".".join((*self.qualifier, self.name))


def parse_symbol_name(text: str) -> SymbolName | None:
    """Return the name that a text spells, or `None` if it is empty or longer than `MAX_NAME_LENGTH`."""
    if len(text) > MAX_NAME_LENGTH:
        return None
    bare = DECORATION.sub("", text)
    parts = [name for part in SEPARATORS.split(bare) if (name := part.strip(RECEIVER))]
    return SymbolName(parts[-1], tuple(parts[:-1])) if parts else None


def matches_qualifier(path: str, qualified_name: str, qualifier: Sequence[str], *, ignore_case: bool = False) -> bool:
    """Return whether a definition is meant by a qualifier that may name modules, files and enclosing definitions.

    The qualifier must be a subsequence of the path's parts and the enclosing names, so that `starlette.Router` means
    the class `Router` in `starlette/routing.py`.

    Args:
        path: File of the definition.
        qualified_name: Its name with those of the enclosing definitions, joined by dots.
        qualifier: Names, outermost first.
        ignore_case: Whether to fold case.
    """
    stem = path.rpartition(".")[0] or path
    parts = iter((*stem.split("/"), *qualified_name.split(".")[:-1]))
    if not ignore_case:
        return all(name in parts for name in qualifier)
    folded = iter([part.casefold() for part in parts])
    return all(name.casefold() in folded for name in qualifier)
