"""Queries about long documents: words of a sentence, and the lines that it is on."""

import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent_brain_server.support.tokens import STOP_WORDS, stem, tokenize
from benchmarks.retrieval.kinds import KindQuery, KindSet, draw_order, make_tree
from benchmarks.retrieval.query_set import Target

KIND = "sentence of a long document"
QUERIES_PER_DOCUMENT = 45
PARAGRAPH_LINES = 3
SENTENCE_WORDS = range(9, 31)
QUERY_WORDS = range(5, 9)
RAREST_SHARE = 4
"""A quarter of a sentence's words, the rarest, are left out of the query: one rare word would find the sentence."""

OPENINGS = ("what ", "how ", "when ", "")
SENTENCE_END = re.compile(r"(?<=[.?!])\s+(?=[A-Z])")
NOT_PROSE = re.compile(r"\s*([-*+|=.>]|\d+[.)])")
"""A line of a list, a table or a directive."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence, its words without stop words, and its lines; 1-based, the last one inclusive."""

    text: str
    words: tuple[str, ...]
    start_line: int
    end_line: int


def make_sentence_sets(documents: Iterable[Path], directory: Path) -> list[KindSet]:
    """Copy documents into one tree and draw queries from their sentences.

    Args:
        documents: Text files, indexed as plain text.
        directory: Of the trees.
    """
    tree = make_tree(directory / "long-documents")
    queries = []
    for document in documents:
        text = document.read_text(encoding="utf-8", errors="replace")
        name = f"{document.stem}.txt"
        (tree / name).write_text(text, encoding="utf-8")
        queries += draw_sentences(text, name)
    return [KindSet(KIND, tree, tuple(queries))]


def draw_sentences(text: str, name: str) -> list[KindQuery]:
    """Return queries made of words of some sentences of a document."""
    rows = text.splitlines()
    paragraphs = list(_find_paragraphs(rows))
    frequency = Counter(word for start, end in paragraphs for word in set(tokenize(" ".join(rows[start:end]))))
    found = [sentence for start, end in paragraphs for sentence in _find_sentences(rows, start, end)]
    drawn = sorted(found, key=lambda sentence: draw_order(sentence.text))[:QUERIES_PER_DOCUMENT]
    return [
        KindQuery(
            _make_query(sentence, frequency, random.Random(sentence.text)),
            (Target(name, sentence.start_line, sentence.end_line),),
        )
        for sentence in drawn
    ]


def _find_paragraphs(rows: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield the first row of each paragraph of prose and the row after its last one."""
    start = 0
    for index, row in enumerate([*rows, ""]):
        if row.strip():
            continue
        if index - start >= PARAGRAPH_LINES and not any(NOT_PROSE.match(each) for each in rows[start:index]):
            yield start, index
        start = index + 1


def _find_sentences(rows: Sequence[str], start: int, end: int) -> Iterator[Sentence]:
    """Yield the sentences of a paragraph that are long enough."""
    lines_of_words = [number for number in range(start, end) for _ in rows[number].split()]
    position = 0
    for text in SENTENCE_END.split(" ".join(row.strip() for row in rows[start:end])):
        first, position = position, position + len(text.split())
        words = tuple(word.lower() for word in re.findall(r"[A-Za-z]{3,}", text) if word.lower() not in STOP_WORDS)
        if len(words) in SENTENCE_WORDS:
            yield Sentence(text, words, lines_of_words[first] + 1, lines_of_words[position - 1] + 1)


def _make_query(sentence: Sentence, frequency: Counter[str], chance: random.Random) -> str:
    rarest = sorted(range(len(sentence.words)), key=lambda index: frequency[stem(sentence.words[index])])
    dropped = set(rarest[: len(rarest) // RAREST_SHARE])
    kept = [word for index, word in enumerate(sentence.words) if index not in dropped]
    number = min(len(kept), chance.choice(QUERY_WORDS))
    chosen = sorted(chance.sample(range(len(kept)), number))
    return chance.choice(OPENINGS) + " ".join(kept[index] for index in chosen)
