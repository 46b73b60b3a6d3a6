"""The fields of the keyword index, and what of a chunk goes into which."""

from pathlib import PurePosixPath

import tantivy

from agent_brain_server.tokens import index_text
from agent_brain_server.types import Chunk, StoredChunk

ANALYZER = "words"

FIELD_BOOSTS = {"body": 1.0, "symbols": 0.7, "path": 1.0, "heading": 0.5}
"""Weight of a match by where it stands."""


def build_schema() -> tantivy.Schema:
    """Return the fields."""
    builder = tantivy.SchemaBuilder()
    builder.add_unsigned_field("key", fast=True)
    for field in FIELD_BOOSTS:
        builder.add_text_field(field, tokenizer_name=ANALYZER, index_option="freq")
    for field in ("path_raw", "language", "source_type"):
        builder.add_text_field(field, tokenizer_name="raw", index_option="basic")
    return builder.build()


def document_of(stored: StoredChunk) -> tantivy.Document:
    """Return a chunk as the index takes it in."""
    chunk = stored.chunk
    document = tantivy.Document()
    document.add_unsigned("key", stored.key)
    document.add_text("body", index_text(chunk.text))
    document.add_text("symbols", index_text(" ".join(chunk.symbols)))
    document.add_text("path", _path_words(chunk))
    document.add_text("heading", index_text(chunk.heading or ""))
    document.add_text("path_raw", chunk.path)
    document.add_text("language", chunk.language)
    document.add_text("source_type", chunk.source_type)
    return document


def _path_words(chunk: Chunk) -> str:
    """Return the words of the path without the file's suffix, which says no more than the language does."""
    return index_text(str(PurePosixPath(chunk.path).with_suffix("")))
