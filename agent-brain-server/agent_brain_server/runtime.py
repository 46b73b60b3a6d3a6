"""`runtime.json`: where the server of a state directory answers, and how to verify that it does.

The file is a hint. `find_server` returns a server only if the lock proves that it runs, its process is the one in the
file, and the address answers with its instance id.
"""

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from agent_brain_server import __version__
from agent_brain_server.errors import StateDirError, UnknownSchemaError
from agent_brain_server.models import (
    DAEMON_PORT,
    DEFAULT_CHUNK_OVERLAP,
    DEFAULT_CHUNK_SIZE,
    DEFAULT_MODEL,
    LOOPBACK_HOST,
    MAX_CHUNK_SIZE,
    MAX_PORT,
    MIN_CHUNK_SIZE,
    Mode,
)
from agent_brain_server.storage_paths import (
    LOCK_FILE,
    RUNTIME_FILE,
    prepare_brain_home,
    runtime_path,
    shared_config_path,
)
from agent_brain_server.support.atomic_file import UnreadableDocumentError, is_locked, read_document, write_atomic
from agent_brain_server.support.http_client import HEALTH_TIMEOUT_S, fetch_instance_id
from agent_brain_server.support.processes import MAX_PID, is_own_holder, measure_process_age

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 1
WILDCARD_HOSTS = {"0.0.0.0": LOOPBACK_HOST, "::": "::1"}  # addresses to listen on, and the address to connect to

Model = TypeVar("Model", bound=BaseModel)
BaseUrl = Annotated[str, Field(pattern=r"^http://[^/\s@]+$")]


class RuntimeState(BaseModel):
    """A running server, as it describes itself to clients.

    Attributes:
        mode: `project` serves one project; `shared` serves many.
        project_root: Canonical root of the project; `None` in the shared daemon's own file.
        instance_id: New for every server process.
        started_at: ISO 8601 with zone.
        pid_started_at: Start time of the process as the system counts it, which distinguishes it from a reused pid.
        version: Version of the server.
        token: Credential that a request must carry.
        project_id: Id of the project, which a client of a shared server sends along.
    """

    # built at first use: a client that finds no file does not pay for it
    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    schema_version: Literal[1] = 1
    mode: Mode
    project_root: str | None = None
    instance_id: Annotated[str, Field(min_length=1)]
    base_url: BaseUrl
    bind_host: str
    port: Annotated[int, Field(ge=1, le=MAX_PORT)]
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

    @property
    def has_version_skew(self) -> bool:
        """Whether the server has another version than this package."""
        return self.version != __version__


class SharedPointer(BaseModel):
    """`runtime.json` in the state directory of a project that the shared daemon serves.

    Attributes:
        project_root: Canonical root of the project.
        project_id: Id of the project, which requests carry.
        base_url: Address of the daemon. Its own `runtime.json` holds the rest.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    schema_version: Literal[1] = 1
    mode: Literal["shared"] = "shared"
    project_root: str
    project_id: Annotated[str, Field(pattern=r"^p_[0-9a-f]{8}$")]
    base_url: BaseUrl


class SharedConfig(BaseModel):
    """`shared_config.json`: settings of the shared daemon."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)

    bind_host: Annotated[str, Field(min_length=1, description="an IP address or host name to listen on")] = (
        LOOPBACK_HOST
    )
    port: Annotated[int, Field(ge=0, le=MAX_PORT, description=f"a port from 0 (the system chooses) to {MAX_PORT}")] = (
        DAEMON_PORT
    )
    embedding_model: Annotated[str, Field(min_length=1, description="the name of an embedding model")] = DEFAULT_MODEL
    chunk_size: Annotated[
        int,
        Field(
            ge=MIN_CHUNK_SIZE,
            le=MAX_CHUNK_SIZE,
            description=f"tokens of a chunk, from {MIN_CHUNK_SIZE} to {MAX_CHUNK_SIZE}",
        ),
    ] = DEFAULT_CHUNK_SIZE
    chunk_overlap: Annotated[int, Field(ge=0, description="tokens, from 0 to less than chunk_size")] = (
        DEFAULT_CHUNK_OVERLAP
    )
    max_concurrent_indexing: Annotated[
        int, Field(ge=1, le=64, description="projects that are indexed at the same time, from 1 to 64")
    ] = 2
    max_open_projects: Annotated[
        int, Field(ge=1, le=1000, description="projects whose indexes are open at the same time, from 1 to 1000")
    ] = 8
    project_idle_seconds: Annotated[
        int, Field(ge=1, description="seconds without a request after which a project's index is closed")
    ] = 600


def write_shared_config() -> bool:
    """Create an empty `shared_config.json`. Return `False` if the file exists.

    No defaults are written: they would override what the user sets for all projects and the daemon.

    Raises:
        StateDirError: The home of Agent Brain cannot be created or written.
    """
    prepare_brain_home()
    path = shared_config_path()
    if path.exists():
        return False
    try:
        write_atomic(path, {})
    except OSError as exc:
        raise StateDirError(f"{path} cannot be written: {exc.strerror}.") from exc
    return True


def format_base_url(bind_host: str, port: int) -> str:
    """Return the URL at which this machine reaches a server that listens on `bind_host`."""
    host = WILDCARD_HOSTS.get(bind_host, bind_host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def find_server(state_dir: Path, *, timeout_s: float = HEALTH_TIMEOUT_S) -> RuntimeState | None:
    """Return the running server of a state directory, or `None` if there is none or it does not answer.

    Args:
        state_dir: Absolute; need not exist.
        timeout_s: Seconds to wait for its answer.

    Raises:
        UnknownSchemaError: A server that uses an unknown version of the file is running.
        StateDirError: The lock file exists and cannot be opened.
    """
    # A runtime file that came with a clone or a copy may name any address. A held lock cannot be copied.
    if not is_locked(state_dir / LOCK_FILE):
        return None
    state = read_runtime(state_dir)
    return state if state is not None and validate_runtime(state, state_dir=state_dir, timeout=timeout_s) else None


def validate_runtime(state: RuntimeState, *, state_dir: Path | None = None, timeout: float = HEALTH_TIMEOUT_S) -> bool:
    """Return whether the server of a runtime file answers.

    The process must run as the current user and have the lock of the state directory open, and the address must answer
    with the instance id. So no address is contacted because of a file that came with a repository, even if another
    process holds the lock.

    Args:
        state: The content of the runtime file.
        state_dir: The state directory of the file; `None` if it is not known.
        timeout: Seconds to wait for an answer.
    """
    lock_file = None if state_dir is None else state_dir / LOCK_FILE
    if not is_own_holder(state.pid, state.pid_started_at, lock_file):
        return False
    return fetch_instance_id(state.base_url, timeout=timeout) == state.instance_id


def is_process_alive(state: RuntimeState) -> bool:
    """Return whether the process of a server runs, as the current user.

    The pid alone may have been reused, and a file may name the process of another user.
    """
    return is_own_holder(state.pid, state.pid_started_at)


def measure_uptime(state: RuntimeState) -> float:
    """Return the seconds since a server started. The clock is used only if the process has ended."""
    age = measure_process_age(state.pid) if is_process_alive(state) else None
    if age is not None:
        return age
    try:
        return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(state.started_at)).total_seconds())
    except (ValueError, TypeError):  # not a time, or one without a zone
        return 0.0


def read_runtime(state_dir: Path) -> RuntimeState | None:
    """Return the content of a server's runtime file, or `None` if there is no valid one.

    A damaged or foreign file is logged and counts as missing. A pointer to the shared daemon is not a runtime file.

    Raises:
        UnknownSchemaError: The file has an unknown schema version.
    """
    document = _read_versioned(state_dir / RUNTIME_FILE)
    if document is None or _is_pointer(document):
        return None
    return _validate(RuntimeState, document, state_dir)


def write_runtime(state_dir: Path, state: RuntimeState) -> None:
    """Publish a server for clients.

    Raises:
        OSError: The state directory cannot be written.
    """
    write_atomic(runtime_path(state_dir), make_runtime_document(state))


def make_runtime_document(state: RuntimeState) -> dict[str, Any]:
    """Return the JSON document of a server's runtime file."""
    return state.model_dump(mode="json", exclude_none=True)


def delete_runtime(state_dir: Path) -> None:
    """Remove the runtime file or the pointer, if there is one."""
    runtime_path(state_dir).unlink(missing_ok=True)


def read_pointer(state_dir: Path) -> SharedPointer | None:
    """Return the pointer to the shared daemon in a project's state directory, or `None` if there is none.

    Raises:
        UnknownSchemaError: The file has an unknown schema version.
    """
    document = _read_versioned(runtime_path(state_dir))
    if document is None or not _is_pointer(document):
        return None
    return _validate(SharedPointer, document, state_dir)


def write_pointer(state_dir: Path, pointer: SharedPointer) -> None:
    """Publish that the shared daemon serves the project of a state directory. The caller holds its lock.

    Raises:
        OSError: The state directory cannot be written.
    """
    write_atomic(runtime_path(state_dir), pointer.model_dump(mode="json"))


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
        raise UnknownSchemaError(f"{path} has schema_version {version}; this version supports {SCHEMA_VERSION}.")
    return document


def _validate(model: type[Model], document: dict[str, Any], state_dir: Path) -> Model | None:
    try:
        return model.model_validate(document)
    except ValidationError as exc:
        fields = ", ".join(".".join(map(str, problem["loc"])) or problem["msg"] for problem in exc.errors())
        logger.warning("Ignored: %s does not describe a server (%s)", runtime_path(state_dir), fields)
        return None
