"""Remember a server that ended without cleaning up until the next server has logged it.

The remains of a crash are removed by whichever process finds them first, often a client that only looks for the server.
What is known of the crashed server is therefore kept in `crash.json`, and the next server writes it to its log.
"""

import contextlib
import logging
from pathlib import Path
from typing import Any

from agent_brain_server.atomic_file import UnreadableDocumentError, read_document, write_atomic
from agent_brain_server.errors import StateDirError
from agent_brain_server.storage_paths import crash_path, runtime_path

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 1
KEPT_KEYS = ("pid", "instance_id", "started_at", "version")
"""Keys of `runtime.json` that identify the process; its token is not kept."""

MAX_VALUE_LENGTH = 40  # of a time or an id; the file may come from a clone


def record_crash(state_dir: Path, holder: tuple[int, str] | None) -> None:
    """Record the server whose files are about to be removed; the caller holds the lock.

    Args:
        state_dir: Absolute.
        holder: Pid and start time in the lock file, which a server removes when it ends in order.
    """
    document: dict[str, Any] = {}
    with contextlib.suppress(UnreadableDocumentError):
        document = read_document(runtime_path(state_dir)) or {}
    # a pointer to the shared daemon has no instance id, and no server of this directory has crashed
    server = {key: document[key] for key in KEPT_KEYS if key in document} if "instance_id" in document else {}
    if holder is not None:
        server.setdefault("pid", holder[0])
    if server:
        with contextlib.suppress(OSError, StateDirError):  # a full disk must not keep the server from starting
            write_atomic(crash_path(state_dir), {"schema_version": SCHEMA_VERSION, **server})


def log_crash(state_dir: Path) -> None:
    """Log the recorded crash, if there is one, and remove the record."""
    try:
        document = read_document(crash_path(state_dir))
    except UnreadableDocumentError as exc:
        logger.warning("Ignored: %s", exc)
        return
    if document is None:
        return
    known = {key: str(document[key])[:MAX_VALUE_LENGTH] for key in KEPT_KEYS if key in document}
    facts = [f"pid {known.get('pid', 'unknown')}"]
    facts += [f"started {known['started_at']}"] if "started_at" in known else []
    facts += [f"version {known['version']}"] if "version" in known else []
    logger.warning(
        "Recovered: the previous server (%s) ended without cleaning up; its files were removed", ", ".join(facts)
    )
    with contextlib.suppress(OSError):
        crash_path(state_dir).unlink()
