"""Answers of `GET /health` and `GET /health/status`."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from agent_brain_server.models import Mode
from agent_brain_server.models.index import JobStatus
from agent_brain_server.models.query import WatchState

IDLE_SECONDS = (
    "Seconds since the server last answered a request that used it, or ran a job; 0 while it does. "
    "Requests that only look (/health, /health/status, /metrics, /projects) do not count."
)


class HealthResponse(BaseModel):
    """Is a server there, and which one: asked without credentials, so it tells no path."""

    status: Literal["healthy", "degraded", "unhealthy"]
    message: str
    mode: Mode
    instance_id: str = Field(description="New for every server process.", examples=["ds_3fa9c1"])
    project_id: str | None = Field(default=None, description="Project mode only.", examples=["p_1a2b3c4d"])
    active_projects: int | None = Field(default=None, description="Shared mode only: projects that are registered.")
    version: str


class WatchStatus(BaseModel):
    """How changes of the tree are noticed."""

    state: WatchState
    directories: int = Field(default=0, description="Directories that are watched.")
    unwatched: dict[str, str] = Field(
        default_factory=dict,
        description="Directories that cannot be watched, with the reason, at most 20; compared every few seconds.",
    )
    unwatched_directories: int = Field(default=0, description="How many these are in all.")
    recrawls: int = Field(default=0, description="How often events were lost, so that every file was compared again.")
    last_recrawl: str | None = Field(default=None, description="Why that happened last.")


class IndexStatus(BaseModel):
    """What the index holds and what is being done to it; counts are read from the stores."""

    total_documents: int = Field(description="Files in the index.")
    total_chunks: int
    total_vectors: int = Field(description="Chunks that have a vector.")
    vector_coverage: float = Field(ge=0, le=1, description="Share of the chunks that have a vector.")
    indexing_in_progress: bool
    idle_seconds: float = Field(default=0.0, ge=0, description=IDLE_SECONDS)
    current_job: JobStatus | None = None
    last_job: JobStatus | None = Field(default=None, description="The newest job that has ended.")
    last_indexed_at: str | None = Field(default=None, description="ISO 8601 with zone.")
    repairs: list[str] = Field(
        default_factory=list, description="What was found damaged or lost when the index was opened, and what was done."
    )
    skipped: dict[str, int] = Field(
        default_factory=dict,
        description="Files that were left out, or only cut by lines as they exceeded a limit, by reason.",
    )
    files_pending: int = Field(default=0, description="Changes of the tree that are not in the index yet.")
    watch: WatchStatus
    mode: Mode
    state_dir: str
    project_root: str
    project_id: str
    embedding_model: str
    keyword_engine: str
    vector_engine: Literal["exact", "chroma"] = Field(
        description="What searches by meaning now: the matrix of all vectors (exact), or Chroma in very large projects."
    )
    vector_server: str | None = Field(default=None, description="The Chroma server of the settings.")
    vector_fault: str | None = Field(
        default=None, description="Why Chroma fails, its code first; vectors are compared exactly meanwhile."
    )
    vectors_behind: int = Field(default=0, description="Changes that Chroma is still to take in.")


class ProjectRegistration(BaseModel):
    """`POST /projects`: what the shared daemon is to serve."""

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
        description="Absolute path of its state directory, if that is not .claude/Agent Brain in the root; the pointer "
        "to the daemon is left there. Left out, it stays where it is.",
    )


class ProjectInfo(BaseModel):
    """A project that is registered."""

    project_id: str = Field(examples=["p_1a2b3c4d"])
    project_root: str
    state_dir: str | None = Field(description="Its own state directory; null is the default place in the root.")
    registered_at: str = Field(description="ISO 8601 with zone.")
    is_open: bool = Field(description="Its index is open; a closed one is opened by the first request.")
    is_root_missing: bool = Field(description="Its root is not there; calls about it are refused.")


class ProjectList(BaseModel):
    """The registered projects, ordered by root."""

    projects: list[ProjectInfo]
    idle_seconds: float = Field(default=0.0, ge=0, description=IDLE_SECONDS)


class UnregisteredProject(BaseModel):
    """The answer of `DELETE /projects/{project_id}`."""

    project_id: str
    project_root: str
    data_removed: bool = Field(description="Its index was deleted too.")
    vector_fault: str | None = Field(
        default=None, description="Why its deleted index still has a copy of the vectors on the Chroma server, if so."
    )


class ProjectStatus(BaseModel):
    """What one project's index holds and what is being done to it."""

    project_id: str
    project_root: str
    mode: Mode
    total_documents: int
    total_chunks: int
    vector_coverage: float = Field(ge=0, le=1, description="Share of the chunks that have a vector.")
    last_indexed_at: str | None = Field(description="ISO 8601 with zone.")
    indexing_in_progress: bool
