"""Recognize questions about the structure of code: who calls X, tests of X, default of X, outline of F.

Only the form is recognized here; a caller has to check that X is defined, because "who calls back" has the same form.
"""

import re
from dataclasses import dataclass

from agent_brain_server.models.structure import StructuralKind
from agent_brain_server.search.symbol_names import SymbolName, parse_symbol_name

MAX_QUESTION_LENGTH = 300  # characters; longer texts describe something, and only mention such words

FORMS = (
    "who calls X", "callers of X", "what uses X", "where is X used", "who imports X", "subclasses of X",
    "what implements X", "tests of X", "where is X defined", "default of X", "where is X set",
    "outline of F",
)  # fmt: skip
"""Forms of questions, for messages."""

OPENING = r"(?:please\s+)?(?:(?:find|list|show|get|give)\s+(?:me\s+)?)?(?:all\s+)?(?:the\s+)?(?:of\s+the\s+)?"
NOUN = r"(?:function|method|class|interface|trait|protocol|struct|type|enum|module|macro|constant|variable|file|def|fn)"
TARGET = rf"(?:the\s+|an?\s+)?(?:{NOUN}\s+)?[`'\"]?(?P<target>[^\s`'\",?]+)[`'\"]?(?:\s+{NOUN})?"
WHO = rf"(?:who|what|(?:which|what)\s+(?:\w+\s+)?(?:{NOUN}s|{NOUN}es|classes|code|files|places|types))"

IS = r"(?:'s|\s+is|\s+are)"
BY_DEFAULT = r"(?:\s+by\s+default)?"

PATTERNS: tuple[tuple[StructuralKind, str], ...] = (
    ("values", rf"(?:what{IS}\s+)?{OPENING}(?:default|initial)(?:\s+(?:value|setting))?\s+(?:of|for)\s+{TARGET}"),
    ("values", rf"(?:what{IS}\s+)?{OPENING}value\s+of\s+{TARGET}{BY_DEFAULT}"),
    ("values", rf"what{IS}\s+{TARGET}\s+(?:(?:set|initiali[sz]ed|equal)\s+to{BY_DEFAULT}|by\s+default)"),
    ("values", rf"what{IS}\s+{TARGET}'s\s+(?:default|initial)?\s*(?:value)?"),
    ("values", rf"what\s+does\s+{TARGET}\s+default\s+to"),
    ("values", rf"where\s+(?:is|are)\s+{TARGET}\s+(?:set|initiali[sz]ed|configured|assigned){BY_DEFAULT}"),
    ("values", rf"(?:which|what)\s+value\s+(?:has|does)\s+{TARGET}(?:\s+have)?{BY_DEFAULT}"),
    ("callers", rf"{WHO}\s+(?:all\s+)?calls?\s+{TARGET}"),
    ("callers", rf"{OPENING}(?:callers?|call\s*sites?|calls|invocations)\s+(?:of|to)\s+{TARGET}"),
    ("callers", rf"where\s+(?:is|are|do\s+we|does\s+it)\s+{TARGET}\s+(?:called|invoked)(?:\s+from)?"),
    ("callers", rf"where\s+do\s+we\s+call\s+{TARGET}"),
    ("imports", rf"{WHO}\s+imports?\s+{TARGET}"),
    ("imports", rf"where\s+(?:is|are)\s+{TARGET}\s+imported(?:\s+from)?"),
    ("uses", rf"{WHO}\s+(?:uses?|references?|depends?\s+on|mentions?)\s+{TARGET}"),
    ("uses", rf"{OPENING}(?:uses|usages?|references|users)\s+(?:of|to)\s+{TARGET}"),
    ("uses", rf"where\s+(?:is|are)\s+{TARGET}\s+(?:used|referenced)"),
    ("subclasses", rf"{WHO}\s+(?:subclass(?:es)?|extends?|implements?|inherits?\s+from|derives?\s+from)\s+{TARGET}"),
    (
        "subclasses",
        rf"{OPENING}(?:(?:direct|known)\s+)?(?:sub-?class(?:es)?|sub-?types|child\s+classes|children|derived\s+classes|"
        rf"implementations|implementers|implementors|implementing\s+(?:classes|types))\s+(?:of|for)\s+{TARGET}",
    ),
    (
        "subclasses",
        rf"{OPENING}(?:classes|types|structs)\s+(?:that\s+|which\s+)?"
        rf"(?:subclass|extend|implement|inherit\s+from|derive\s+from|extending|implementing|inheriting\s+from)\s+{TARGET}",
    ),
    ("tests", rf"{OPENING}(?:unit\s+)?tests?\s+(?:of|for|covering|that\s+cover|that\s+use|that\s+test)\s+{TARGET}"),
    ("tests", rf"(?:which|what)\s+(?:unit\s+)?tests\s+(?:test|cover|use|exercise|check)\s+{TARGET}"),
    ("tests", rf"(?:where|how)\s+(?:is|are)\s+{TARGET}\s+tested"),
    ("tests", rf"what\s+tests\s+{TARGET}"),
    ("outline", rf"{OPENING}(?:outline|structure|definitions|contents|members|methods)\s+(?:of|in)\s+{TARGET}"),
    ("outline", rf"what\s+(?:is\s+(?:defined\s+)?in|does)\s+{TARGET}(?:\s+(?:define|contain))?"),
    ("outline", rf"outline\s+{TARGET}"),
    ("definition", rf"where\s+(?:is|are)\s+{TARGET}\s+(?:defined|declared|implemented|located)"),
    ("definition", rf"{OPENING}(?:definition|declaration|implementation)\s+(?:of|for)\s+{TARGET}"),
)

ASKS_FOR_VALUE = re.compile(r"\b(?:defaults?|initial(?:ly)?|set to|configured)\b", re.IGNORECASE)
IDENTIFIER = re.compile(
    r"`([^`\s]{1,100})`|(?<![\w./-])((?:\w+[.:]{1,2})*\w*(?:[a-z]_?[A-Z]|[A-Za-z0-9]_[A-Za-z0-9])\w*)(?![\w/-])"
)
"""A name in a sentence: in backticks, or with an underscore or a capital letter inside."""

MAX_NAMES = 3  # of a question about a value
MIN_WORD = 4  # characters of a word that tells places apart

_COMPILED = tuple((kind, re.compile(pattern, re.IGNORECASE)) for kind, pattern in PATTERNS)


@dataclass(frozen=True, slots=True)
class StructuralQuestion:
    """A question about the structure.

    Attributes:
        kind: What it asks for.
        target: X as typed: a name or a path.
    """

    kind: StructuralKind
    target: str

    @property
    def name(self) -> SymbolName | None:
        """The target as a name; `None` if it cannot be one."""
        return parse_symbol_name(self.target)


def parse_structural(query: str) -> StructuralQuestion | None:
    """Return the question that a query has the form of, or `None`."""
    if len(query) > MAX_QUESTION_LENGTH:
        return None
    text = " ".join(query.split()).rstrip("?.! ")
    for kind, pattern in _COMPILED:
        found = pattern.fullmatch(text)
        if found:
            return StructuralQuestion(kind, found["target"].rstrip(".,;:"))
    return None


def find_value_names(query: str) -> tuple[SymbolName, ...]:
    """Return the names in a sentence that asks for a default or another value; nothing for other sentences."""
    if len(query) > MAX_QUESTION_LENGTH or not ASKS_FOR_VALUE.search(query):
        return ()
    found = (parse_symbol_name(quoted or plain) for quoted, plain in IDENTIFIER.findall(query))
    return tuple(dict.fromkeys(name for name in found if name is not None))[:MAX_NAMES]


def find_place_words(query: str, names: tuple[SymbolName, ...]) -> frozenset[str]:
    """Return the words of a sentence, in lower case, that may name the place of a value: a file, class or function."""
    words = {word.lower() for word in re.findall(r"\w+", query) if len(word) >= MIN_WORD}
    return frozenset(words - {name.name.lower() for name in names} - {"default", "defaults", "value"})
