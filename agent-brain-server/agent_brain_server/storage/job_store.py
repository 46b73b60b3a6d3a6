"""Indexing jobs, stored beside the documents so that they survive a restart of the server."""

import secrets
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent_brain_server.models import JobState
from agent_brain_server.models.index import IndexRequest, JobProgress, JobStatus
from agent_brain_server.storage.database import open_inspected
from agent_brain_server.storage.document_store import ADDED_COLUMNS, DATABASE_NAME, SCHEMA, DocumentStore

MAX_FINISHED_JOBS = 50
"""Ended jobs that are kept: enough to look back, few enough to list."""

COLUMNS = "job_id, state, folder_path, created_at, started_at, finished_at, progress, error, request, correlation_id"

LAST_ENDED_FIRST = "coalesce(end_order, 0) DESC, sequence DESC"  # jobs without a number ended before they were counted

FINISH = """
UPDATE jobs SET state = ?, finished_at = ?, error = ?, progress = coalesce(?, progress),
    end_order = (SELECT coalesce(max(end_order), 0) + 1 FROM jobs)
WHERE job_id = ?
"""

PRUNE = f"""
DELETE FROM jobs WHERE state IN ('done', 'failed', 'cancelled') AND sequence NOT IN (
    SELECT sequence FROM jobs WHERE state IN ('done', 'failed', 'cancelled') ORDER BY {LAST_ENDED_FIRST} LIMIT ?
)
"""


@dataclass(frozen=True, slots=True)
class StoredJob:
    """A job as the API shows it, with its request.

    Attributes:
        status: State and progress.
        request: What to index.
        correlation_id: Id of the HTTP request that started the job; `None` if a change of the tree did.
    """

    status: JobStatus
    request: IndexRequest
    correlation_id: str | None = None


def has_unfinished_jobs(directory: Path) -> bool:
    """Return whether a document store that is not open has unfinished jobs.

    Args:
        directory: Directory of the document store. One that cannot be read has none: opening it reports the reason.
    """
    path = directory / DATABASE_NAME
    try:
        with open_inspected(path, schema=SCHEMA, added=ADDED_COLUMNS) as connection:
            if connection is None:
                return False
            row = connection.execute("SELECT EXISTS (SELECT 1 FROM jobs WHERE state IN ('queued', 'running'))")
            return bool(row.fetchone()[0])
    except sqlite3.Error:
        return False


class JobStore:
    """The jobs of one project: queued → running → done, failed or cancelled.

    Args:
        document_store: Store whose database holds the jobs.
    """

    def __init__(self, document_store: DocumentStore) -> None:
        self._database = document_store.database
        with self._database.reading() as connection:
            columns = {row[1] for row in connection.execute("PRAGMA table_info(jobs)")}
        for definition in ADDED_COLUMNS:
            if definition.split()[0] not in columns:
                with self._database.writing() as connection:
                    connection.execute(f"ALTER TABLE jobs ADD COLUMN {definition}")

    def create(self, request: IndexRequest, correlation_id: str | None = None) -> StoredJob:
        """Append a job to the queue.

        Args:
            request: What to index.
            correlation_id: Id of the HTTP request that starts the job.
        """
        job_id = f"job_{secrets.token_hex(6)}"
        progress = JobProgress().model_dump_json()
        with self._database.writing() as connection:
            connection.execute(
                """INSERT INTO jobs (job_id, state, folder_path, request, progress, created_at, correlation_id)
                   VALUES (?, 'queued', ?, ?, ?, ?, ?)""",
                (job_id, request.folder_path, request.model_dump_json(), progress, _now(), correlation_id),
            )
        return self._one("WHERE job_id = ?", job_id)

    def get(self, job_id: str) -> StoredJob | None:
        """Return a job, or `None` if there is none with this id."""
        return next(iter(self._select("WHERE job_id = ?", job_id)), None)

    def newest(self, limit: int = MAX_FINISHED_JOBS) -> list[StoredJob]:
        """Return jobs, newest first."""
        return self._select("ORDER BY sequence DESC LIMIT ?", limit)

    def next_queued(self) -> StoredJob | None:
        """Return the job that has waited longest, or `None`."""
        return next(iter(self._select("WHERE state = 'queued' ORDER BY sequence LIMIT 1")), None)

    def count_queued(self) -> int:
        """Return the number of queued jobs."""
        with self._database.reading() as connection:
            return int(connection.execute("SELECT count(*) FROM jobs WHERE state = 'queued'").fetchone()[0])

    def unfinished(self) -> list[StoredJob]:
        """Return the jobs that are queued or running, oldest first; a restarted server resumes them."""
        return self._select("WHERE state IN ('queued', 'running') ORDER BY sequence")

    def last_finished(self) -> StoredJob | None:
        """Return the job that ended last, or `None`."""
        ended = f"WHERE finished_at IS NOT NULL ORDER BY {LAST_ENDED_FIRST} LIMIT 1"
        return next(iter(self._select(ended)), None)

    def mark_running(self, job_id: str) -> None:
        """Record that a job is running; a resumed job keeps its first start time."""
        self._update("state = 'running', started_at = coalesce(started_at, ?)", (_now(),), job_id)

    def requeue(self, job_id: str) -> None:
        """Return a running job to its position in the queue."""
        self._update("state = 'queued'", (), job_id)

    def save_progress(self, job_id: str, progress: JobProgress) -> None:
        """Store the progress of a job."""
        self._update("progress = ?", (progress.model_dump_json(),), job_id)

    def mark_finished(
        self, job_id: str, state: JobState, *, progress: JobProgress | None = None, error: str | None = None
    ) -> None:
        """Record the end of a job, and delete the oldest ended jobs.

        Args:
            job_id: The job.
            state: done, failed or cancelled.
            progress: Its progress; `None` keeps the last one stored.
            error: Why it failed, and what to do.
        """
        dumped = None if progress is None else progress.model_dump_json()
        with self._database.writing(durable=False) as connection:
            connection.execute(FINISH, (state, _now(), error, dumped, job_id))
            connection.execute(PRUNE, (MAX_FINISHED_JOBS,))

    def _update(self, changes: str, values: Sequence[object], job_id: str) -> None:
        with self._database.writing(durable=False) as connection:
            connection.execute(f"UPDATE jobs SET {changes} WHERE job_id = ?", (*values, job_id))

    def _select(self, clause: str, *values: object) -> list[StoredJob]:
        with self._database.reading() as connection:
            return [_job_of(row) for row in connection.execute(f"SELECT {COLUMNS} FROM jobs {clause}", values)]

    def _one(self, clause: str, *values: object) -> StoredJob:
        return self._select(clause, *values)[0]


def _job_of(row: Sequence[Any]) -> StoredJob:
    job_id, state, folder_path, created_at, started_at, finished_at, progress, error, request, correlation = row
    status = JobStatus(
        job_id=job_id,
        state=state,
        folder_path=folder_path,
        created_at=created_at,
        started_at=started_at,
        finished_at=finished_at,
        progress=JobProgress.model_validate_json(progress),
        error=error,
    )
    return StoredJob(status, IndexRequest.model_validate_json(request), correlation)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
