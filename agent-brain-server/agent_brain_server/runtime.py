"""`runtime.json`: where the running server answers, and how to know that it is the one.

The file is a hint. The lock says whether a server lives; `validate_runtime` says whether it is the server of the file.
"""

import logging
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent_brain_server.atomic_file import UnreadableDocumentError, read_document, write_atomic
from agent_brain_server.errors import UnknownSchemaError
from agent_brain_server.local_http import HEALTH_TIMEOUT_S, fetch_instance_id
from agent_brain_server.processes import MAX_PID, is_same_process
from agent_brain_server.storage_paths import runtime_path

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 1
WILDCARD_HOSTS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # listened on, but not to be connected to


class RuntimeState(BaseModel):
    """A running server, as it describes itself to clients.

    Attributes:
        mode: `project` serves one project; `shared` serves many.
        project_root: Canonical root of the project.
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
    project_root: str
    instance_id: Annotated[str, Field(min_length=1)]
    base_url: Annotated[str, Field(pattern=r"^http://[^/\s@]+$")]
    bind_host: str
    port: Annotated[int, Field(ge=1, le=65535)]
    pid: Annotated[int, Field(ge=1, le=MAX_PID)]
    started_at: str
    pid_started_at: str | None = None
    version: str | None = None
    token: Annotated[str | None, Field(repr=False)] = None
    project_id: str | None = None


def format_base_url(bind_host: str, port: int) -> str:
    """Return the address under which a server that listens on `bind_host` can be reached from this machine."""
    host = WILDCARD_HOSTS.get(bind_host, bind_host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def write_runtime(state_dir: Path, state: RuntimeState) -> None:
    """Publish `state` for clients.

    Raises:
        OSError: The state directory cannot be written.
    """
    write_atomic(runtime_path(state_dir), state.model_dump(mode="json", exclude_none=True))


def read_runtime(state_dir: Path) -> RuntimeState | None:
    """Return what the state directory says of its server, or None where it says nothing that can be understood.

    A torn or foreign file is logged and treated as absent.

    Raises:
        UnknownSchemaError: The file is of a version that this one does not know.
    """
    path = runtime_path(state_dir)
    try:
        document = read_document(path)
    except UnreadableDocumentError as exc:
        logger.warning("Ignored: %s", exc)
        return None
    if document is None:
        return None
    version = document.get("schema_version")
    if isinstance(version, int) and version != SCHEMA_VERSION:
        raise UnknownSchemaError(f"{path} has schema_version {version}; this version knows {SCHEMA_VERSION}.")
    try:
        return RuntimeState.model_validate(document)
    except ValidationError as exc:
        fields = ", ".join(".".join(map(str, problem["loc"])) for problem in exc.errors())
        logger.warning("Ignored: %s does not describe a server (%s)", path, fields)
        return None


def delete_runtime(state_dir: Path) -> None:
    """Withdraw what was published; nothing happens where nothing was."""
    runtime_path(state_dir).unlink(missing_ok=True)


def is_process_alive(state: RuntimeState) -> bool:
    """True where the process of `state` runs: the pid alone may meanwhile belong to another one."""
    return is_same_process(state.pid, state.pid_started_at)


def validate_runtime(state: RuntimeState, *, timeout: float = HEALTH_TIMEOUT_S) -> bool:
    """True where the server of `state` answers: its process runs, and the port gives its instance id.

    Args:
        state: What the file says.
        timeout: Seconds to wait for an answer.
    """
    return is_process_alive(state) and fetch_instance_id(state.base_url, timeout=timeout) == state.instance_id
