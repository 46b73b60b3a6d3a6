"""Parse a query that is a name, possibly qualified: `send`, `Client.send`, `std::move`, `Net::HTTP#get`, `a->b()`."""

import re
from dataclasses import dataclass
from enum import IntEnum

MAX_LENGTH = 200  # characters; a longer query is no name

SEPARATOR = re.compile(r"->|::?|\.|#|/|\\")

CALL = re.compile(r"\([^()]*\)$")
"""Arguments at the end: `send()`."""

TYPE_ARGUMENTS = re.compile(r"<[^<>]*>")
"""Type arguments: `Vec<T>::push`."""

DECORATION = "@&*"
"""Characters before a name that are not part of it: of decorators and pointers."""

SELF_NAMES = frozenset(("self", "this", "cls", "super"))
"""Qualifiers that name no definition."""


class NameMatch(IntEnum):
    """Quality of the match of a definition and a name; a better match is a greater number."""

    PART = 1
    IGNORE_CASE = 2
    NAME = 3
    PART_OF_QUALIFIER = 4
    COMPLETE = 5


@dataclass(frozen=True, slots=True)
class QualifiedName:
    """A name with its qualifier.

    Attributes:
        name: The last part, unqualified.
        qualifier: The parts before it, outermost first.
    """

    name: str
    qualifier: tuple[str, ...] = ()


def parse_qualified_name(query: str) -> QualifiedName | None:
    """Return the name that a query consists of, or `None` if it is no name."""
    text = query.strip()
    if len(text) > MAX_LENGTH or not text or any(map(str.isspace, text)):
        return None
    text = TYPE_ARGUMENTS.sub("", CALL.sub("", text)).lstrip(DECORATION)
    parts = [part for part in SEPARATOR.split(text) if part]
    if not parts or not any(character.isalnum() or character == "_" for character in parts[-1]):
        return None
    qualifier = tuple(part for part in parts[:-1] if part not in SELF_NAMES)
    return QualifiedName(parts[-1], qualifier)


def ends_path(path: str, qualifier: tuple[str, ...]) -> bool:
    """Return whether a file is the module that a qualifier names: `http/client.py` is `http.client`.

    The file's own name may be left out, as it is in languages whose packages are directories.

    Args:
        path: Relative to the project root.
        qualifier: Names of directories and of the file, outermost first; case is ignored.
    """
    *directories, name = path.lower().split("/")
    modules = (*directories, name.split(".", 1)[0])
    wanted = tuple(part.lower() for part in qualifier)
    return modules[-len(wanted) :] == wanted or tuple(directories)[-len(wanted) :] == wanted
