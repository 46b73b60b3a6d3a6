"""Text helpers: plurals, valid UTF-8, and the detection of hidden characters.

A file can hide instructions in Unicode tag characters, zero-width characters or runs of variation selectors. It can
reorder the displayed text (Boucher & Anderson 2021, "Trojan Source") or send escape sequences to a terminal. `reveal`
replaces such a character by its code point (`<U+E0041>`) or its control picture (`␛`).

Legitimate uses are kept: joiners and variation selectors in emoji sequences, the three emoji flags spelled with tags,
single joiners after a letter of a script that needs them (Arabic, the Indic scripts, …), and one variation selector
after a letter or symbol with registered variants.
"""

import functools
import json
import re
from collections.abc import Callable


def pluralize(count: int | None, noun: str) -> str:
    """Return a count with its noun: `1 file`, `2 files`, `1,234 files`, or `? files` for an unknown count.

    Args:
        count: The number, or `None` if unknown.
        noun: Singular of a noun whose plural ends in "s".
    """
    return f"? {noun}s" if count is None else f"{count:,} {noun}{'' if count == 1 else 's'}"


def replace_surrogates(text: str) -> str:
    """Return a text with each lone surrogate replaced by a question mark, so that it can be encoded as UTF-8."""
    return text.encode("utf-8", "replace").decode("utf-8")


CONTROLS = "\x00-\x08\x0b\x0e-\x1f\x7f-\x9f"
"""Control characters except tab, newline, form feed (a page separator in source files) and carriage return."""

LONE_RETURN = "\r(?!\n)"
LAYOUT = "\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f"
"""Directional formatting characters, and Unicode line and paragraph separators."""

IGNORABLE = (
    "\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200d\u2060-\u2065\u3164\ufe00-\ufe0f\ufeff\uffa0"
    "\ufff0-\ufffb\U00013430-\U0001345f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""Default_Ignorable_Code_Point of Unicode (DerivedCoreProperties.txt), annotation marks, hieroglyph controls."""

SURROGATES = "\ud800-\udfff"

EMOJI = (
    "\u00a9\u00ae\u203c\u2049\u2122\u2139\u2190-\u21ff\u2300-\u23ff\u24c2\u25a0-\u27bf\u2900-\u297f\u2b00-\u2bff\u3030"
    "\u303d\u3297\u3299\U0001f000-\U0001faff"
)
SKIN_TONE = "[\U0001f3fb-\U0001f3ff]"
EMOJI_ENDING = f"(?:[\ufe0e\ufe0f]|{SKIN_TONE}\ufe0f?)?"
EMOJI_SEQUENCE = f"[{EMOJI}]{EMOJI_ENDING}(?:\u200d[{EMOJI}]{EMOJI_ENDING})*"

KEYCAP = "[0-9#*]\ufe0f\u20e3"
FLAG = "\U0001f3f4\U000e0067\U000e0062(?:{england}|{scotland}|{wales})\U000e007f".format(
    england="\U000e0065\U000e006e\U000e0067",
    scotland="\U000e0073\U000e0063\U000e0074",
    wales="\U000e0077\U000e006c\U000e0073",
)
"""Emoji flags of England, Scotland and Wales: a black flag followed by `gbeng`, `gbsct` or `gbwls` in tags."""

JOINED_SCRIPTS = (
    "\u0600-\u06ff\u0700-\u08ff\u0900-\u0dff\u0e80-\u0fff\u1000-\u109f\u1780-\u17ff\u1800-\u18af\ua840-\ua87f"
)
"""Arabic, Syriac, N'Ko, Mandaic, the Indic scripts, Lao, Tibetan, Myanmar, Khmer, Mongolian, Phags-pa."""

JOINED_LETTER = f"[{JOINED_SCRIPTS}][\u200c\u200d](?![{IGNORABLE}{LAYOUT}])"
MONGOLIAN_VARIANT = "[\u1820-\u18aa][\u180b-\u180d\u180f]"
HAN_VARIANT = "[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af][\ufe00-\ufe02\U000e0100-\U000e01ef]"
SYMBOL_VARIANT = "[0\u2200-\u22ff\u2a00-\u2aff\u3000-\u303f\uff00-\uff60\u1000-\u109f\ua840-\ua87f][\ufe00\ufe01]"

VISIBLE_USES = (FLAG, EMOJI_SEQUENCE, KEYCAP, JOINED_LETTER, MONGOLIAN_VARIANT, HAN_VARIANT, SYMBOL_VARIANT)

HIDDEN_CLASS = f"[{CONTROLS}{LAYOUT}{IGNORABLE}{SURROGATES}]"
ASCII_CONTROL = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f]")

DELETE = 0x7F
CONTROL_PICTURES = 0x2400
DELETE_PICTURE = "\u2421"

LINE_PICTURES = {ord("\n"): "\u240a", ord("\r"): "\u240d", ord("\t"): "\u2409", ord("\f"): "\u240c"}
MAX_BASIC_CODE = 0xFFFF  # JSON writes a character beyond it as two escapes


def count_hidden(text: str) -> int:
    """Return the number of hidden characters in a text."""
    if not _find_candidate(text):
        return 0
    return sum(1 for match in _pattern().finditer(text) if match["hidden"])


def reveal(text: str) -> str:
    """Return a text with its hidden characters made visible; newlines, tabs and form feeds are kept."""
    return replace_hidden(text, show_character)


def visible_text(text: str) -> str:
    """Make hidden characters visible (controls, tags, marks that reorder text), except newlines and tabs."""
    return reveal(text.replace("\r\n", "\n")).replace("\f", LINE_PICTURES[ord("\f")])


def visible(line: str) -> str:
    """Make hidden characters, newlines and tabs visible in text that must stay on one line, such as a path."""
    if line.isascii() and line.isprintable():  # nearly always
        return line
    return reveal(line).translate(LINE_PICTURES)


def escape_hidden(document: str) -> str:
    """Return a JSON document with its hidden characters escaped, which does not change its content."""
    return replace_hidden(document, _escape_in_json)


def _escape_in_json(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code <= MAX_BASIC_CODE else json.dumps(character)[1:-1]


def replace_hidden(text: str, show: Callable[[str], str]) -> str:
    """Return a text with each hidden character replaced.

    Args:
        text: Any text.
        show: Returns the replacement of one hidden character.
    """
    if not _find_candidate(text):
        return text
    return _pattern().sub(lambda match: show(match[0]) if match["hidden"] else match[0], text)


def show_character(character: str) -> str:
    """Return the control picture (`␛`) of a control character, or the code point (`<U+200B>`) of any other."""
    code = ord(character)
    if code == DELETE:
        return DELETE_PICTURE
    return chr(CONTROL_PICTURES + code) if code < ord(" ") else f"<U+{code:04X}>"


def _find_candidate(text: str) -> bool:
    """Return whether a text has a character that may be hidden: a fast check, as most texts have none."""
    if "\r" in text.replace("\r\n", ""):
        return True
    if text.isascii():
        return not text.isprintable() and ASCII_CONTROL.search(text) is not None
    return _candidate().search("".join(set(text))) is not None


@functools.cache
def _candidate() -> "re.Pattern[str]":
    return re.compile(HIDDEN_CLASS)


@functools.cache
def _pattern() -> "re.Pattern[str]":
    """Return a pattern for a legitimate use of such characters, or else (group `hidden`) one hidden character."""
    return re.compile(f"{'|'.join(VISIBLE_USES)}|(?P<hidden>{HIDDEN_CLASS}|{LONE_RETURN})")
