"""Read and decode one file, or return the reason to skip it. No content raises an exception."""

import hashlib
import os
import re
import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path

from agent_brain_server.indexing.files.file_types import DOCUMENT_LANGUAGES, classify
from agent_brain_server.indexing.files.generated_files import is_generated
from agent_brain_server.indexing.files.secret_files import holds_secret
from agent_brain_server.indexing.reading.markup import render_html, render_notebook, render_pdf
from agent_brain_server.types import FileStat, LimitReason, Skip, SkipReason, SourceText, SourceType

HEAD_BYTES = 8192
"""Length of the part that distinguishes binary from text and determines the language; git examines as much."""

READ_ATTEMPTS = 3
"""Attempts to read a file that changes during the read; the last content is used, with its earlier mtime."""

NS_PER_S = 1_000_000_000

FILE_TICK_NS = 10_000_000
"""Distance of two writes that ensures different mtimes; the clock for Linux file times ticks every 1 to 10 ms."""

COARSE_TICK_NS = 2 * NS_PER_S
"""The same on file systems with a resolution of 1 s, or 2 s (FAT)."""

UNSETTLED_NS = 0
"""Recorded as mtime of a file that was read in the tick of its last write, so that it is read again."""

LONG_LINE = 2_000
"""Characters; hand-written lines are shorter."""

MINIFIED_SHARE = 0.5
"""Share of the text in long lines above which a code file is minified."""

MAX_CONTROL_SHARE = 0.02
"""Share of control characters above which a file of unknown encoding is binary; terminal logs have under 1 %."""

CONTROL_BYTES = bytes(set(range(32)) - set(b"\t\n\r\f\v\b\x1b"))

ENCODING_MARKS: tuple[tuple[bytes, str], ...] = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe\x00\x00", "utf-32-le"),
    (b"\x00\x00\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
"""Byte order marks; UTF-32 comes before UTF-16, whose marks are prefixes."""

CP1252 = {code: bytes([code]).decode("cp1252", "ignore") or chr(code) for code in range(128, 160)}
"""Characters of Windows-1252 in place of the control characters of Latin-1."""

NON_ASCII = re.compile(r"[^\x00-\x7f\ufffd]")

OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
"""Flags that do not follow links, and do not block on a fifo that has replaced the file."""


@dataclass(frozen=True, slots=True)
class ReadingLimits:
    """Limits that a file is known to exceed.

    Attributes:
        by_lines: The limit that the file exceeds with any content.
        known: Limits exceeded by earlier contents, by content hash.
    """

    by_lines: LimitReason | None = None
    known: Mapping[str, LimitReason] = field(default_factory=dict)

    def find(self, content_hash: str) -> LimitReason | None:
        """Return the limit that a content is known to exceed, or `None`."""
        return self.by_lines or self.known.get(content_hash)


class _UnreadableError(Exception):
    """The file cannot be read as text; the argument is the reason to skip it."""

    def __init__(self, reason: SkipReason) -> None:
        super().__init__(reason)
        self.reason = reason


def load_file(
    root: Path,
    file: FileStat,
    max_bytes: int,
    *,
    index_secrets: bool = False,
    index_generated: bool = False,
    limits: ReadingLimits = ReadingLimits(),
    convert_html: bool = True,
) -> SourceText | Skip:
    """Read and decode one file.

    Size and mtime of the result are those of the content that was read, even if the file has changed since the walk.

    Args:
        root: The project root.
        file: Result of the walk.
        max_bytes: Skip a file that has grown beyond this size.
        index_secrets: Whether to return private keys and credentials.
        index_generated: Whether to return code whose header says that it is generated.
        limits: Contents that are not converted from markup, because that exceeded a limit before.
        convert_html: Whether to return the text of a page instead of its markup.

    Returns:
        The text; or a skip with the reason `binary`, `empty`, `generated`, `minified`, `missing`,
        `pdf_extra_not_installed`, `secret`, `special_file`, `symlink`, `too_large`, `unreadable` or `unreadable_pdf`,
        or, for a PDF, a limit.
    """
    try:
        data, found = _read_file(root, file.path, max_bytes)
        content_hash = hashlib.sha256(data).hexdigest()
        limit = limits.find(content_hash)
        text, language, source_type = _decode(
            file.path, data, limit, index_secrets=index_secrets, convert_html=convert_html
        )
        if not index_generated and source_type != "doc" and is_generated(text):
            raise _UnreadableError("generated")
    except _UnreadableError as error:
        return Skip(file.path, error.reason)
    return SourceText(
        path=file.path,
        text=text,
        language=language,
        source_type=source_type,
        content_hash=content_hash,
        size=len(data),
        mtime_ns=UNSETTLED_NS if is_unsettled(found.st_mtime_ns, time.time_ns()) else found.st_mtime_ns,
        limit=limit,
    )


def is_unsettled(mtime_ns: int, now_ns: int) -> bool:
    """Return whether a later write could leave the same mtime, because the file was read in the tick of its last write.

    An mtime in the far past or future is settled, as any write changes it. An mtime less than a tick in the future
    results from a clock that was set back slightly.

    Args:
        mtime_ns: Modification time of the file.
        now_ns: Time of the read, by the clock of the file system.
    """
    window_ns = COARSE_TICK_NS if mtime_ns % NS_PER_S == 0 else FILE_TICK_NS
    return abs(now_ns - mtime_ns) < window_ns


def _read_file(root: Path, path: str, max_bytes: int) -> tuple[bytes, os.stat_result]:
    """Return content and status of a file that may be changing; the status is never newer than the content."""
    try:
        descriptor = _open_inside(root, path)
    except FileNotFoundError as error:
        raise _UnreadableError("missing") from error
    except OSError as error:
        raise _UnreadableError(_describe_refusal(root, path)) from error
    before = os.fstat(descriptor)
    if not stat.S_ISREG(before.st_mode):
        os.close(descriptor)
        raise _UnreadableError("special_file")
    with open(descriptor, "rb", buffering=0) as stream:
        for _ in range(READ_ATTEMPTS):
            try:
                stream.seek(0)
                data = _read_limited(stream, max_bytes)
            except OSError as error:
                raise _UnreadableError("unreadable") from error
            after = os.fstat(descriptor)
            if after.st_mtime_ns == before.st_mtime_ns and after.st_size == before.st_size == len(data):
                break
            before = after
        return data, before


def _open_inside(root: Path, path: str) -> int:
    """Open a file below `root` without following links, because a directory may have been replaced by one."""
    parent = os.open(root, os.O_RDONLY | os.O_CLOEXEC)
    try:
        *directories, name = path.split("/")
        for directory in directories:
            inner = os.open(directory, OPEN_FLAGS | os.O_DIRECTORY, dir_fd=parent)
            os.close(parent)
            parent = inner
        return os.open(name, OPEN_FLAGS, dir_fd=parent)
    finally:
        os.close(parent)


def _describe_refusal(root: Path, path: str) -> SkipReason:
    if (root / path).is_symlink():
        return "symlink"
    return "unreadable"


def _read_limited(stream: FileIO, max_bytes: int) -> bytes:
    parts = []
    size = 0
    while size <= max_bytes and (part := stream.read(max_bytes + 1 - size)):
        parts.append(part)
        size += len(part)
    if size > max_bytes:
        raise _UnreadableError("too_large")
    return b"".join(parts)


def _decode(
    path: str, data: bytes, limit: LimitReason | None, *, index_secrets: bool, convert_html: bool
) -> tuple[str, str, SourceType]:
    """Return text, language and source type of a content; if it exceeds a limit, markup is not converted."""
    if data.startswith(b"%PDF-"):
        if limit is not None:
            raise _UnreadableError(limit)
        return _render(lambda pdf: render_pdf(pdf, path), data), "pdf", "doc"
    text = _decode_text(data)
    language, source_type = classify(path, text[:HEAD_BYTES].encode("utf-8", "replace"))
    if not text.strip():
        raise _UnreadableError("empty")
    if not index_secrets and holds_secret(path, text):
        raise _UnreadableError("secret")
    if limit is None and source_type == "doc" and language == "html" and convert_html:
        text = render_html(text)
    elif limit is None and language == "notebook":
        text = render_notebook(text)
    elif language not in DOCUMENT_LANGUAGES and _is_minified(text):
        raise _UnreadableError("minified")
    if not text.strip():
        raise _UnreadableError("empty")
    return text, language, source_type


def _render(render: Callable[[bytes], str | None], data: bytes) -> str:
    try:
        text = render(data)
    except ImportError as error:
        raise _UnreadableError("pdf_extra_not_installed") from error
    if text is None:
        raise _UnreadableError("unreadable_pdf")
    if not text.strip():
        raise _UnreadableError("empty")
    return text


def _decode_text(data: bytes) -> str:
    for mark, encoding in ENCODING_MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace")
    if b"\0" in data[:HEAD_BYTES] or _control_share(data) > MAX_CONTROL_SHARE:
        raise _UnreadableError("binary")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return _decode_damaged(data)


def _control_share(data: bytes) -> float:
    return 1 - len(data.translate(None, CONTROL_BYTES)) / len(data) if data else 0.0


def _decode_damaged(data: bytes) -> str:
    """Decode corrupt UTF-8, or a Western single-byte encoding; one of them always succeeds."""
    replaced = data.decode("utf-8", "replace")
    damaged = replaced.count("\ufffd")
    if len(NON_ASCII.findall(replaced)) > 2 * damaged:
        return replaced
    return data.decode("latin-1").translate(CP1252)


def _is_minified(text: str) -> bool:
    if len(text) < LONG_LINE:
        return False
    long_lines = sum(len(line) for line in text.split("\n") if len(line) > LONG_LINE)
    return long_lines > MINIFIED_SHARE * len(text)
