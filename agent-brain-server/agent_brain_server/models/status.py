"""Bodies of the endpoints under `/health` and `/projects`."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from agent_brain_server.models import Mode
from agent_brain_server.models.index import JobStatus
from agent_brain_server.models.query import WatchState

IDLE_SECONDS = (
    "Seconds since the server last worked on a request or a job; 0 while it does. "
    "Requests that only observe it (/health, /health/status, /metrics, /projects) do not count."
)


class HealthResponse(BaseModel):
    """The response of `GET /health`: needs no credentials, and contains no path."""

    status: Literal["healthy", "degraded", "unhealthy"]
    message: str
    mode: Mode
    instance_id: str = Field(description="New for every server process.", examples=["ds_3fa9c1"])
    project_id: str | None = Field(default=None, description="Project mode only.", examples=["p_1a2b3c4d"])
    active_projects: int | None = Field(default=None, description="Shared mode only: number of registered projects.")
    version: str


class WatchStatus(BaseModel):
    """State of the watcher, which detects changes of the tree."""

    state: WatchState
    directories: int = Field(default=0, description="Directories that are watched.")
    unwatched: dict[str, str] = Field(
        default_factory=dict,
        description="Directories that cannot be watched, with the reason, at most 20; compared every few seconds.",
    )
    unwatched_directories: int = Field(default=0, description="Number of directories that cannot be watched.")
    recrawls: int = Field(
        default=0, description="Number of times that events were lost and every file was compared again."
    )
    last_recrawl: str | None = Field(default=None, description="Reason of the last recrawl.")


class IndexStatus(BaseModel):
    """Contents of the index and state of indexing; counts come from the stores."""

    total_documents: int = Field(description="Files in the index.")
    total_chunks: int
    total_vectors: int = Field(description="Chunks that have a vector.")
    vector_coverage: float = Field(ge=0, le=1, description="Share of the chunks that have a vector.")
    total_definitions: int = Field(default=0, description="Definitions in the syntax facts of all files.")
    total_references: int = Field(default=0, description="Uses of names in the syntax facts of all files.")
    files_partial: int = Field(
        default=0, description="Files a part of which could not be parsed; the facts of the rest are stored."
    )
    indexing_in_progress: bool
    idle_seconds: float = Field(default=0.0, ge=0, description=IDLE_SECONDS)
    current_job: JobStatus | None = None
    last_job: JobStatus | None = Field(default=None, description="The newest job that has ended.")
    last_indexed_at: str | None = Field(default=None, description="ISO 8601 with zone.")
    repairs: list[str] = Field(
        default_factory=list, description="What was damaged or lost when the index was opened, and how it was repaired."
    )
    skipped: dict[str, int] = Field(
        default_factory=dict,
        description="Files that were skipped, or only cut by lines because they exceeded a limit, by reason.",
    )
    files_pending: int = Field(default=0, description="Changes of the tree that are not indexed yet.")
    watch: WatchStatus
    mode: Mode
    state_dir: str
    project_root: str
    project_id: str
    embedding_model: str
    keyword_engine: str
    vector_engine: Literal["exact", "chroma"] = Field(
        description="Engine that stores and searches vectors: a memory-mapped matrix (exact), or Chroma."
    )
    vector_server: str | None = Field(default=None, description="URL of the Chroma server, if one stores the vectors.")
    vector_fault: str | None = Field(
        default=None,
        description="Why the vector engine cannot answer, beginning with an error code; keywords answer meanwhile.",
    )
    vectors_behind: int = Field(default=0, description="Number of chunks whose vector is not stored yet.")


class ProjectRegistration(BaseModel):
    """The body of `POST /projects`: a project for the shared daemon."""

    model_config = ConfigDict(extra="forbid")

    project_root: str = Field(
        min_length=1,
        max_length=4096,
        description="Absolute path of the project's root.",
        examples=["/home/me/project"],
    )
    state_dir: str | None = Field(
        default=None,
        min_length=1,
        max_length=4096,
        description="Absolute path of its state directory, which gets a pointer to the daemon; by default "
        "`.claude/Agent Brain` in the root, or the directory of an earlier registration.",
    )


class ProjectInfo(BaseModel):
    """A registered project."""

    project_id: str = Field(examples=["p_1a2b3c4d"])
    project_root: str
    state_dir: str | None = Field(description="Its state directory; null means the default one in the root.")
    registered_at: str = Field(description="ISO 8601 with zone.")
    is_open: bool = Field(description="Whether its index is open; the first request opens it.")
    is_root_missing: bool = Field(description="Whether its root does not exist; requests to it are refused.")


class ProjectList(BaseModel):
    """The registered projects, ordered by root."""

    projects: list[ProjectInfo]
    idle_seconds: float = Field(default=0.0, ge=0, description=IDLE_SECONDS)


class UnregisteredProject(BaseModel):
    """The response of `DELETE /projects/{project_id}`."""

    project_id: str
    project_root: str
    data_removed: bool = Field(description="Whether its index was deleted too.")
    vector_fault: str | None = Field(
        default=None, description="Why its deleted index still has a copy of the vectors on the Chroma server, if so."
    )


class ProjectStatus(BaseModel):
    """Summary of one project's index and state of its indexing."""

    project_id: str
    project_root: str
    mode: Mode
    total_documents: int
    total_chunks: int
    vector_coverage: float = Field(ge=0, le=1, description="Share of the chunks that have a vector.")
    last_indexed_at: str | None = Field(description="ISO 8601 with zone.")
    indexing_in_progress: bool
