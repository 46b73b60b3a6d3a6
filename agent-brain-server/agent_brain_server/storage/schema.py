"""The tables of the document store.

Text is kept apart from what ranking and filters read, so that a scan of the chunks touches no text. Keys are never used
twice (`AUTOINCREMENT`): a derived index that still holds a removed chunk can't take it for another. The checksum is of
everything that an answer says of a chunk: SQLite does not notice a byte that changes in the middle of a row.
"""

SCHEMA_VERSION = 2

SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE files (
    file_id INTEGER PRIMARY KEY,
    path TEXT NOT NULL UNIQUE,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    content_hash TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'indexed', 'skipped'))
);
CREATE INDEX files_pending ON files (path) WHERE state = 'pending';

CREATE TABLE chunks (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    file_id INTEGER NOT NULL REFERENCES files (file_id),
    start_line INTEGER NOT NULL,
    end_line INTEGER NOT NULL,
    language TEXT NOT NULL,
    source_type TEXT NOT NULL,
    symbols TEXT NOT NULL,
    heading TEXT,
    embedded INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX chunks_of_file ON chunks (file_id);
CREATE INDEX chunks_of_kind ON chunks (language, source_type, file_id);
CREATE INDEX chunks_unembedded ON chunks (key) WHERE embedded = 0;

CREATE TABLE texts (key INTEGER PRIMARY KEY, text TEXT NOT NULL, checksum INTEGER NOT NULL);

CREATE TABLE skips (path TEXT PRIMARY KEY, reason TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE jobs (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    folder_path TEXT NOT NULL,
    request TEXT NOT NULL,
    progress TEXT NOT NULL,
    error TEXT,
    created_at TEXT NOT NULL,
    started_at TEXT,
    finished_at TEXT
);
CREATE INDEX jobs_by_state ON jobs (state, sequence);
"""

ADDED_COLUMNS = ("correlation_id TEXT", "end_order INTEGER")
"""Added to `jobs` if they are missing; older readers ignore them. `end_order` counts the jobs
that ended: times depend on a clock, and a clock can be set back."""

SKIPS_OF_WALK = """
FROM skips WHERE (:below IN ('', path) OR substr(path, 1, length(:below) + 1) = :below || '/')
    AND NOT EXISTS (SELECT 1 FROM files WHERE files.path = skips.path AND files.state = 'skipped')
    AND reason NOT IN ('cpu_limit', 'memory_limit', 'parser_crashed')
"""
"""What a walk left out below a folder, without the files that reading left out or cut by lines only."""

ROOT_META = "project_root"
"""Key in `meta`: the root that the documents were read from."""

LAST_INDEXED_META = "last_indexed_at"
"""Key in `meta`: when the tree was last compared to the end, ISO 8601 with zone."""

LIMITED_CONTENTS_META = "limited_contents"
"""Key in `meta`: contents that took too much CPU or memory to parse, by hash, as JSON."""

ROOTS_META = "scopes"
"""Key in `meta`: the requests whose folders are kept fresh, as JSON."""
