"""`agent-brain reset`: remove the project's index."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from agent_brain_cli.index_files import (
    find_index_files,
    locate_data,
    measure_bytes,
    purge_vectors,
    remove_index_files,
)
from agent_brain_cli.options import Target, mode_option, target_options, timeout_option
from agent_brain_cli.output import Json, format_bytes, note, show, visible
from agent_brain_cli.servers import note_ignored, resolve_mode
from agent_brain_server.config.settings import load_settings
from agent_brain_server.discovery import request_json
from agent_brain_server.errors import ConfigError, ConflictError
from agent_brain_server.lifecycle.control import stop_server
from agent_brain_server.lifecycle.registry import release_state_dir, require_own_state_dir
from agent_brain_server.locking import PROBE_PATIENCE_S, StateLock, is_stale
from agent_brain_server.project_root import generate_project_id
from agent_brain_server.runtime import RuntimeState
from agent_brain_server.shared.daemon import find_daemon, register_project, require_daemon
from agent_brain_server.storage_paths import DATA_DIR, brain_home, shared_project_file, shared_project_home

DELETE_TIMEOUT_S = 30.0  # the daemon waits for requests to end, and deletes up to several gigabytes


@click.command()
@mode_option
@click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation.")
@timeout_option
@target_options
def reset(target: Target, mode: str | None, yes: bool, timeout: float) -> None:
    """Remove the project's index.

    Stops the project's server first. Settings, logs and everything outside the state directory stay. In a project that
    uses the shared daemon, or with --mode shared, the project's index in the daemon is removed, and the daemon
    continues to serve the project.
    """
    shared = mode == "shared" or (mode is None and resolve_mode(target).is_shared)
    if not shared:
        require_own_state_dir(target.project_root, target.state_dir)
        note_ignored(target)
    state_dir = shared_project_home(generate_project_id(target.project_root)) if shared else target.state_dir
    data = locate_data(state_dir, DATA_DIR if shared else load_settings(state_dir).config.data_dir)
    found = find_index_files(data)
    if found and not yes and not confirm(target, found, stops_server=not shared and not is_stale(target.state_dir)):
        found = []
    removed: list[Json] = []
    stopped, fault = False, None
    if found:
        removed = [{"path": str(path), "bytes": measure_bytes(path)} for path in found]
        if shared:
            fault = remove_from_daemon(target, data)
        else:
            stopped = stop_server(target.state_dir, timeout_s=timeout).stopped
            with hold_lock(target.state_dir, "The server was started again in the meantime."):
                fault = purge_vectors(data, target.state_dir)
                remove_index_files(find_index_files(data))
                release_state_dir(target.state_dir)
    document: Json = {
        "project_root": str(target.project_root),
        "data_dir": str(data),
        "mode": "shared" if shared else "project",
    }
    document |= {"stopped": stopped, "removed": removed, "vector_fault": fault}
    show(document, render_reset, as_json=target.as_json)
    if fault:
        note(f"Some vectors were not removed from the Chroma server. {fault}")
    if removed:
        note("Index it again with: agent-brain index")


def confirm(target: Target, found: list[Path], *, stops_server: bool) -> bool:
    """Ask the user whether to remove the index.

    Raises:
        ConfigError: stdin is not a terminal.
    """
    if not sys.stdin.isatty():
        raise ConfigError(
            "Removing the index needs a confirmation, and stdin is not a terminal.",
            hint="Confirm it with: agent-brain reset --yes",
            code="not_confirmed",
        )
    size = format_bytes(sum(map(measure_bytes, found)))
    stop = " and stop its server" if stops_server else ""
    return click.confirm(f"Remove the index of {visible(str(target.project_root))} ({size}){stop}?", err=True)


def remove_from_daemon(target: Target, data: Path) -> str | None:
    """Remove a project's index from the daemon, which continues to serve the project if it did before.

    Returns:
        Why vectors are left on the Chroma server; `None` if none are.

    Raises:
        AgentBrainError: The daemon does not answer, or refuses.
    """
    daemon = find_daemon()
    if daemon is not None:
        return delete_in_daemon(daemon, target)
    if not is_stale(brain_home()):
        require_daemon()  # raises: it is running and does not answer
    with hold_lock(brain_home(), "The shared daemon was started in the meantime."):
        fault = purge_vectors(data, None)
        remove_index_files(find_index_files(data))
    return fault


def delete_in_daemon(daemon: RuntimeState, target: Target) -> str | None:
    """Have the daemon delete the index, and register the project again if it was registered before."""
    is_served = shared_project_file(generate_project_id(target.project_root)).exists()
    # the daemon deletes only what it serves
    registered = register_project(daemon, target.project_root, target.state_dir)
    path = f"/projects/{registered.project_id}?forget=true"
    fault: str | None = request_json(daemon, "DELETE", path, timeout=DELETE_TIMEOUT_S).get("vector_fault")
    if is_served:
        register_project(daemon, target.project_root, target.state_dir)
    return fault


@contextmanager
def hold_lock(state_dir: Path, refusal: str) -> Iterator[None]:
    """Keep servers from starting while the block runs.

    Args:
        state_dir: The state directory to lock.
        refusal: The first sentence of the error if a server holds the lock.

    Raises:
        ConflictError: A server holds the lock.
    """
    lock = StateLock(state_dir)
    if not lock.acquire(patience_s=PROBE_PATIENCE_S, record_pid=False):
        raise ConflictError(f"{refusal} Nothing was removed.", hint="Try again with: agent-brain reset")
    try:
        yield
    finally:
        lock.release()


def render_reset(document: Json) -> str:
    """Return what was removed."""
    if not document["removed"]:
        return f"Nothing was removed from {visible(document['data_dir'])}."
    lines = ["Stopped the server."] if document["stopped"] else []
    lines += [f"Removed {visible(item['path'])} ({format_bytes(item['bytes'])})" for item in document["removed"]]
    return "\n".join(lines)
