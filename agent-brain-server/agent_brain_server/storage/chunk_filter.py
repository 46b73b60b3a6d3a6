"""Which chunks a query filter allows, worked out once per filter and state of the store."""

import sqlite3
import threading
from collections import OrderedDict

import numpy as np

from agent_brain_server.storage.chunk_rows import as_json
from agent_brain_server.storage.database import Database
from agent_brain_server.support.globs import compile_choice
from agent_brain_server.types import AllowedChunks, Keys, QueryFilter

MAX_CACHED_FILTERS = 16
"""Filters whose chunks are remembered: an agent repeats the same few; one costs 8 bytes for each allowed chunk."""


class FilterResolver:
    """Resolves filters against the document store's tables.

    Args:
        database: Holds the tables `files` and `chunks`.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._cache: OrderedDict[QueryFilter, tuple[int, AllowedChunks]] = OrderedDict()

    def resolve(self, query_filter: QueryFilter, generation: int) -> AllowedChunks | None:
        """Return what is allowed, None for everything.

        Args:
            query_filter: What the request asked for.
            generation: Grows with every change of files and chunks: an older answer is not used again.

        Raises:
            InvalidRequestError: A glob that can't be used.
        """
        if query_filter.is_empty:
            return None
        with self._lock:
            cached = self._cache.get(query_filter)
            if cached is not None and cached[0] == generation:
                self._cache.move_to_end(query_filter)
                return cached[1]
        allowed = self._look_up(query_filter)
        with self._lock:
            self._cache[query_filter] = (generation, allowed)
            while len(self._cache) > MAX_CACHED_FILTERS:
                self._cache.popitem(last=False)
        return allowed

    def _look_up(self, query_filter: QueryFilter) -> AllowedChunks:
        files: dict[int, str] | None = None
        globs = compile_choice(query_filter.file_paths, "file_paths")
        with self._database.reading() as connection:
            if globs is not None:
                rows = connection.execute("SELECT file_id, path FROM files ORDER BY path")
                files = {file_id: path for file_id, path in rows if globs.match_file(path)}
            keys = _select_keys(connection, query_filter, files)
        return AllowedChunks(query_filter, keys, None if files is None else tuple(files.values()))


def _select_keys(connection: sqlite3.Connection, query_filter: QueryFilter, files: dict[int, str] | None) -> Keys:
    """Return the keys of the chunks that meet every limit that is set."""
    limits = (
        ("language", query_filter.languages or None),
        ("source_type", query_filter.source_types or None),
        ("file_id", files),
    )
    columns = [column for column, values in limits if values is not None]
    where = " AND ".join(f"{column} IN (SELECT value FROM json_each(?))" for column in columns)
    parameters = [as_json(values) for _, values in limits if values is not None]
    rows = connection.execute(f"SELECT key FROM chunks WHERE {where}", parameters)
    return np.sort(np.fromiter((row[0] for row in rows), dtype=np.int64))
