"""Documents of the keyword index, made so that deleted ones do not change the scores of the others.

BM25 needs the number of documents, the number with each term, and the mean length of each field. tantivy counts deleted
documents in all three until it happens to merge their segment, so that an index that followed a tree would score
differently from a new one. The two numbers can be corrected when a query is made (`keyword_statistics.py`). The mean
length cannot, and is therefore the same in every index: each file adds filler documents, so that the mean of its
documents is `MEAN_LENGTHS`. They are deleted with the file, contain no word, and are never found.

When tantivy merges segments with deleted documents, it takes lengths from one byte for each document and field, which
rounds them. So all lengths are ones that the byte can represent; shorter texts are filled up.
"""

import itertools
import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath

import tantivy

from agent_brain_server.support.tokens import index_text
from agent_brain_server.types import Chunk, StoredChunk

ANALYZER = "words"

MEAN_LENGTHS: Mapping[str, int] = {"body": 88, "symbols": 3, "path": 3, "heading": 2}
"""Mean number of tokens by field: about the means of 20 repositories. Larger ones need fewer fillers and rank worse."""

MAX_TOKENS: Mapping[str, int] = {"body": 4_096, "symbols": 64, "path": 32, "heading": 32}
"""Tokens of a field that are indexed, which bounds the number of fillers."""

ROLE = "role"
"""Field that tells chunks from fillers."""

CHUNK_ROLE = "chunk"
FILLER_ROLE = "filler"

FILLER_TOKEN = "-"  # no word contains it, so no query finds it

EXACT_LENGTHS = 40
"""Lengths up to this one are stored as they are; above it, in steps that double after eight."""

MAX_LENGTH = 1 << 20
"""At least the longest length in `LENGTHS`."""

TIE_DIGITS = 15
"""Hex digits of a chunk's id by which equal scores are ordered, as many as a field can hold."""


def _list_lengths() -> list[int]:
    lengths = list(range(EXACT_LENGTHS))
    step = 2
    while lengths[-1] < MAX_LENGTH:
        first = EXACT_LENGTHS if step == 2 else lengths[-1] + step // 2
        lengths += range(first, first + 8 * step, step)
        step *= 2
    return lengths


LENGTHS = _list_lengths()
"""The lengths that one byte represents, ascending: 24 + m·2^s with m from 8 to 15 (Lucene's `SmallFloat`)."""


def build_schema() -> tantivy.Schema:
    """Return the schema of the index."""
    builder = tantivy.SchemaBuilder()
    builder.add_unsigned_field("key", fast=True)
    builder.add_unsigned_field("tie", fast=True)
    for field in MEAN_LENGTHS:
        builder.add_text_field(field, tokenizer_name=ANALYZER, index_option="freq")
    for field in ("path_raw", "language", "source_type", ROLE):
        builder.add_text_field(field, tokenizer_name="raw", index_option="basic")
    return builder.build()


def make_documents(path: str, chunks: Sequence[StoredChunk]) -> Iterator[tantivy.Document]:
    """Yield the documents of a file: its chunks, and the fillers that keep the mean lengths.

    Args:
        path: Path of the file.
        chunks: All its chunks.
    """
    totals = dict.fromkeys(MEAN_LENGTHS, 0)
    path_text = index_text(str(PurePosixPath(path).with_suffix("")))
    for stored in chunks:
        document = _describe(stored)
        for field, text in _texts_of(stored.chunk, path_text).items():
            filled, length = _fill(text, MAX_TOKENS[field])
            document.add_text(field, filled)
            totals[field] += length
        yield document
    if not chunks:
        return
    made: dict[tuple[int, ...], tantivy.Document] = {}  # most fillers of a file are equal; the writer copies them
    for lengths in plan_fillers(len(chunks), totals):
        key = tuple(lengths.values())
        if key not in made:
            made[key] = _make_filler(path, lengths)
        yield made[key]


def _fill(text: str, limit: int) -> tuple[str, int]:
    """Return at most `limit` tokens, filled up to a representable length, and that length."""
    count = text.count(" ") + 1 if text else 0
    if count > limit:
        text, count = " ".join(text.split(maxsplit=limit)[:limit]), limit
    length = round_up(count)
    return text + f" {FILLER_TOKEN}" * (length - count), length


def _make_filler(path: str, lengths: Mapping[str, int]) -> tantivy.Document:
    document = tantivy.Document()
    document.add_text("path_raw", path)
    document.add_text(ROLE, FILLER_ROLE)
    for field, length in lengths.items():
        if length:
            document.add_text(field, f"{FILLER_TOKEN} " * length)
    return document


def plan_fillers(chunks: int, totals: Mapping[str, int]) -> list[dict[str, int]]:
    """Return the lengths of the fillers of a file, by field: as few fillers as bring all means to `MEAN_LENGTHS`.

    Args:
        chunks: Number of chunks.
        totals: Sum of their lengths, by field.
    """
    needed = max(math.ceil(totals[field] / mean) for field, mean in MEAN_LENGTHS.items())
    for count in itertools.count(max(0, needed - chunks)):
        missing = {field: mean * (chunks + count) - totals[field] for field, mean in MEAN_LENGTHS.items()}
        split = {field: _split_length(length, count) for field, length in missing.items()}
        if all(lengths is not None for lengths in split.values()):
            return [
                {field: lengths[number] for field, lengths in split.items() if lengths is not None}
                for number in range(count)
            ]
    raise AssertionError("unreachable: enough fillers can have any length")


def _split_length(length: int, count: int) -> list[int] | None:
    """Return `count` representable lengths with a sum, or `None` if there are none."""
    if length < 0:
        return None
    parts = []
    for _ in range(count):
        if not length:
            break
        parts.append(LENGTHS[bisect_right(LENGTHS, length) - 1])
        length -= parts[-1]
    return parts + [0] * (count - len(parts)) if length == 0 else None


def round_up(length: int) -> int:
    """Return the smallest representable length that is not less than a length."""
    return LENGTHS[bisect_left(LENGTHS, length)]


def _describe(stored: StoredChunk) -> tantivy.Document:
    """Return the document of a chunk without its texts."""
    chunk = stored.chunk
    document = tantivy.Document()
    document.add_unsigned("key", stored.key)
    document.add_unsigned("tie", tie_of(chunk))
    document.add_text("path_raw", chunk.path)
    document.add_text("language", chunk.language)
    document.add_text("source_type", chunk.source_type)
    document.add_text(ROLE, CHUNK_ROLE)
    return document


def tie_of(chunk: Chunk) -> int:
    """Return a number that orders chunks of equal score: it comes from their content, unlike the key."""
    digits = chunk.id[:TIE_DIGITS]
    try:
        return int(digits, 16)
    except ValueError:  # an id that is not of the product's making
        return int.from_bytes(digits.encode()[:7], "big")


def _texts_of(chunk: Chunk, path_text: str) -> dict[str, str]:
    """Return the tokens of a chunk by field; a path without its extension, which only repeats the language."""
    return {
        "body": index_text(chunk.text_in_context(has_members=False)),
        "symbols": index_text(" ".join(chunk.symbols)),
        "path": path_text,
        "heading": index_text(chunk.heading or ""),
    }
