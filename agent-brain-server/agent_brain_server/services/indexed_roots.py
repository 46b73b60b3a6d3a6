"""Remember which folders of a project are indexed, and under which rules about files to leave out."""

import contextlib
import logging
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from agent_brain_server.config.settings import ProjectConfig
from agent_brain_server.errors import StateDirError
from agent_brain_server.models.index import IndexRequest
from agent_brain_server.storage.document_store import ROOTS_META, DocumentStore
from agent_brain_server.storage_paths import ROOTS_FILE
from agent_brain_server.support.atomic_file import UnreadableDocumentError, read_document, write_atomic
from agent_brain_server.support.state_files import remove_temporaries

logger = logging.getLogger(__name__)

MAX_ROOTS = 20
"""Folders that are kept up to date separately; a user who indexes more of them wants the whole project."""

POLICY_META = "secret_policy"
"""Key in the store's `meta`: the rules under which every file was read."""

SECRET_RULES_VERSION = 2
"""Increased when `indexing/files/secret_files.py` recognizes more by the content of a file."""

GENERATED_RULES_VERSION = 1
"""Increased when `indexing/files/generated_files.py` recognizes more."""

_ROOTS: Final = TypeAdapter(list[IndexRequest])


def load_roots(documents: DocumentStore) -> list[IndexRequest]:
    """Return the indexed roots, oldest first, each as the request that brings it up to date."""
    stored = documents.get_meta(ROOTS_META)
    try:
        return _ROOTS.validate_json(stored) if stored else []
    except ValidationError:  # written by another version; the next job records its root again
        return []


def remember_root(documents: DocumentStore, request: IndexRequest) -> None:
    """Record the folder of a completed job."""
    roots = load_roots(documents)
    merged = merge_roots(roots, request)
    if merged != roots:
        documents.set_meta(ROOTS_META, _ROOTS.dump_json(merged).decode())
    back_up_roots(documents)


def forget_roots(documents: DocumentStore) -> None:
    """Remove all indexed roots, so that no folder is kept up to date any longer."""
    documents.set_meta(ROOTS_META, None)
    documents.database.path.parent.with_name(ROOTS_FILE).unlink(missing_ok=True)


def back_up_roots(documents: DocumentStore) -> None:
    """Copy the indexed roots to a file beside the document store, in case the store is lost."""
    stored = documents.get_meta(ROOTS_META)
    copy = documents.database.path.parent.with_name(ROOTS_FILE)
    if stored and read_roots_backup(copy.parent) != stored:
        with contextlib.suppress(OSError, StateDirError):  # a missing copy must not fail the job
            remove_temporaries(copy)  # of a server that was killed
            write_atomic(copy, {"scopes": stored, "checksum": zlib.crc32(stored.encode())})


def read_roots_backup(data_dir: Path) -> str | None:
    """Return the copy of the indexed roots as JSON, or `None` if there is no valid one.

    Args:
        data_dir: The directory with the stores.
    """
    try:
        document = read_document(data_dir / ROOTS_FILE) or {}
        roots, checksum = document["scopes"], document["checksum"]
        return str(roots) if zlib.crc32(roots.encode()) == checksum else None
    except (AttributeError, KeyError, UnicodeError, UnreadableDocumentError):
        return None


def merge_roots(roots: Sequence[IndexRequest], request: IndexRequest) -> list[IndexRequest]:
    """Return the indexed roots after a job: its root replaces those inside it.

    A root inside another one with equal options adds nothing.
    """
    new = request.model_copy(update={"force": False, "project_id": None})
    if any(_covers(root, new) for root in roots):
        return list(roots)
    others = [root for root in roots if not _is_inside(root.folder_path, new.folder_path)]
    return [*others, new][-MAX_ROOTS:]


def apply_file_policy(documents: DocumentStore, settings: ProjectConfig) -> bool:
    """Mark every file as pending if the rules about secrets or generated files have changed.

    Otherwise a walk would find the files unchanged, and not read them.

    Args:
        documents: Their files are marked.
        settings: The settings of the project.

    Returns:
        Whether files must be read again.
    """
    rules = {
        "secrets": "indexed" if settings.index_secrets else f"left out by rules {SECRET_RULES_VERSION}",
        "generated files": "indexed" if settings.index_generated else f"left out by rules {GENERATED_RULES_VERSION}",
    }
    policy = ", ".join(f"{kind} {rule}" for kind, rule in rules.items())
    if documents.get_meta(POLICY_META) == policy:
        return False
    skipped = [skip.path for skip in documents.skips() if skip.reason in ("secret", "generated")]
    is_stale = bool(skipped) or documents.counts().files > 0
    if is_stale:
        logger.info("the rules about files to leave out have changed: reading all files again")
        documents.mark_all_pending()
        documents.remove_files(skipped)
    documents.set_meta(POLICY_META, policy)
    return is_stale


def _covers(root: IndexRequest, request: IndexRequest) -> bool:
    has_equal_options = root.model_copy(update={"folder_path": request.folder_path}) == request
    return has_equal_options and root.recursive and _is_inside(request.folder_path, root.folder_path)


def _is_inside(inner: str, outer: str) -> bool:
    return outer == "." or inner == outer or inner.startswith(f"{outer}/")
