"""Tokenizer for code and prose, shared by the keyword index, query parsing and ranking.

An identifier yields itself and its parts: `parseHTTPHeader` and `parse_http_header` both yield parsehttpheader, parse,
http and header. Tokens are lower case and stemmed.
"""

import re
from functools import lru_cache

import tantivy

WORD = re.compile(r"\w+")
"""A run of letters, digits and underscores of any script; kebab-case is split at its hyphens."""

PART = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
"""A part of an ASCII identifier: a camelCase hump, an acronym (`HTTPHeader` is HTTP and Header) or a number."""

OTHER_PART = re.compile(r"[^\W_0-9]+|[0-9]+")
"""A part of an identifier with letters of other scripts, which is not split at humps."""

UNSPACED_RUN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uac00-\ud7af]{1,32}")
"""Up to 32 Chinese, Japanese or Korean characters. Words are not separated by spaces, so bigrams are indexed."""

STEMMER = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.raw()).filter(tantivy.Filter.stemmer("english")).build()
"""The English Snowball stemmer; it hardly changes words of other languages."""

MAX_WORD_LENGTH = 64  # longer words are hashes, keys and encoded data, which would bloat the term dictionary
MAX_CACHED_WORDS = 1 << 13  # 3.5 MB; hit rate of 98.8 % on a project with 26,000 distinct words
MIN_SUBJECT_TERMS = 3  # terms of a subject line; headings of issue forms ("Describe the bug") have fewer

ENGLISH_STOP_WORDS = """
    a an and are as at be been but by can could did do does for from had has have how i if in into is it its me my
    no not of on or our should so some than that the their them then there these they this those to us was we were
    what when where which while who whom whose why will with would you your
"""
STOP_WORDS = frozenset(ENGLISH_STOP_WORDS.split())
"""Words ignored in queries: they are rare in code, so BM25 would weight them above the words that matter."""


def split_identifier(word: str) -> list[str]:
    """Return the parts of an identifier in lower case: `parseHTTPHeader2` yields parse, http, header, 2."""
    parts = PART if word.isascii() else OTHER_PART
    return [part.lower() for part in parts.findall(word)]


def normalize_name(word: str) -> str:
    """Return an identifier without underscores and in lower case, so that parseHeader equals parse_header."""
    return word.replace("_", "").lower()


def find_words(text: str) -> list[str]:
    """Return the words of a text as spelled, without overlong ones."""
    return [word for word in _split_words(text) if len(word) <= MAX_WORD_LENGTH]


def has_unspaced(text: str) -> bool:
    """Return whether a text has Chinese, Japanese or Korean characters, whose words are not separated by spaces."""
    return not text.isascii() and UNSPACED_RUN.search(text) is not None


def index_text(text: str) -> str:
    """Return the tokens of a text separated by spaces: the input of the keyword index."""
    return " ".join(filter(None, map(_expansions.__getitem__, _split_words(text))))


def tokenize(text: str) -> list[str]:
    """Return the tokens of a text in order, with repetitions."""
    return index_text(text).split()


def query_terms(query: str, *, limit: int) -> tuple[str, ...]:
    """Return the distinct tokens of a query in order, without stop words unless it consists of stop words.

    Args:
        query: Words, identifiers or both.
        limit: Maximum number of tokens to return.
    """
    words = find_words(query)
    content_words = [word for word in words if word.lower() not in STOP_WORDS]
    terms = dict.fromkeys(term for word in content_words or words for term in _expansions[word].split())
    return tuple(terms)[:limit]


def find_subject(text: str) -> str | None:
    """Return the first meaningful line of a text of several lines, such as the title of an issue.

    Returns:
        `None` if the text has a single line, or no line with `MIN_SUBJECT_TERMS` terms.
    """
    lines = [line for line in text.splitlines() if WORD.search(line)]
    if len(lines) < 2:
        return None
    return next((line for line in lines if len(query_terms(line, limit=MIN_SUBJECT_TERMS)) == MIN_SUBJECT_TERMS), None)


@lru_cache(maxsize=MAX_CACHED_WORDS)
def stem(word: str) -> str:
    """Return the stem of a lower-case English word (Snowball; Porter 2001): routers is router, routing is rout."""
    if not (word.isascii() and word.isalpha()):
        return word
    return STEMMER.analyze(word)[0]


def _split_words(text: str) -> list[str]:
    """Return the words of a text; unspaced runs are separated from other words, as in `HTTPリクエスト`."""
    return WORD.findall(UNSPACED_RUN.sub(r" \g<0> ", text) if has_unspaced(text) else text)


class _Expansions(dict[str, str]):
    """Words to their tokens; unlike `lru_cache`, it costs hardly more than a lookup, of which an index needs millions.

    It starts again when it is full. Threads may share it, because each operation is atomic.
    """

    def __missing__(self, word: str) -> str:
        if len(word) > MAX_WORD_LENGTH:
            return ""
        if len(self) >= MAX_CACHED_WORDS:
            self.clear()
        tokens = self[word] = _expand(word)
        return tokens


_expansions = _Expansions()


def _expand(word: str) -> str:
    """Return the tokens of one word, separated by spaces."""
    if UNSPACED_RUN.fullmatch(word):
        return word if len(word) == 1 else " ".join(word[at : at + 2] for at in range(len(word) - 1))
    whole = normalize_name(word)
    if word.islower() and word.isascii() and word.isalpha():
        return stem(whole)
    parts = [part for part in split_identifier(word) if len(part) > 1]
    tokens = dict.fromkeys(stem(token) for token in (whole, *parts) if token)
    return " ".join(tokens)
