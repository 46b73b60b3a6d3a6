"""Parse a query: its terms, the identifiers it names, and whether it asks for tests or documentation."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from agent_brain_server.support.tokens import (
    STOP_WORDS,
    find_subject,
    find_words,
    has_unspaced,
    normalize_name,
    query_terms,
    split_identifier,
    stem,
)

MAX_TERMS = 64  # as many as the keyword index looks up
MAX_NAME_WORDS = 2  # shorter queries are names: users type `Router mount`, but no sentence of two words
MIN_PREFIX = 3  # shortest common prefix of related words: log and logger, but not io

QUALIFIED_NAME = re.compile(r"\w++(?:(?:\.|::|->|#|/)\w++)++")
"""A qualified identifier: `Client.send`, `std::move`, `Net::HTTP#get`."""

TEST_WORDS = frozenset(map(stem, ("test", "tests", "testing", "spec", "fixture", "mock", "benchmark")))
DOC_WORDS = frozenset(
    map(stem, ("doc", "docs", "documentation", "readme", "guide", "tutorial", "changelog", "license", "install", "faq"))
)

PRONOUNS = frozenset(("i", "me", "my", "mine", "we", "us", "our", "ours", "you", "your", "yours"))
"""Personal pronouns mark short questions about using the code, which documentation answers: "can I run it twice"."""

MAX_QUESTION_WORDS = 16  # longer sentences with a pronoun are reports, whose answer is code


@dataclass(frozen=True, slots=True)
class ParsedQuery:
    """A parsed query.

    Attributes:
        terms: Stemmed words and parts of identifiers, without stop words.
        terms_by_prefix: The terms by their first `MIN_PREFIX` letters.
        names: Identifiers in the query, normalized by `normalize_name`.
        is_symbol: Whether the query is one identifier and nothing else.
        asks_tests: Whether the query mentions tests; of several lines, only the first counts.
        asks_docs: Whether the query mentions documentation, or is a short question with a personal pronoun and without
            an identifier; of several lines, only the first counts.
    """

    terms: frozenset[str]
    terms_by_prefix: Mapping[str, Sequence[str]]
    names: frozenset[str]
    is_symbol: bool
    asks_tests: bool
    asks_docs: bool


@lru_cache(maxsize=256)
def parse_query(query: str) -> ParsedQuery:
    """Parse a query."""
    words = find_words(query)
    content_words = [word for word in words if word.lower() not in STOP_WORDS] or words
    terms = frozenset(query_terms(query, limit=MAX_TERMS))
    is_unspaced = has_unspaced(query)  # a sentence without spaces, not a name
    is_symbol = not is_unspaced and (len(words) == 1 or QUALIFIED_NAME.fullmatch(query.strip()) is not None)
    all_are_names = is_symbol or len(words) <= MAX_NAME_WORDS
    names = frozenset(normalize_name(word) for word in content_words if all_are_names or is_identifier(word))
    subject = find_subject(query) or query
    subject_terms = terms if subject is query else frozenset(query_terms(subject, limit=MAX_TERMS))
    return ParsedQuery(
        terms=terms,
        terms_by_prefix=_group_by_prefix(terms),
        names=names,
        is_symbol=is_symbol,
        asks_tests=not subject_terms.isdisjoint(TEST_WORDS),
        asks_docs=not subject_terms.isdisjoint(DOC_WORDS) or asks_about_use(subject),
    )


def asks_about_use(question: str) -> bool:
    """Return whether a line asks how to use the code: a short question with a pronoun that names no identifier."""
    words = find_words(question)
    return (
        len(words) <= MAX_QUESTION_WORDS
        and not PRONOUNS.isdisjoint(map(str.lower, words))
        and not any(map(is_identifier, words))
    )


def _group_by_prefix(terms: Iterable[str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = defaultdict(list)
    for term in sorted(terms):
        groups[term[:MIN_PREFIX]].append(term)
    return dict(groups)


def is_identifier(word: str) -> bool:
    """Return whether a word is spelled like an identifier: parse_header, parseHeader, HTTPClient, utf8."""
    return "_" in word.strip("_") or len(split_identifier(word)) > 1
