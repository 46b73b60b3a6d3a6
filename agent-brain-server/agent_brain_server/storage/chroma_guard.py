"""Whether Chroma's files can be opened: its native code trusts them, and what was changed in one may end the process.

A seal finds whatever changed while they lay still. A server that is killed leaves none, and neither does one that the
files themselves have ended; so uses that were begun and not ended in order are counted, and after a few of them in a
row the files are made anew. That costs some minutes of feeding, meanwhile the matrix answers.
"""

import contextlib
from pathlib import Path

from agent_brain_server.errors import StateDirError
from agent_brain_server.storage.seal import SealState, break_seal, seal_files
from agent_brain_server.support.state_files import read_file, replace_file

DATABASE_NAME = "chroma.sqlite3"

INDEX_HEADER = "header.bin"
"""In every directory of an HNSW index."""

SEAL_NAME = "chroma.seal"

UNCLOSED_NAME = "chroma.unclosed"
"""Holds how many uses in a row were not ended in order."""

MAX_UNCLOSED_BYTES = 2  # one digit; a longer file was changed

MAX_UNCLOSED = 2
"""Uses in a row without an orderly end: once is a kill, or a damage that may not come up again; twice is a pattern."""

SEAL_LIMIT = 2 * 1024 * 1024 * 1024
"""Bytes up to which Chroma's files are sealed: half a second of reading, less than Chroma takes to load so much."""


class ChromaGuard:
    """Watches over the files of a Chroma directory while nobody uses them.

    Args:
        directory: Where Chroma keeps them; it may hold other files too.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._seal = directory / SEAL_NAME
        self._unclosed = directory / UNCLOSED_NAME

    def begin(self) -> str | None:
        """Begin a use, to be called before Chroma is.

        Returns:
            Why the files must be removed, after which it is to be called again; None where they can be opened.

        Raises:
            OSError: The directory can't be written.
        """
        unclosed = self._count_unclosed()
        reason = None
        if break_seal(self._seal, list_files(self._directory)) is SealState.BROKEN:
            reason = "they are not what was last written to them"
        elif unclosed >= MAX_UNCLOSED:
            reason = f"{unclosed} servers in a row have ended while they used them"
        if reason:
            self._unclosed.unlink(missing_ok=True)
        else:
            replace_file(self._unclosed, str(unclosed + 1).encode(), durable=False)
        return reason

    def end(self, *, is_sound: bool) -> None:
        """End a use, to be called when Chroma has closed its files.

        Args:
            is_sound: Chroma did not fail.
        """
        if is_sound:
            seal_files(self._seal, list_files(self._directory), limit=SEAL_LIMIT)
            with contextlib.suppress(OSError):
                self._unclosed.unlink(missing_ok=True)

    def _count_unclosed(self) -> int:
        try:
            text = read_file(self._unclosed, MAX_UNCLOSED_BYTES).decode("ascii")
        except FileNotFoundError:
            return 0
        except (OSError, StateDirError, ValueError):
            return 1
        return int(text) if len(text) == 1 and text.isdecimal() else 1  # 1: changed since it was written


def list_files(directory: Path) -> list[Path]:
    """Return the files that Chroma has in a directory, less the journals that it removes by itself."""
    indexes = [header.parent for header in directory.glob(f"*/{INDEX_HEADER}")]
    return [directory / DATABASE_NAME, *(path for index in indexes for path in index.iterdir() if path.is_file())]
