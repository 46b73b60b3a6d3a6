"""Bodies of the calls under `/index`."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from agent_brain_server.models import MAX_CHUNK_SIZE, MIN_CHUNK_SIZE


class Problem(BaseModel):
    """`application/problem+json`."""

    type: str = Field(description="A URI reference that names the kind of problem.")
    title: str
    status: int
    detail: str
    code: str = Field(description="Stable, snake_case: what programs branch on.")
    hint: str = Field(description="What to do next.")


JobState = Literal["queued", "running", "done", "failed", "cancelled"]
TERMINAL_STATES: frozenset[JobState] = frozenset({"done", "failed", "cancelled"})
JobPhase = Literal["queued", "scanning", "chunking", "embedding", "finished"]
Glob = Annotated[str, StringConstraints(min_length=1, max_length=500)]


class IndexRequest(BaseModel):
    """`POST /index`: what to bring up to date."""

    model_config = ConfigDict(extra="forbid")

    folder_path: str = Field(
        min_length=1,
        max_length=4096,
        description="A directory or file inside the project; relative paths start at the project root.",
        examples=["."],
    )
    project_id: str | None = Field(default=None, description="Required in shared mode, ignored in project mode.")
    include_patterns: list[Glob] = Field(
        default_factory=list, max_length=100, description="Only files that match one of these globs; empty: all."
    )
    exclude_patterns: list[Glob] = Field(default_factory=list, max_length=100, description="Leave out what matches.")
    recursive: bool = True
    chunk_size: int | None = Field(
        default=None, ge=MIN_CHUNK_SIZE, le=MAX_CHUNK_SIZE, description="Tokens; the setting where absent."
    )
    chunk_overlap: int | None = Field(default=None, ge=0, le=1024, description="Tokens; the setting where absent.")
    force: bool = Field(default=False, description="Index every file again, changed or not.")


class JobAccepted(BaseModel):
    """The answer of `POST /index`."""

    job_id: str
    state: JobState
    message: str


class JobProgress(BaseModel):
    """How far a job is. Totals grow while the tree is scanned."""

    phase: JobPhase = "queued"
    files_total: int = Field(default=0, description="Files that were found and are to be in the index.")
    files_changed: int = Field(default=0, description="Of these, new or changed ones: what there is to read.")
    files_done: int = Field(default=0, description="Of the changed, how many are answered from by keyword.")
    files_removed: int = 0
    files_skipped: dict[str, int] = Field(default_factory=dict, description="By reason.")
    chunks_written: int = 0
    vectors_total: int = Field(default=0, description="Chunks of the project.")
    vectors_done: int = Field(default=0, description="Of these, how many have a vector.")
    keywords_ready: bool = Field(default=False, description="Keyword answers are complete; vectors may follow.")


class JobStatus(BaseModel):
    """One indexing job, as `GET /index/jobs/{job_id}` and each server-sent event show it."""

    job_id: str
    state: JobState
    folder_path: str
    created_at: str = Field(description="ISO 8601 with zone, like the other times.")
    started_at: str | None = None
    finished_at: str | None = None
    progress: JobProgress
    error: str | None = Field(default=None, description="Why a failed job failed, with what to do.")


class JobList(BaseModel):
    """Jobs, newest first."""

    jobs: list[JobStatus]


class ClearedIndex(BaseModel):
    """The answer of `DELETE /index`."""

    removed_documents: int
    removed_chunks: int
