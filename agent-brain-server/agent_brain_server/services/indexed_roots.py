"""What a project is indexed of: remembered, so that it can be kept fresh without being asked again."""

import contextlib
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from agent_brain_server.errors import StateDirError
from agent_brain_server.models.index import IndexRequest
from agent_brain_server.storage.document_store import DocumentStore
from agent_brain_server.storage.schema import SCOPES_META
from agent_brain_server.storage_paths import SCOPES_FILE
from agent_brain_server.support.atomic_file import UnreadableDocumentError, read_document, write_atomic
from agent_brain_server.support.state_files import remove_temporaries

MAX_SCOPES = 20
"""Folders that are kept fresh one by one; whoever indexes more of them means the whole project."""

_SCOPES: Final = TypeAdapter(list[IndexRequest])


def load_scopes(documents: DocumentStore) -> list[IndexRequest]:
    """Return what was indexed, the oldest first; each as the request that brings it up to date."""
    stored = documents.get_meta(SCOPES_META)
    try:
        return _SCOPES.validate_json(stored) if stored else []
    except ValidationError:  # written by another version: it is learned again with the next job
        return []


def remember_scope(documents: DocumentStore, request: IndexRequest) -> None:
    """Remember what a finished job has indexed."""
    scopes = load_scopes(documents)
    merged = merge_scopes(scopes, request)
    if merged != scopes:
        documents.set_meta(SCOPES_META, _SCOPES.dump_json(merged).decode())
    keep_scopes_copy(documents)


def keep_scopes_copy(documents: DocumentStore) -> None:
    """Keep a copy of what was indexed beside the document store, in case the store is lost."""
    stored = documents.get_meta(SCOPES_META)
    copy = documents.database.path.parent.with_name(SCOPES_FILE)
    if stored and read_scopes_copy(copy.parent) != stored:
        with contextlib.suppress(OSError, StateDirError):  # a copy that can't be made must not fail the job
            remove_temporaries(copy)  # of a server that was killed
            write_atomic(copy, {"scopes": stored, "checksum": zlib.crc32(stored.encode())})


def forget_scopes(documents: DocumentStore) -> None:
    """Forget what was indexed: nothing is kept fresh any more."""
    documents.set_meta(SCOPES_META, None)
    documents.database.path.parent.with_name(SCOPES_FILE).unlink(missing_ok=True)


def read_scopes_copy(data_dir: Path) -> str | None:
    """Return the copy of what a lost document store was made of, None where there is none that can be used.

    Args:
        data_dir: Holds the directories of the stores.
    """
    try:
        document = read_document(data_dir / SCOPES_FILE) or {}
        scopes, checksum = document["scopes"], document["checksum"]
        return str(scopes) if zlib.crc32(scopes.encode()) == checksum else None
    except (AttributeError, KeyError, UnicodeError, UnreadableDocumentError):
        return None


def merge_scopes(scopes: Sequence[IndexRequest], request: IndexRequest) -> list[IndexRequest]:
    """Return the scopes after a job: it takes the place of those whose folder lies in its own.

    A folder inside one that is kept fresh whole, under the same conditions, adds nothing.
    """
    wanted = request.model_copy(update={"force": False, "project_id": None})
    if any(_covers(scope, wanted) for scope in scopes):
        return list(scopes)
    others = [scope for scope in scopes if not _lies_in(scope.folder_path, wanted.folder_path)]
    return [*others, wanted][-MAX_SCOPES:]


def _covers(scope: IndexRequest, request: IndexRequest) -> bool:
    same_conditions = scope.model_copy(update={"folder_path": request.folder_path}) == request
    return same_conditions and scope.recursive and _lies_in(request.folder_path, scope.folder_path)


def _lies_in(inner: str, outer: str) -> bool:
    return outer == "." or inner == outer or inner.startswith(f"{outer}/")
