"""Recognize lines that give a name a value: fallbacks, keys with a literal, defaults of parameters, documented ones."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MAX_ROW = 500
"""Characters of a line that are compared; longer lines are minified."""

MAX_DOCUMENTATION = 160
"""Characters shown of a comment that states a default."""

EQUALS = r"(?::=|\?\?=|\|\|=|=(?![=>~]))"
TYPE = r"(?:[?!]?\s*:(?:[^=,:\[(<{]|::|\[[^=]{0,100}\]|<[^=]{0,100}>){1,100})?"
LITERAL = (
    r"(?:[-+]?\.?\d|[frbu]?['\"`]|\[|\{|(?i:true|false|null|nil|none|undefined|nan|infinity)\b|"
    r"_{0,2}[A-Z][A-Z0-9_]{2,}\b)"
)
CONSTANT = r"(?:[\w.]*(?:DEFAULT|Default|default)\w*)"
COMMENT = re.compile(r"\s*(?://|#(?!define)|\*|/\*|--|\"\"\"|''')")
DOCUMENTED = re.compile(r"\bdefault", re.IGNORECASE)
NAMED_VALUE = re.compile(r"[=:?|,(]\s*(?:\w+\.)?(_{0,2}[A-Z][A-Z0-9_]{2,})\s*[,;)}]*\s*$")
"""A constant at the end of a line, as the value of something."""

TRIPLE_QUOTES = re.compile(r"\"\"\"|'''")


@dataclass(frozen=True, slots=True)
class ValuePatterns:
    """Patterns of the lines that give one name a value.

    Attributes:
        assigns: An assignment, or the default of a parameter; group `value`.
        sets_key: A key of an object or a named argument; group `value`.
        falls_back: An expression that replaces a missing value; group `value`.
        names: The name as a whole word.
    """

    assigns: re.Pattern[str]
    sets_key: re.Pattern[str]
    falls_back: re.Pattern[str]
    names: re.Pattern[str]


def make_patterns(name: str) -> ValuePatterns:
    """Return the patterns for a name."""
    spelled = re.escape(name)
    value = rf"(?P<value>(?:{LITERAL}|{CONSTANT}).*)"
    word = rf"(?<![\w$]){spelled}(?![\w$])"
    missing = r"(?:!==?\s*(?:null|undefined)|===?\s*(?:null|undefined)|is\s+(?:not\s+)?None)"
    operators = (
        rf"{word}\s*(?:\?\?|\|\||\bor\b|\?:|:-)\s*\(?\s*{value}",  # name ?? value, name or value, ${name:-value}
        rf"{word}(?:\s*{missing})?\s*\?[^?]{{1,100}}?:\s*{value}",  # name != null ? name : value
        rf"['\"]{spelled}['\"]\s*[,)]\s*(?:default\w*\s*=\s*)?{value}",  # get("name", value)
        rf"{word}(?:\.\w+(?:\(\))?)?\.(?:unwrap_or|getOrElse|orElse|get_or_insert)\w*\(\s*{value}",
        rf"['\"]-?-?{re.escape(name.replace('_', '-'))}['\"].*\bdefault\w*\s*[=:]\s*{value}",  # options of a command
    )
    return ValuePatterns(
        re.compile(rf"(?<![\w$]){spelled}(?:\[[^\]]*\])?{TYPE}\s*{EQUALS}\s*(?P<value>.*)"),
        re.compile(rf"(?:^|[\s{{(,\['\"]){spelled}['\"]?\s*(?::(?!:)|=>)\s*(?P<value>\S.*)"),
        re.compile("|".join(_number_groups(operators))),
        re.compile(word),
    )


def _number_groups(patterns: Sequence[str]) -> Iterator[str]:
    """Yield patterns whose groups have different names, as alternatives of one pattern need."""
    for number, pattern in enumerate(patterns):
        yield pattern.replace("(?P<value>", f"(?P<value{number}>")


def rank_row(row: str, patterns: ValuePatterns) -> int | None:
    """Return how directly a line gives a value, 1 for the most direct; `None` if it does not."""
    if patterns.falls_back.search(row):
        return 1
    assigned = patterns.assigns.search(row)
    if assigned and re.match(LITERAL, assigned["value"]):
        return 2
    key = patterns.sets_key.search(row)
    if key and re.match(rf"{LITERAL}|{CONSTANT}", key["value"]):
        return 2
    return None


def find_named_value(text: str) -> str | None:
    """Return the constant that a line ends with, as `timeout = DEFAULT_TIMEOUT,` does, or `None`."""
    match = NAMED_VALUE.search(text)
    return match[1] if match else None


def find_documented(rows: Sequence[str], first: int, last: int) -> str | None:
    """Return the line of a comment in a range of lines that states a default, cut around it."""
    for row in rows[first - 1 : last]:
        match = DOCUMENTED.search(row[:MAX_ROW])
        if match and COMMENT.match(row):
            text = " ".join(row[:MAX_ROW].split())
            return text if len(text) <= MAX_DOCUMENTATION else f"…{row[match.start() :][:MAX_DOCUMENTATION].strip()}"
    return None


def list_code_rows(rows: Sequence[str], first: int, last: int) -> Iterator[tuple[int, str]]:
    """Yield the numbers and beginnings of lines that are neither comments nor parts of a docstring."""
    within_string = within_comment = False
    for number in range(first, min(last, len(rows)) + 1):
        row = rows[number - 1][:MAX_ROW]
        quotes = len(TRIPLE_QUOTES.findall(row))
        if within_comment:
            within_comment = "*/" not in row
        elif within_string:
            within_string = quotes % 2 == 0
        elif quotes % 2:
            within_string = True
            if not TRIPLE_QUOTES.match(row.lstrip(" rRbBuUfF")):
                yield number, row
        elif COMMENT.match(row):
            within_comment = row.lstrip().startswith("/*") and "*/" not in row
        else:
            yield number, row
