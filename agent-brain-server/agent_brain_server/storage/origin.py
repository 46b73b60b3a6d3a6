"""Distinguish indexes that this installation made from those that came with a repository.

A repository can ship a complete and valid `data/` directory whose texts are false. So each data directory has a mark:
a random text, authenticated with a key in the user's home that no repository can know. The document store carries the
same text. Stores without a valid mark are set aside before they are opened, and rebuilt from the files.
"""

import hashlib
import hmac
import json
import logging
import secrets
from pathlib import Path

from agent_brain_server.errors import StateDirError
from agent_brain_server.storage_paths import (
    DATA_DIRS,
    ROOTS_FILE,
    origin_key_lock_path,
    origin_key_path,
    origin_path,
    prepare_brain_home,
)
from agent_brain_server.support.atomic_file import hold_exclusively
from agent_brain_server.support.state_files import read_file, replace_file

logger = logging.getLogger(__name__)

KEY_BYTES = 32
MARK_BYTES = 16
MAX_ORIGIN_BYTES = 1_000  # two short texts


def ensure_key() -> bytes:
    """Return the key of this installation, created in the user's home if it is missing.

    Raises:
        StateDirError: The home cannot be used.
        OSError: The home cannot be written.
    """
    if key := _read_key():
        return key
    prepare_brain_home()
    with hold_exclusively(origin_key_lock_path()):
        key = _read_key()
        if key is None:
            key = secrets.token_bytes(KEY_BYTES)
            replace_file(origin_key_path(), key)
            logger.info("Created the key in %s that marks the indexes of this installation", origin_key_path())
        return key


def read_origin(data: Path, key: bytes) -> str | None:
    """Return the mark of a data directory, or None if it has none that was made with this key."""
    try:
        document = json.loads(read_file(origin_path(data), MAX_ORIGIN_BYTES))
        mark, code = str(document["origin"]), str(document["code"])
    except (OSError, StateDirError, ValueError, KeyError, TypeError, RecursionError):
        return None
    is_ours = hmac.compare_digest(_authenticate(key, mark).encode(), code.encode("utf-8", "replace"))
    return mark if is_ours else None


def make_origin(data: Path, key: bytes) -> str:
    """Mark a data directory as made by this installation, and return the mark.

    Raises:
        OSError: The data directory cannot be written.
    """
    mark = secrets.token_hex(MARK_BYTES)
    document = {"origin": mark, "code": _authenticate(key, mark)}
    replace_file(origin_path(data), json.dumps(document).encode())
    return mark


def has_content(data: Path) -> bool:
    """Return whether a data directory holds stores, or what could become one.

    Raises:
        OSError: It cannot be read.
    """
    stores = (data / name for name in DATA_DIRS)
    return (data / ROOTS_FILE).exists() or any(store.is_dir() and any(store.iterdir()) for store in stores)


def _authenticate(key: bytes, mark: str) -> str:
    return hmac.new(key, f"agent-brain data {mark}".encode("utf-8", "replace"), hashlib.sha256).hexdigest()


def _read_key() -> bytes | None:
    try:
        key = read_file(origin_key_path(), KEY_BYTES)
    except FileNotFoundError:
        return None
    return key if len(key) == KEY_BYTES else None
