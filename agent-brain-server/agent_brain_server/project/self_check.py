"""Try what a server needs in a separate process: `python -m agent_brain_server.project.self_check` prints JSON.

Native code that does not fit this machine ends the process and not whoever asks; and who asks need import none of it.
Nothing is written, neither into an index nor beside it.
"""

import argparse
import importlib
import importlib.metadata
import json
import os
import re
import sqlite3
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

from agent_brain_server import __version__
from agent_brain_server.storage_paths import DOCUMENTS_DIR, KEYWORDS_DIR, VECTORS_DIR
from agent_brain_server.support.state_files import read_file
from agent_brain_server.support.telemetry import disable_telemetry

DISTRIBUTION = "agent-brain-server"

REQUIREMENT_NAME = re.compile(r"[A-Za-z0-9._-]+")

NATIVE_MODULES = (
    "chromadb",
    "httptools",
    "llama_index.core",
    "numpy",
    "onnxruntime",
    "orjson",
    "tantivy",
    "tokenizers",
    "tree_sitter",
    "uvloop",
)
"""Imported for real: wheels of these can be of another machine, or lack a library of the system."""

LEAST_LIKENESS = 0.99
"""Cosine of a text's vector and its reference; another processor rounds differently, a damaged model is far off."""

FULL_CHECK_BYTES = 200_000_000
"""Databases up to this size are checked page by page, which takes about a second."""

Report = dict[str, Any]


def check_packages() -> Report:
    """Return which packages are missing or can't be loaded."""
    missing = []
    for line in importlib.metadata.requires(DISTRIBUTION) or ():
        name = REQUIREMENT_NAME.match(line)
        if name is None or "extra ==" in line:
            continue
        try:
            importlib.metadata.version(name[0])
        except importlib.metadata.PackageNotFoundError:
            missing.append(name[0])
    broken = {}
    for module in NATIVE_MODULES:
        try:
            importlib.import_module(module)
        except Exception as error:  # noqa: BLE001 - whatever a package does when it is loaded, it is reported
            broken[module] = f"{type(error).__name__}: {error}"
    return {"missing": missing, "broken": broken}


def check_model(name: str) -> Report:
    """Embed a text; the built-in model's vector is compared with the one that it is known to make."""
    from agent_brain_server.embedding import DEFAULT_MODEL  # noqa: PLC0415 - a package that is missing is reported first
    from agent_brain_server.embedding.identity import MODEL_DIR  # noqa: PLC0415 - likewise
    from agent_brain_server.embedding.named import open_embedder  # noqa: PLC0415 - likewise

    reference = json.loads((MODEL_DIR / "reference.json").read_text(encoding="utf-8"))[0]
    (vector,) = open_embedder(name).embed([reference["text"]])
    if name != DEFAULT_MODEL:
        return {"name": name, "dimension": len(vector)}
    likeness = float(sum(a * b for a, b in zip(vector, reference["vector"], strict=True)))
    if likeness < LEAST_LIKENESS:
        raise ValueError(f"its vector of {reference['text']!r} is not the one that it should be ({likeness:.3f})")
    return {"name": name, "dimension": len(vector), "likeness": round(likeness, 4)}


def check_watching(root: Path) -> Report:
    """Watch the directories of a project for a moment, as the server does.

    Returns:
        `directories`, how many were watched; `unwatched`, how many could not be; `example`, one of these, with the
        reason.

    Raises:
        FileNotFoundError: There is no such directory.
    """
    from agent_brain_server.indexing.files.walker import own_dirs_pattern  # noqa: PLC0415 - loads the glob library
    from agent_brain_server.services.tree_watch import TreeWatch  # noqa: PLC0415 - likewise

    is_own = own_dirs_pattern(root)
    watch = TreeWatch(root, lambda path: bool(is_own.search(path + b"/")))
    try:
        watch.rescan(())
        unwatched = {os.fsdecode(path) or ".": reason for path, reason in sorted(watch.unwatched().items())}
        example = next((f"{path}: {reason}" for path, reason in unwatched.items()), None)
        return {"directories": watch.count(), "unwatched": len(unwatched), "example": example}
    finally:
        watch.close()


def check_stores(data: Path) -> Report | None:
    """Return versions and counts of the three stores; None where there is no index.

    Args:
        data: The directory in which they lie.
    """
    from agent_brain_server.storage.document_store import DATABASE_NAME  # noqa: PLC0415 - loads NumPy
    from agent_brain_server.storage.schema import ADDED_COLUMNS, SCHEMA, SCHEMA_VERSION  # noqa: PLC0415 - likewise
    from agent_brain_server.storage.schema_check import find_schema_fault, has_journal  # noqa: PLC0415 - likewise

    documents = data / DOCUMENTS_DIR / DATABASE_NAME
    if not documents.is_file():
        return None
    if has_journal(documents):
        raise ValueError(f"{documents} has a rollback journal, which is not ours")
    with _open_database(documents) as database:
        version = database.execute("PRAGMA user_version").fetchone()[0]
        damage = None
        if version == SCHEMA_VERSION and (fault := find_schema_fault(database, SCHEMA, ADDED_COLUMNS)):
            damage = f"it has a foreign schema, with the {fault}"
        elif documents.stat().st_size <= FULL_CHECK_BYTES:
            word = database.execute("PRAGMA quick_check(1)").fetchone()[0]
            damage = None if word == "ok" else word
        report = {"version": version, "expected_version": SCHEMA_VERSION, "damage": damage}
        if version == SCHEMA_VERSION and damage is None:
            counts = "SELECT count(*), total(embedded) FROM chunks"
            report["chunks"], report["embedded"] = map(int, database.execute(counts).fetchone())
            pending = "SELECT count(*) FROM files WHERE state = 'pending'"
            report["files_pending"] = database.execute(pending).fetchone()[0]
    report["vectors"] = _count_vectors(data / VECTORS_DIR)
    return {**report, **_check_keywords(data / KEYWORDS_DIR)}


def _count_vectors(directory: Path) -> int:
    from agent_brain_server.storage import map_checksums, vector_map  # noqa: PLC0415 - loads NumPy
    from agent_brain_server.storage.schema_check import open_inspected  # noqa: PLC0415 - likewise

    path = directory / vector_map.MAP_NAME
    with open_inspected(path, schema=vector_map.SCHEMA, added=map_checksums.ADDED_COLUMNS) as database:
        return 0 if database is None else int(database.execute("SELECT count(*) FROM vectors").fetchone()[0])


def _check_keywords(directory: Path) -> Report:
    import tantivy  # noqa: PLC0415 - a package that is missing is reported first

    from agent_brain_server.indexing.bm25_index import (  # noqa: PLC0415 - likewise
        BINDING_NAME,
        INDEX_VERSION,
        MAX_BINDING_BYTES,
    )

    binding = json.loads(read_file(directory / BINDING_NAME, MAX_BINDING_BYTES))
    report: Report = {"keyword_version": binding.get("version"), "expected_keyword_version": INDEX_VERSION}
    return {**report, "keywords": int(tantivy.Index.open(str(directory)).searcher().num_docs)}


def _open_database(path: Path) -> closing[sqlite3.Connection]:
    connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=5)
    connection.execute("PRAGMA trusted_schema = OFF")
    return closing(connection)


def _attempt(check: Callable[[], Report | None]) -> Report:
    """Return what a check found, or its error."""
    try:
        return {"found": check(), "error": None}
    except Exception as error:  # noqa: BLE001 - the border: whatever is wrong is what is to be found out
        return {"found": None, "error": f"{type(error).__name__}: {error}"}


def main(argv: Sequence[str] | None = None) -> int:
    """Try everything out and print what was found; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m agent_brain_server.project.self_check")
    parser.add_argument("--model", required=True, help="name of the embedding model")
    parser.add_argument("--root", type=Path, required=True, help="root of the project")
    parser.add_argument("--data", type=Path, required=True, help="where the indexes lie")
    arguments = parser.parse_args(argv)
    disable_telemetry()
    report = {
        "version": __version__,
        "packages": _attempt(check_packages),
        "model": _attempt(lambda: check_model(arguments.model)),
        "watching": _attempt(lambda: check_watching(arguments.root)),
        "stores": _attempt(lambda: check_stores(arguments.data)),
    }
    json.dump(report, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
