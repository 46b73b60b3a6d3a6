"""Bodies of the endpoints under `/index`, and the body of errors."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from agent_brain_server.models import MAX_CHUNK_SIZE, MIN_CHUNK_SIZE, JobState


class Problem(BaseModel):
    """An error, as `application/problem+json`."""

    type: str = Field(description="A URI that identifies the kind of problem.")
    title: str
    status: int
    detail: str
    code: str = Field(description="A stable name in snake_case, for programs.")
    hint: str = Field(description="What to do next.")


JobPhase = Literal["queued", "scanning", "chunking", "embedding", "finished"]
Glob = Annotated[str, StringConstraints(min_length=1, max_length=500)]


class IndexRequest(BaseModel):
    """The body of `POST /index`: what to index."""

    model_config = ConfigDict(extra="forbid")

    folder_path: str = Field(
        min_length=1,
        max_length=4096,
        description="A directory or file inside the project; relative paths start at the project root.",
        examples=["."],
    )
    project_id: str | None = Field(default=None, description="Required in shared mode, ignored in project mode.")
    include_patterns: list[Glob] = Field(
        default_factory=list,
        max_length=100,
        description="Index only files that match one of these globs; empty: all files.",
    )
    exclude_patterns: list[Glob] = Field(default_factory=list, max_length=100, description="Globs of files to exclude.")
    recursive: bool = True
    chunk_size: int | None = Field(
        default=None, ge=MIN_CHUNK_SIZE, le=MAX_CHUNK_SIZE, description="Tokens; default: the setting `chunk_size`."
    )
    chunk_overlap: int | None = Field(
        default=None, ge=0, le=1024, description="Tokens; default: the setting `chunk_overlap`."
    )
    force: bool = Field(default=False, description="Index every file again, even if unchanged.")


class JobAccepted(BaseModel):
    """The response of `POST /index`."""

    job_id: str
    state: JobState
    message: str


class JobProgress(BaseModel):
    """Progress of a job. Totals grow while the tree is scanned."""

    phase: JobPhase = "queued"
    files_total: int = Field(default=0, description="Files found that belong in the index.")
    files_changed: int = Field(default=0, description="New or changed files, which are read.")
    files_done: int = Field(default=0, description="Changed files that keyword queries find.")
    files_removed: int = 0
    files_skipped: dict[str, int] = Field(default_factory=dict, description="Skipped files by reason.")
    chunks_written: int = 0
    vectors_total: int = Field(default=0, description="Chunks of the project.")
    vectors_done: int = Field(default=0, description="Chunks that have a vector.")
    keywords_ready: bool = Field(
        default=False, description="Keyword queries are complete; vectors may still be missing."
    )


class JobStatus(BaseModel):
    """One indexing job; also the data of each server-sent event."""

    job_id: str
    state: JobState
    folder_path: str
    created_at: str = Field(description="ISO 8601 with zone, like the other times.")
    started_at: str | None = None
    finished_at: str | None = None
    progress: JobProgress
    error: str | None = Field(default=None, description="Why the job failed, and what to do.")


class JobList(BaseModel):
    """Jobs, newest first."""

    jobs: list[JobStatus]


class ClearedIndex(BaseModel):
    """The response of `DELETE /index`."""

    removed_documents: int
    removed_chunks: int
