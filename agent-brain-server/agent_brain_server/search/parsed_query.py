"""What a query asks for, read from how it is written."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from agent_brain_server.support.tokens import STOP_WORDS, find_words, query_terms, split_identifier, stem, whole_name

MAX_TERMS = 64
"""Terms of a query that ranking compares; as many as the keyword index looks up."""

MAX_NAME_WORDS = 2
"""A query of this many words at the most is taken for names: people type `Router mount`, but not as a sentence."""

MIN_PREFIX = 3
"""Letters that relatives begin with in common, and that another's beginning has at least: log and logger, not io."""

QUALIFIED_NAME = re.compile(r"\w++(?:(?:\.|::|->|#|/)\w++)++")
"""A name with what it belongs to: `Client.send`, `std::move`, `Net::HTTP#get`."""

TEST_WORDS = frozenset(map(stem, ("test", "tests", "testing", "spec", "fixture", "mock", "benchmark")))
DOC_WORDS = frozenset(
    map(stem, ("doc", "docs", "documentation", "readme", "guide", "tutorial", "changelog", "license", "install", "faq"))
)

PERSONS = frozenset(("i", "me", "my", "mine", "we", "us", "our", "ours", "you", "your", "yours"))
"""Who speaks of themselves wants to use the code, which is what documentation is for: "can I run it twice"."""


@dataclass(frozen=True, slots=True)
class ParsedQuery:
    """A query, read.

    Attributes:
        terms: Its words and their parts, stemmed, without stop words.
        terms_by_beginning: The same by their first `MIN_PREFIX` letters.
        names: Those that are identifiers, whole, lower case and without underscores.
        is_symbol: It is a name and nothing else.
        asks_tests: It speaks of tests.
        asks_docs: It speaks of documentation, or of whoever asks.
    """

    terms: frozenset[str]
    terms_by_beginning: Mapping[str, Sequence[str]]
    names: frozenset[str]
    is_symbol: bool
    asks_tests: bool
    asks_docs: bool


@lru_cache(maxsize=256)
def parse_query(query: str) -> ParsedQuery:
    """Read a query."""
    written = find_words(query)
    telling = [word for word in written if word.lower() not in STOP_WORDS] or written
    terms = frozenset(query_terms(query, limit=MAX_TERMS))
    is_symbol = len(written) == 1 or QUALIFIED_NAME.fullmatch(query.strip()) is not None
    are_names = is_symbol or len(written) <= MAX_NAME_WORDS
    names = frozenset(whole_name(word) for word in telling if are_names or is_identifier(word))
    return ParsedQuery(
        terms=terms,
        terms_by_beginning=_group_by_beginning(terms),
        names=names,
        is_symbol=is_symbol,
        asks_tests=not terms.isdisjoint(TEST_WORDS),
        asks_docs=not (terms.isdisjoint(DOC_WORDS) and PERSONS.isdisjoint(map(str.lower, written))),
    )


def _group_by_beginning(terms: Iterable[str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = defaultdict(list)
    for term in sorted(terms):
        groups[term[:MIN_PREFIX]].append(term)
    return dict(groups)


def is_identifier(word: str) -> bool:
    """Tell whether a word is written as no word of prose is: parse_header, parseHeader, HTTPClient, utf8."""
    return "_" in word.strip("_") or len(split_identifier(word)) > 1
