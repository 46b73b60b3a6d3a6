"""`runtime.json`: where the running server answers, and how to know that it is the one.

The file is a hint. The lock says whether a server lives; `validate_runtime` says whether it is the server of the file.
"""

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from agent_brain_server.errors import StateDirError, UnknownSchemaError
from agent_brain_server.storage_paths import lock_path, prepare_brain_home, runtime_path, shared_config_path
from agent_brain_server.support.atomic_file import UnreadableDocumentError, read_document, write_atomic
from agent_brain_server.support.http_client import HEALTH_TIMEOUT_S, fetch_instance_id
from agent_brain_server.support.processes import (
    MAX_PID,
    has_file_open,
    is_own_process,
    is_same_process,
    measure_process_age,
)

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 1
Described = TypeVar("Described", bound=BaseModel)
WILDCARD_HOSTS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # listened on, but not to be connected to


BaseUrl = Annotated[str, Field(pattern=r"^http://[^/\s@]+$")]


class RuntimeState(BaseModel):
    """A running server, as it describes itself to clients.

    Attributes:
        mode: `project` serves one project; `shared` serves many.
        project_root: Canonical root of the project; None in the shared daemon's own file.
        instance_id: New for every server process.
        started_at: ISO 8601 with zone.
        pid_started_at: The process's start time as the system counts it, so that a reused pid is told apart.
        version: Version of the server.
        token: What a request must carry.
        project_id: The project's id; a client of a shared server sends it along.
    """

    # built at first use: a client that finds no file never pays for it
    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    schema_version: Literal[1] = 1
    mode: Literal["project", "shared"]
    project_root: str | None = None
    instance_id: Annotated[str, Field(min_length=1)]
    base_url: BaseUrl
    bind_host: str
    port: Annotated[int, Field(ge=1, le=65535)]
    pid: Annotated[int, Field(ge=1, le=MAX_PID)]
    started_at: str
    pid_started_at: str | None = None
    version: str | None = None
    token: Annotated[str | None, Field(repr=False)] = None
    project_id: str | None = None

    @model_validator(mode="after")
    def _check_root(self) -> Self:
        if self.mode == "project" and self.project_root is None:
            raise ValueError("project_root is missing")
        return self


class SharedPointer(BaseModel):
    """What lies as `runtime.json` in the state directory of a project that the shared daemon serves.

    Attributes:
        project_root: Canonical root of the project.
        project_id: What a request about the project carries.
        base_url: Where the daemon answers; its own `runtime.json` says more.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    schema_version: Literal[1] = 1
    mode: Literal["shared"] = "shared"
    project_root: str
    project_id: Annotated[str, Field(pattern=r"^p_[0-9a-f]{8}$")]
    base_url: BaseUrl


class SharedConfig(BaseModel):
    """`shared_config.json`: what can be set for the shared daemon."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)

    bind_host: Annotated[str, Field(min_length=1, description="an IP address or host name to listen on")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="a port from 0 (the system chooses) to 65535")] = 45123
    embedding_model: Annotated[str, Field(min_length=1, description="the name of an embedding model")] = (
        "all-MiniLM-L6-v2"
    )
    chunk_size: Annotated[int, Field(ge=32, le=8192, description="tokens of a chunk, from 32 to 8192")] = 512
    chunk_overlap: Annotated[int, Field(ge=0, description="tokens, from 0 to less than chunk_size")] = 50
    max_concurrent_indexing: Annotated[
        int, Field(ge=1, le=64, description="projects that are indexed at the same time, from 1 to 64")
    ] = 2
    max_open_projects: Annotated[
        int, Field(ge=1, le=1000, description="projects whose indexes are open at the same time, from 1 to 1000")
    ] = 8
    project_idle_seconds: Annotated[
        int, Field(ge=1, description="seconds without a request after which a project's index is closed")
    ] = 600


def write_shared_config(*, force: bool = False) -> bool:
    """Create an empty `shared_config.json`; return `False` if it exists already, in which case it stays unless `force`.

    No default is written down: it would override what the user sets for all projects and the daemon.

    Raises:
        StateDirError: The user's directory of Agent Brain can't be made or written.
    """
    prepare_brain_home()
    path = shared_config_path()
    if path.exists() and not force:
        return False
    try:
        write_atomic(path, {})
    except OSError as exc:
        raise StateDirError(f"{path} cannot be written: {exc.strerror}.") from exc
    return True


def format_base_url(bind_host: str, port: int) -> str:
    """Return the address under which a server that listens on `bind_host` can be reached from this machine."""
    host = WILDCARD_HOSTS.get(bind_host, bind_host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def write_runtime(state_dir: Path, state: RuntimeState) -> None:
    """Publish `state` for clients.

    Raises:
        OSError: The state directory cannot be written.
    """
    write_atomic(runtime_path(state_dir), make_runtime_document(state))


def make_runtime_document(state: RuntimeState) -> dict[str, Any]:
    """Return what the runtime file of a server holds."""
    return state.model_dump(mode="json", exclude_none=True)


def read_runtime(state_dir: Path) -> RuntimeState | None:
    """Return what the state directory says of its server, or None where it says nothing that can be understood.

    A torn or foreign file is logged and treated as absent; a pointer to the shared daemon is not a server's.

    Raises:
        UnknownSchemaError: The file is of a version that this one does not know.
    """
    document = _read_versioned(runtime_path(state_dir))
    if document is None or _is_pointer(document):
        return None
    return _validate(RuntimeState, document, runtime_path(state_dir))


def write_pointer(state_dir: Path, pointer: SharedPointer) -> None:
    """Publish that the shared daemon serves the project of `state_dir`; the caller holds its lock.

    Raises:
        OSError: The state directory cannot be written.
    """
    write_atomic(runtime_path(state_dir), pointer.model_dump(mode="json"))


def read_pointer(state_dir: Path) -> SharedPointer | None:
    """Return the pointer to the shared daemon in a project's state directory, or None where there is none.

    Raises:
        UnknownSchemaError: The file is of a version that this one does not know.
    """
    document = _read_versioned(runtime_path(state_dir))
    if document is None or not _is_pointer(document):
        return None
    return _validate(SharedPointer, document, runtime_path(state_dir))


def _is_pointer(document: dict[str, Any]) -> bool:
    return document.get("mode") == "shared" and "instance_id" not in document


def _read_versioned(path: Path) -> dict[str, Any] | None:
    try:
        document = read_document(path)
    except UnreadableDocumentError as exc:
        logger.warning("Ignored: %s", exc)
        return None
    version = document.get("schema_version") if document else None
    if isinstance(version, int) and version != SCHEMA_VERSION:
        raise UnknownSchemaError(f"{path} has schema_version {version}; this version knows {SCHEMA_VERSION}.")
    return document


def _validate(model: type[Described], document: dict[str, Any], path: Path) -> Described | None:
    try:
        return model.model_validate(document)
    except ValidationError as exc:
        fields = ", ".join(".".join(map(str, problem["loc"])) or problem["msg"] for problem in exc.errors())
        logger.warning("Ignored: %s does not describe a server (%s)", path, fields)
        return None


def delete_runtime(state_dir: Path) -> None:
    """Withdraw what was published; nothing happens where nothing was."""
    runtime_path(state_dir).unlink(missing_ok=True)


def is_process_alive(state: RuntimeState) -> bool:
    """Return whether the process of `state` runs, as the current user.

    The pid alone may have been reused, and a file may name the process of another user.
    """
    return is_same_process(state.pid, state.pid_started_at) and is_own_process(state.pid)


def measure_uptime(state: RuntimeState) -> float:
    """Return the seconds since a server started: by the system's count, which no clock changes, else by the clock."""
    age = measure_process_age(state.pid) if is_process_alive(state) else None
    if age is not None:
        return age
    try:
        return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(state.started_at)).total_seconds())
    except (ValueError, TypeError):  # no time, or one without a zone
        return 0.0


def validate_runtime(state: RuntimeState, *, state_dir: Path | None = None, timeout: float = HEALTH_TIMEOUT_S) -> bool:
    """Return whether the server of `state` answers.

    Its process runs as the current user, has the lock of the state directory open, and the port returns its instance
    id. So no address is contacted because of a file that came with a repository, even if another user holds the lock.

    Args:
        state: The content of the runtime file.
        state_dir: The state directory of the file; `None` if it is not known.
        timeout: Seconds to wait for an answer.
    """
    if not is_process_alive(state):
        return False
    if state_dir is not None and not has_file_open(state.pid, lock_path(state_dir)):
        return False
    return fetch_instance_id(state.base_url, timeout=timeout) == state.instance_id
