"""Find texts that contain a query's words one after another, as error messages are searched.

The words of a message in code may be separated by quotation marks, line breaks and placeholders, so that only runs of
words are compared, and not all words have to be in the run.
"""

import math
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

from agent_brain_server.support.tokens import find_words

QUOTED = re.compile(r"\"([^\"\n]{8,300})\"|“([^”\n]{8,300})”")
SEPARATORS = re.compile(r"\W+")
MIN_RUN = 4  # words of a query; fewer are in a text by chance
MIN_QUOTED_RUN = 3  # words of a quotation
MIN_SHARE = 0.6  # of the words: the others are names and numbers where the code has placeholders
MAX_WORDS = 24  # of a phrase: bounds the number of runs
MAX_TEXT = 20_000  # characters of a chunk that are searched


@lru_cache(maxsize=256)
def find_runs(query: str) -> tuple[tuple[str, float], ...]:
    """Return the runs of words to look for, longest first, each with its share of the phrase.

    Args:
        query: A quotation in it is looked for alone.

    Returns:
        Words separated and surrounded by single spaces. Nothing if the query has no phrase.
    """
    quotation = QUOTED.search(query)
    words = [word.lower() for word in find_words((quotation[1] or quotation[2]) if quotation else query)]
    least = max(MIN_QUOTED_RUN if quotation else MIN_RUN, math.ceil(MIN_SHARE * len(words)))
    if not least <= len(words) <= MAX_WORDS:
        return ()
    return tuple(
        (f" {' '.join(words[start : start + length])} ", length / len(words))
        for length in range(len(words), least - 1, -1)
        for start in range(len(words) - length + 1)
    )


def match_phrases(query: str, texts: Mapping[int, str]) -> dict[int, float]:
    """Return the share of a query's phrase that the longest run in each text has; texts without a run are left out."""
    runs = find_runs(query)
    if not runs:
        return {}
    normalized = {key: f" {SEPARATORS.sub(' ', text[:MAX_TEXT].lower())} " for key, text in texts.items()}
    shares = {key: _longest_share(runs, text) for key, text in normalized.items()}
    return {key: share for key, share in shares.items() if share}


def _longest_share(runs: Iterable[tuple[str, float]], text: str) -> float:
    return next((share for run, share in runs if run in text), 0.0)
