"""Bodies of the calls under `/projects`."""

from pydantic import BaseModel, ConfigDict, Field

from agent_brain_server.models.health import IDLE_SECONDS, Mode


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
