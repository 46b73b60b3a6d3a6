"""Find texts that contain a query's words one after another, as error messages are searched.

The words of a message in code may be separated by quotation marks, line breaks and placeholders, so that only runs of
words are compared, and not all words have to be in the run.
"""

import math
import re
from collections.abc import Mapping
from functools import lru_cache

from agent_brain_server.support.tokens import STOP_WORDS, find_words

QUOTED = re.compile(r"\"([^\"\n]{8,300})\"|“([^”\n]{8,300})”")
WORD_BYTES = bytes(byte if byte >= 128 or chr(byte).isalnum() or byte == ord("_") else ord(" ") for byte in range(256))
"""Translation of other ASCII characters to spaces: ten times as fast as a regular expression."""

MIN_RUN = 4  # words of a query; fewer are in a text by chance
MIN_QUOTED_RUN = 3  # words of a quotation
LONG_RUN = 5  # so many words are no chance, whatever their share
MIN_SHARE = 0.6  # of the words, for shorter runs: the others are names and numbers where the code has placeholders
MIN_CONTENT = 2  # words of a run that are no stop words
MAX_WORDS = 24  # of a phrase: bounds the number of runs
MAX_PHRASE_LINES = 1_000  # of a text that are compared one by one
MAX_TEXT = 20_000  # characters of a chunk that are searched


@lru_cache(maxsize=256)
def find_runs(query: str) -> tuple[tuple[bytes, ...], ...]:
    """Return the runs of words to look for, by length, shortest first.

    Args:
        query: A quotation in it is looked for alone.

    Returns:
        Words as UTF-8, separated and surrounded by single spaces. The last group holds the whole phrase. Nothing if the
        query has no phrase.
    """
    quotation = QUOTED.search(query)
    words = find_words(((quotation[1] or quotation[2]) if quotation else query).lower())
    least = max(MIN_QUOTED_RUN if quotation else MIN_RUN, min(LONG_RUN, math.ceil(MIN_SHARE * len(words))))
    if not least <= len(words) <= MAX_WORDS:
        return ()
    return tuple(
        tuple(
            f" {' '.join(run)} ".encode()
            for run in (words[start : start + length] for start in range(len(words) - length + 1))
            if sum(word not in STOP_WORDS for word in run) >= MIN_CONTENT
        )
        for length in range(least, len(words) + 1)
    )


def match_phrases(query: str, texts: Mapping[int, str]) -> dict[int, float]:
    """Return the share of a query's phrase that the longest run in each text has; texts without a run are left out."""
    runs = find_runs(query)
    if not runs:
        return {}
    least = len(runs[0][0].split()) if runs[0] else 0
    words = least + len(runs) - 1
    shares = {}
    for key, text in texts.items():
        normalized = _normalize(text[:MAX_TEXT])
        longer = 0  # than the shortest runs; a text with a run has each part of it too, so that most are read once
        while longer < len(runs) and any(run in normalized for run in runs[longer]):
            longer += 1
        if longer:
            shares[key] = (least + longer - 1) / words
    return shares


def find_phrase_line(query: str, text: str) -> int | None:
    """Return the index of the line of a text that has the most of a query's phrase, or `None` if none has a run."""
    shares = match_phrases(query, dict(enumerate(text.split("\n")[:MAX_PHRASE_LINES])))
    return max(shares, key=lambda index: shares[index], default=None)


def _normalize(text: str) -> bytes:
    """Return the words of a text in lower case as UTF-8, separated and surrounded by single spaces."""
    words = text.lower().encode(errors="replace").translate(WORD_BYTES).split()
    return b" %b " % b" ".join(words)
