"""Whether the files of a keyword index are as tantivy wrote them, by the checksums that it leaves at their ends.

Tantivy compares them only when it is asked to, which its Python package can't; a changed posting would be followed to
wherever it leads, beyond the file's end at worst.
"""

import json
import struct
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path

META_NAME = "meta.json"

COMPONENTS = ("fast", "fieldnorm", "idx", "pos", "store", "term")
"""Suffixes of the files that every segment has."""

FOOTER = struct.Struct("<II")
"""What a file ends in: how long the JSON before it is, and a number that every file has."""

FOOTER_MAGIC = 1337

CHECK_LIMIT = 128 * 1024 * 1024
"""Bytes of all segments up to which they are checked: 4 GB in a second, so some 30 ms of a start."""


def find_damaged_segment(directory: Path) -> str | None:
    """Return the name of a file that is missing or was changed, None where every one is sound.

    What a killed commit left is passed over: no segment counts that `meta.json` does not name.
    """
    try:
        names = list(_list_files(json.loads((directory / META_NAME).read_bytes())))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return META_NAME
    try:
        if sum((directory / name).stat().st_size for name in names) > CHECK_LIMIT:
            return None
    except OSError as exc:
        return str(exc.filename)
    return next((name for name in names if not _is_sound(directory / name)), None)


def _list_files(meta: dict[str, list[dict[str, object]]]) -> Iterator[str]:
    for segment in meta["segments"]:
        stem = uuid.UUID(str(segment["segment_id"])).hex  # nothing that leads to another directory
        yield from (f"{stem}.{component}" for component in COMPONENTS)
        deletes = segment["deletes"]
        if isinstance(deletes, dict):
            yield f"{stem}.{int(str(deletes['opstamp']))}.del"


def _is_sound(path: Path) -> bool:
    try:
        data = memoryview(path.read_bytes())
        length, magic = FOOTER.unpack(data[-FOOTER.size :])
        end = len(data) - FOOTER.size - length
        footer = json.loads(bytes(data[end : -FOOTER.size]))
        return bool(magic == FOOTER_MAGIC and zlib.crc32(data[:end]) == footer["crc"])
    except (OSError, ValueError, KeyError, TypeError, struct.error):
        return False
