"""Add and remove members of JSON documents without changing anything else in their text.

Hosts of agents keep their settings in JSON, some of them with comments and trailing commas (JSONC). Each edit is
checked: the edited text must parse to exactly the expected value, or it is refused.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

MAX_DEPTH = 100  # settings have about ten levels; the parser is recursive

SPACE = re.compile(r"(?:[ \t\r\n\ufeff]|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
SCALAR = re.compile(r"(?:true|false|null|-?\d[\d.eE+-]*)(?![\w.])")
INDENTED = re.compile(r"^([ \t]+)\S", re.MULTILINE)
DEFAULT_INDENT = "  "


class InvalidJsonError(ValueError):
    """A text is not JSON, even with comments and trailing commas; the message names the line."""


@dataclass(slots=True)
class Node:
    """A value in a document.

    Attributes:
        value: The parsed value.
        start: Offset of its first character.
        end: Offset behind its last character.
        items: Of an object or array: its members.
        trailing_comma: The last member is followed by a comma.
    """

    value: Any
    start: int
    end: int = 0
    items: "list[Item]" = field(default_factory=list)
    trailing_comma: bool = False


@dataclass(frozen=True, slots=True)
class Item:
    """A member of an object or array.

    Attributes:
        key: Its name; `None` in an array.
        start: Offset of the name, or of the value in an array.
        node: The value.
    """

    key: str | None
    start: int
    node: Node


def parse(text: str) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value of a document with comments and trailing commas.

    Raises:
        InvalidJsonError: It cannot be parsed.
    """
    return _parse_document(text).value


def find(value: Any, path: Sequence[str]) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value at a path of names, or `None`."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def insert(text: str, path: Sequence[str], value: object) -> str:
    """Return the text with a new member at the end of an object; missing objects on the path are added.

    Args:
        text: A document, or an empty text.
        path: Names from the root to the new member.
        value: Value of the new member.

    Raises:
        InvalidJsonError: The text cannot be parsed, the member exists, or something on the path is not an object.
    """
    if not text.strip("\ufeff \t\r\n"):
        return json.dumps(_nest(path, value), indent=2, ensure_ascii=False) + "\n"
    root = _parse_document(text)
    node, depth = root, 0
    while depth < len(path) - 1 and (child := _member(node, path[depth])) is not None:
        node, depth = child.node, depth + 1
    if not isinstance(node.value, dict):
        raise InvalidJsonError(f"{'.'.join(path[:depth]) or 'The document'} is not an object")
    if _member(node, path[depth]) is not None:
        raise InvalidJsonError(f"{'.'.join(path)} exists")
    edited = _add(text, node, path[depth], _nest(path[depth + 1 :], value))
    _require_equal(edited, _set(root.value, path, value))
    return edited


def remove(text: str, path: Sequence[str]) -> str:
    """Return the text without a member; unchanged if it is missing.

    Args:
        text: A document.
        path: Names from the root to the member.

    Raises:
        InvalidJsonError: The text cannot be parsed.
    """
    parent = _descend(_parse_document(text), path[:-1])
    for index, item in enumerate(parent.items):
        if item.key == path[-1]:
            edited = _cut(text, parent, index)
            parse(edited)
            return edited
    return text


def _nest(path: Sequence[str], value: object) -> object:
    for name in reversed(path):
        value = {name: value}
    return value


def _set(document: Any, path: Sequence[str], value: object) -> dict[str, Any]:  # noqa: ANN401 - any JSON value
    inner = value if len(path) == 1 else _set(document.get(path[0], {}), path[1:], value)
    return {**document, path[0]: inner}


def _require_equal(text: str, expected: object) -> None:
    if parse(text) != expected:
        raise InvalidJsonError("the document has a name twice, or cannot be edited safely")


def _member(node: Node, name: str) -> Item | None:
    return next((item for item in reversed(node.items) if item.key == name), None)


def _descend(node: Node, path: Sequence[str]) -> Node:
    for name in path:
        item = _member(node, name)
        if item is None:
            return Node(None, node.end, node.end)
        node = item.node
    return node


def _add(text: str, parent: Node, name: str, value: object) -> str:
    """Return the text with one more member at the end of an object."""
    prefix = f"{json.dumps(name)}: "
    inside = text[parent.start : parent.end]
    newline = "\r\n" if "\r\n" in text else "\n"
    if parent.items and "\n" not in inside:
        at = parent.items[-1].node.end
        return f"{text[:at]}, {prefix}{json.dumps(value, ensure_ascii=False)}{text[at:]}"
    unit = found[1] if (found := INDENTED.search(text)) else DEFAULT_INDENT
    own = _line_indent(text, parent.start)
    indent = own + unit
    if parent.items:
        first = parent.items[-1].start
        line = text[text.rfind("\n", 0, first) + 1 : first]
        indent = line if not line.strip() else indent
    rendered = json.dumps(value, indent=unit, ensure_ascii=False).replace("\n", newline + indent)
    last = parent.end - 1
    body_end = len(text[:last].rstrip(" \t\r\n"))
    closing = text[body_end:last] if "\n" in text[body_end:last] else newline + own
    comma = "," if parent.trailing_comma else ""
    head = text[:body_end]
    if parent.items and not parent.trailing_comma:
        at = parent.items[-1].node.end
        head = f"{text[:at]},{text[at:body_end]}"
    return f"{head}{newline}{indent}{prefix}{rendered}{comma}{closing}{text[last:]}"


def _line_indent(text: str, offset: int) -> str:
    line = text[text.rfind("\n", 0, offset) + 1 : offset]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _cut(text: str, parent: Node, index: int) -> str:
    """Return the text without a member and the comma that belongs to it."""
    item = parent.items[index]
    after = _skip(text, item.node.end)
    before = parent.items[index - 1].node.end if index else parent.start + 1
    start = len(text[: item.start].rstrip(" \t\r\n"))
    if text[after] == ",":
        return text[: max(start, before)] + text[after + 1 :]
    if index:
        comma = _skip(text, before)
        return text[:comma] + text[comma + 1 : max(start, comma + 1)] + text[item.node.end :]
    return text[: max(start, before)] + text[item.node.end :]


def _parse_document(text: str) -> Node:
    start = _skip(text, 0)
    node = _parse_value(text, start, 0)
    if _skip(text, node.end) != len(text):
        raise _fault(text, _skip(text, node.end))
    return node


def _skip(text: str, offset: int) -> int:
    found = SPACE.match(text, offset)
    return found.end() if found else offset


def _parse_value(text: str, start: int, depth: int) -> Node:
    opening = text[start : start + 1]
    if opening in ("{", "[") and opening:
        if depth > MAX_DEPTH:
            raise _fault(text, start)
        return _parse_items(text, start, depth)
    found = STRING.match(text, start) or SCALAR.match(text, start)
    if found is None:
        raise _fault(text, start)
    try:
        return Node(json.loads(found[0]), start, found.end())
    except ValueError as error:
        raise _fault(text, start) from error


def _parse_items(text: str, start: int, depth: int) -> Node:
    is_object = text[start] == "{"
    closing = "}" if is_object else "]"
    node = Node({} if is_object else [], start)
    offset = _skip(text, start + 1)
    expects_item = True
    while text[offset : offset + 1] != closing:
        if not expects_item:
            raise _fault(text, offset)
        item = _parse_item(text, offset, depth, is_object=is_object)
        node.items.append(item)
        offset = _skip(text, item.node.end)
        expects_item = node.trailing_comma = text[offset : offset + 1] == ","
        if expects_item:
            offset = _skip(text, offset + 1)
    if is_object:
        node.value = {item.key: item.node.value for item in node.items}
    else:
        node.value = [item.node.value for item in node.items]
    node.end = offset + 1
    return node


def _parse_item(text: str, start: int, depth: int, *, is_object: bool) -> Item:
    if not is_object:
        return Item(None, start, _parse_value(text, start, depth + 1))
    found = STRING.match(text, start)
    if found is None:
        raise _fault(text, start)
    colon = _skip(text, found.end())
    if text[colon : colon + 1] != ":":
        raise _fault(text, colon)
    try:
        key = json.loads(found[0])
    except ValueError as error:
        raise _fault(text, start) from error
    return Item(key, start, _parse_value(text, _skip(text, colon + 1), depth + 1))


def _fault(text: str, offset: int) -> InvalidJsonError:
    line = text.count("\n", 0, offset) + 1
    return InvalidJsonError(f"line {line} is not valid JSON")
