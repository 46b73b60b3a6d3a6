"""Globs in the notation of `.gitignore`, matched in a time that grows with glob times path and no faster.

A star is translated so that it takes as little as it can and never gives back, as in Python's own `fnmatch`: what
follows it up to the next star has one length, so its first place is as good as any later one. The same holds of `**`
and the parts that follow it. A plain translation tries all places of all stars: eight of them on a name of sixty
letters take seconds, in which nothing else in the process runs.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from agent_brain_server.errors import InvalidRequestError

ANY_PARTS = "(?:[^/]+/)*?"
"""What `**/` stands for: the fewest directories that let the rest match."""

NOT_EMPTY = "(?=[^/])"
"""A part of a path has at least one character."""

NAMED_CLASS = re.compile(r"\[:(\w*):\]")

NAMED_CLASSES = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "blank": r" \t",
    "cntrl": r"\0-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r" \t-\r",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}
"""Classes that POSIX names, as ranges: in git they are of ASCII alone."""

HINT = "Write globs as in .gitignore, for example src/**/*.py or docs/."


class GlobError(ValueError):
    """The text is no glob, or one that can match nothing; the message says why."""


@dataclass(frozen=True, slots=True)
class Glob:
    """One glob, ready to match.

    Attributes:
        negated: It began with `!`: what it matches is taken out.
        covering: Matches a path that the glob names, or that lies below a directory which it names.
        naming: Matches a path that the glob names itself; directories end in `/`.
    """

    negated: bool
    covering: re.Pattern[str]
    naming: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class GlobList:
    """Several globs in order: of those that match a path, the last one decides."""

    globs: tuple[Glob, ...]
    otherwise: bool = False

    def match_file(self, path: str) -> bool:
        """Tell whether the file is chosen, by its own name or by that of a directory above it."""
        for glob in reversed(self.globs):
            if glob.covering.match(path):
                return not glob.negated
        return self.otherwise

    def judge(self, path: str) -> bool | None:
        """Tell whether the path itself is named, None where no glob says anything; a directory ends in `/`."""
        for glob in reversed(self.globs):
            if glob.naming.match(path):
                return not glob.negated
        return None


def compile_globs(globs: Sequence[str], field: str) -> GlobList | None:
    """Compile globs (`src/**/*.py`, `*.md`, `docs/`) that are relative to the project root.

    Args:
        globs: The patterns; none gives None.
        field: The request's field, for the message.

    Raises:
        InvalidRequestError: A glob is not one, or can match nothing; the message names it.
    """
    if not globs:
        return None
    compiled = []
    for glob in globs:
        try:
            compiled.append(compile_glob(glob))
        except GlobError as error:
            raise InvalidRequestError(
                f"{field} holds {glob!r}, which is not a glob: {error}.", code="invalid_glob", hint=HINT
            ) from error
    return GlobList(tuple(compiled))


def compile_choice(globs: Sequence[str], field: str) -> GlobList | None:
    """Compile globs that say what is wanted: where all of them begin with `!`, everything else is.

    Args:
        globs: The patterns; none gives None.
        field: The request's field, for the message.

    Raises:
        InvalidRequestError: A glob is not one, or can match nothing; the message names it.
    """
    compiled = compile_globs(globs, field)
    if compiled is None:
        return None
    return GlobList(compiled.globs, otherwise=all(glob.negated for glob in compiled.globs))


def compile_lines(lines: Sequence[str]) -> GlobList:
    """Compile the lines of an ignore file; comments, blank lines and what git can't read either are passed over."""
    compiled = []
    for line in lines:
        try:
            compiled.append(compile_glob(line))
        except GlobError:
            continue
    return GlobList(tuple(compiled))


def compile_glob(glob: str) -> Glob:
    """Compile one glob.

    Raises:
        GlobError: It is none, or can match nothing.
    """
    text = _strip(glob)
    negated = text.startswith("!")
    text = text[negated:]
    if not text.strip("/"):
        raise GlobError("it matches nothing")
    if not negated and text.startswith("#"):
        raise GlobError("it is a comment in git's notation; write \\# for a name that starts so")
    if any(char < " " for char in text):
        raise GlobError("it holds a control character")
    body, is_open = _translate(text)
    is_directory = text.endswith("/")
    if is_open:
        covering, naming = ("[^/]+/", ".*/\\Z") if is_directory else ("[^/]", ".+\\Z")
    else:
        covering, naming = ("/", "/\\Z") if is_directory else (r"(?:/|\Z)", r"/?\Z")
    return Glob(negated, re.compile(body + covering, re.DOTALL), re.compile(body + naming, re.DOTALL))


def _strip(glob: str) -> str:
    """Take the spaces off the end, but for one that a backslash keeps."""
    stripped = glob.rstrip(" ")
    backslashes = len(stripped) - len(stripped.rstrip("\\"))
    return stripped + " " if backslashes % 2 and len(stripped) < len(glob) else stripped


def _translate(text: str) -> tuple[str, bool]:
    """Return the regular expression of a glob without its end, and whether it ends in `**`: anything below."""
    parts = text.removeprefix("/").removesuffix("/").split("/")
    if "" in parts:
        raise GlobError("no path has two slashes in a row")
    parts = ["**" if part.startswith("**") and not part.strip("*") else part for part in parts]
    if "/" not in text.rstrip("/"):  # without a slash before its end it may stand anywhere
        parts = ["**", *parts]
    is_open = parts[-1] == "**"
    if is_open:
        parts.pop()
    runs: list[list[str]] = [[]]
    for part in parts:
        if part == "**":
            runs.append([])
        else:
            runs[-1].append(_translate_part(part))
    anchored, *floating = runs
    body = "/".join(anchored)
    floating = [run for run in floating if run]
    for position, run in enumerate(floating):
        separator = "/" if body and position == 0 else ""
        is_last = position == len(floating) - 1 and not is_open
        joined = "/".join(run)
        body += separator + (f"{ANY_PARTS}{joined}" if is_last else f"(?>{ANY_PARTS}{joined}/)")
    ends_in_slash = not body or body.endswith("/)")
    return body + ("/" if is_open and not ends_in_slash else ""), is_open


def _translate_part(part: str) -> str:
    """Return the regular expression of what stands between two slashes."""
    runs = [""]
    for token in _find_tokens(part):
        if token == "*":
            runs.append("")
        else:
            runs[-1] += token
    first, *others = runs
    if not others:
        return first
    *inner, last = others
    start = "" if first else NOT_EMPTY
    return start + first + "".join(f"(?>[^/]*?{run})" for run in inner if run) + f"[^/]*{last}"


def _find_tokens(part: str) -> Iterator[str]:
    """Yield `*`, or the regular expression of one character, for each that the part of a glob holds."""
    position = 0
    while position < len(part):
        char = part[position]
        position += 1
        if char == "*":
            yield "*"
        elif char == "?":
            yield "[^/]"
        elif char == "[":
            token, position = _translate_class(part, position)
            yield token
        elif char == "\\":
            if position == len(part):
                raise GlobError("it ends in a backslash")
            yield re.escape(part[position])
            position += 1
        else:
            yield re.escape(char)


def _translate_class(part: str, position: int) -> tuple[str, int]:
    """Return the regular expression of a class, and where the glob goes on; `position` is behind its bracket."""
    negated = part[position : position + 1] in ("!", "^")
    position += negated
    members: list[str] = []
    while position < len(part) and (part[position] != "]" or not members):
        named = NAMED_CLASS.match(part, position)
        if named is not None:
            if named[1] not in NAMED_CLASSES:
                raise GlobError(f"{named[0]} is no class of characters")
            members.append(NAMED_CLASSES[named[1]])
            position = named.end()
            continue
        first, position = _read_member(part, position)
        last = first
        if part[position : position + 1] == "-" and part[position + 1 : position + 2] not in ("", "]"):
            last, position = _read_member(part, position + 1)
        members.append(f"{_escape_member(first)}-{_escape_member(last)}" if first <= last else "")
    if position >= len(part):
        raise GlobError("a [ is not closed")
    if not any(members):
        raise GlobError("a range goes from back to front")
    return f"(?!/)[{'^' if negated else ''}{''.join(members)}]", position + 1


def _read_member(part: str, position: int) -> tuple[str, int]:
    """Return one character of a class, and where the class goes on."""
    position += part[position] == "\\" and position + 1 < len(part)
    return part[position], position + 1


def _escape_member(char: str) -> str:
    """Escape a character inside a class: every mark, since some mean something only there."""
    return char if char.isalnum() else f"\\{char}"
