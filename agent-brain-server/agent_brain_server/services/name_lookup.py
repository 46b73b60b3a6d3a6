"""Find the chunks that define the name which a query consists of, and those that contain its phrase word for word."""

from collections.abc import Sequence

from agent_brain_server.search.phrases import find_runs, match_phrases
from agent_brain_server.search.qualified_name import NameMatch, QualifiedName, ends_path, parse_qualified_name
from agent_brain_server.storage.document_store import DocumentStore
from agent_brain_server.storage.symbol_index import SymbolIndex
from agent_brain_server.types import AllowedChunks, Hit

MAX_QUALIFIER = 4
"""Innermost parts of a qualifier that are compared: each takes a look-up."""

PHRASE_CANDIDATES = 15
"""Hits whose texts are read: a text with most of a query's words one after another is among the best by BM25."""


def find_defining(documents: DocumentStore, query: str, allowed: AllowedChunks | None) -> dict[int, NameMatch]:
    """Return the chunks that define the name which a query consists of, with how well they match; by key.

    Args:
        documents: Holds the definitions.
        query: Text of the query; nothing is found for other text than a name.
        allowed: Restricts the chunks; `None` allows all.
    """
    name = parse_qualified_name(query)
    if name is None:
        return {}
    found = _match_names(documents.symbols, name)
    if not found:
        return {}
    if name.qualifier:
        _match_qualifiers(documents, name, found)
    if allowed is None:
        return found
    permitted = set(allowed.keys.tolist())
    return {key: match for key, match in found.items() if key in permitted}


def find_phrases(documents: DocumentStore, query: str, hits: Sequence[Hit]) -> dict[int, float]:
    """Return the share of the query's phrase that the best hits of the keyword index contain word for word, by key."""
    if not find_runs(query):
        return {}
    chunks = documents.chunks_by_keys(hit.key for hit in hits[:PHRASE_CANDIDATES])
    return match_phrases(query, {key: chunk.text for key, chunk in chunks.items()})


def _match_names(symbols: SymbolIndex, name: QualifiedName) -> dict[int, NameMatch]:
    found = dict.fromkeys(symbols.defining_keys(name.name, ignore_case=True), NameMatch.IGNORE_CASE)
    if found:
        exact = NameMatch.NAME if name.qualifier else NameMatch.COMPLETE
        found.update(dict.fromkeys(symbols.defining_keys(name.name), exact))
    return found


def _match_qualifiers(documents: DocumentStore, name: QualifiedName, found: dict[int, NameMatch]) -> None:
    """Raise the match of definitions of the same spelling whose enclosing names or module match the qualifier."""
    qualifier = name.qualifier[-MAX_QUALIFIER:]
    paths = {key: chunk.path for key, chunk in documents.metadata_by_keys(found.keys()).items()}
    for outer in range(len(qualifier), -1, -1):  # the shortest enclosing part first, which most definitions match
        modules, enclosing = qualifier[:outer], qualifier[outer:]
        for key in documents.symbols.defining_keys(name.name, enclosing, ignore_case=True):
            if found.get(key, 0) < NameMatch.NAME:
                continue
            if key in paths and (not modules or ends_path(paths[key], modules)):
                found[key] = NameMatch.COMPLETE
            elif enclosing:
                found[key] = max(found[key], NameMatch.PART_OF_QUALIFIER)
