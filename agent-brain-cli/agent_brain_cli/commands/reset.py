"""`agent-brain reset`: the project without its index, as if it had never been indexed."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from agent_brain_cli.ignored import note_ignored
from agent_brain_cli.index_data import find_index_data, locate_data, measure_bytes, remove_index_data
from agent_brain_cli.options import Target, mode_option, target_options, timeout_option
from agent_brain_cli.render import Json, format_bytes, note, show, visible
from agent_brain_cli.servers import resolve_mode
from agent_brain_cli.vectors_elsewhere import forget_vectors
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

FORGET_TIMEOUT_S = 30.0  # the daemon waits for requests to end, and deletes what may be gigabytes


@click.command()
@mode_option
@click.option("--yes", "-y", is_flag=True, help="Don't ask.")
@timeout_option
@target_options
def reset(target: Target, mode: str | None, yes: bool, timeout: float) -> None:
    """Remove the project's index.

    The project's server is stopped first if it runs. Settings and logs stay, and nothing outside of the state directory
    is touched. Where the project is meant for the daemon that projects share, or with --mode shared, the project's
    index there is removed; the daemon goes on and still serves the project.
    """
    shared = mode == "shared" or (mode is None and resolve_mode(target).is_shared)
    if not shared:
        require_own_state_dir(target.project_root, target.state_dir)
        note_ignored(target)
    place = shared_project_home(generate_project_id(target.project_root)) if shared else target.state_dir
    data = locate_data(place, DATA_DIR if shared else load_settings(place).config.data_dir)
    found = find_index_data(data)
    if found and not yes and not ask(target, found, stops_server=not shared and not is_stale(target.state_dir)):
        found = []
    removed: list[Json] = []
    stopped, fault = False, None
    if found:
        removed = [{"path": str(path), "bytes": measure_bytes(path)} for path in found]
        if shared:
            fault = remove_from_daemon(target, data)
        else:
            stopped = stop_server(target.state_dir, timeout_s=timeout).stopped
            with hold_lock(target.state_dir, "The server was started again meanwhile."):
                fault = forget_vectors(data, target.state_dir)
                remove_index_data(find_index_data(data))
                release_state_dir(target.state_dir)
    document: Json = {
        "project_root": str(target.project_root),
        "data_dir": str(data),
        "mode": "shared" if shared else "project",
    }
    document |= {"stopped": stopped, "removed": removed, "vector_fault": fault}
    show(document, render_reset, as_json=target.as_json)
    if fault:
        note(f"A copy of the vectors is left. {fault}")
    if removed:
        note("Index it again with: agent-brain index")


def ask(target: Target, found: list[Path], *, stops_server: bool) -> bool:
    """Ask whether the index is to be removed.

    Raises:
        ConfigError: Nobody can answer.
    """
    if not sys.stdin.isatty():
        raise ConfigError(
            "Nobody can be asked here whether the index is to be removed.",
            hint="Say so with: agent-brain reset --yes",
            code="not_confirmed",
        )
    size = format_bytes(sum(map(measure_bytes, found)))
    stop = " and stop its server" if stops_server else ""
    return click.confirm(f"Remove the index of {visible(str(target.project_root))} ({size}){stop}?", err=True)


def remove_from_daemon(target: Target, data: Path) -> str | None:
    """Remove a project's index from the daemon, which goes on serving the project if it did.

    Returns:
        Why a copy of the vectors is still on the Chroma server, None where none is.

    Raises:
        AgentBrainError: The daemon does not answer, or refuses to.
    """
    daemon = find_daemon()
    if daemon is not None:
        return forget_in_daemon(daemon, target)
    if not is_stale(brain_home()):
        require_daemon()  # raises: it is there and does not answer
    with hold_lock(brain_home(), "The shared daemon was started meanwhile."):
        fault = forget_vectors(data, None)
        remove_index_data(find_index_data(data))
    return fault


def forget_in_daemon(daemon: RuntimeState, target: Target) -> str | None:
    """Let the daemon close the index and delete it, and serve the project anew if it did before."""
    is_served = shared_project_file(generate_project_id(target.project_root)).exists()
    registered = register_project(
        daemon, target.project_root, target.state_dir
    )  # what it does not serve it would not delete
    path = f"/projects/{registered.project_id}?forget=true"
    fault: str | None = request_json(daemon, "DELETE", path, timeout=FORGET_TIMEOUT_S).get("vector_fault")
    if is_served:
        register_project(daemon, target.project_root, target.state_dir)
    return fault


@contextmanager
def hold_lock(state_dir: Path, refusal: str) -> Iterator[None]:
    """Keep servers from starting for the length of a block.

    Raises:
        ConflictError: One has started already.
    """
    lock = StateLock(state_dir)
    if not lock.acquire(patience_s=PROBE_PATIENCE_S, record_pid=False):
        raise ConflictError(f"{refusal} Nothing was removed.", hint="Try again with: agent-brain reset")
    try:
        yield
    finally:
        lock.release()


def render_reset(document: Json) -> str:
    """Say what was removed."""
    if not document["removed"]:
        return f"Nothing was removed from {visible(document['data_dir'])}."
    lines = ["Stopped the server."] if document["stopped"] else []
    lines += [f"Removed {visible(item['path'])} ({format_bytes(item['bytes'])})" for item in document["removed"]]
    return "\n".join(lines)
