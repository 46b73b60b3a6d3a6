"""`agent-brain init`: the state directory and its config.json."""

from typing import Literal

import click

from agent_brain_cli.ignored import note_ignored
from agent_brain_cli.options import Target, mode_option, target_options
from agent_brain_cli.render import Json, note, show, visible
from agent_brain_cli.servers import resolve_mode
from agent_brain_server.config.settings import change_project_mode, write_project_config
from agent_brain_server.lifecycle import registry
from agent_brain_server.lifecycle.registry import claim_state_dir, require_own_state_dir
from agent_brain_server.locking import is_stale
from agent_brain_server.project_root import generate_project_id
from agent_brain_server.runtime import write_shared_config
from agent_brain_server.shared.daemon import unregister_project
from agent_brain_server.storage_paths import brain_home, config_path, shared_config_path

Mode = Literal["project", "shared"]

SERVED_BY = {
    "project": "The project has its own server from now on, with its own index.",
    "shared": "The shared daemon serves the project from now on, with an index in its own home.",
}


@click.command()
@mode_option
@click.option("--force", is_flag=True, help="Replace an existing config.json by an empty one; its mode is kept.")
@target_options
def init(target: Target, mode: Mode | None, force: bool) -> None:
    """Create the project's state directory and its config.json.

    The file holds nothing that is in force anyway. In an existing one nothing is changed but the mode, if it is named;
    without --mode, the project stays with the server that it has. This is not needed before `start`, `index` or
    `query`. With --mode shared the project is served by the shared daemon, whose shared_config.json is created as well.
    """
    target.require_project()
    require_own_state_dir(target.project_root, target.state_dir)
    previous = find_mode(target)
    created = write_project_config(target.state_dir, mode=mode, force=force)
    claim_state_dir(target.project_root, target.state_dir)
    changed = not created and mode is not None and change_project_mode(target.state_dir, mode)
    document: Json = {
        "project_root": str(target.project_root),
        "state_dir": str(target.state_dir),
        "config_file": str(config_path(target.state_dir)),
        "mode": mode or find_mode(target),
        "previous_mode": previous,
        "created": created,
        "changed": changed,
    }
    if mode == "project":
        unregister_project(generate_project_id(target.project_root))
    if mode == "shared":
        document["shared_config_created"] = write_shared_config()
        document["shared_config_file"] = str(shared_config_path())
    registry.register(target.project_root, target.state_dir)
    show(document, render_init, as_json=target.as_json)
    note_ignored(target)
    note_next_step(target, document)


def find_mode(target: Target) -> Mode:
    """Return whether the project is served by the shared daemon or has its own server, running or not."""
    return "shared" if resolve_mode(target).is_shared else "project"


def note_next_step(target: Target, document: Json) -> None:
    """Say what to type next."""
    if not document["created"] and not document["changed"]:
        return
    if not is_stale(target.state_dir) and document["mode"] == "shared":
        note("The project's own server still runs and is used until: agent-brain stop")
    if document["mode"] == "shared" and is_stale(brain_home()):
        note("Next: agent-brain start --mode shared")
    else:
        note("Next: agent-brain index, or ask at once: agent-brain query TEXT")


def render_init(document: Json) -> str:
    """Say what was made."""
    path = visible(document["config_file"])
    if document["created"]:
        lines = [f"Created {path}"]
    elif document["changed"]:
        lines = [f"Changed the mode to {document['mode']} in {path}"]
    else:
        lines = [f"{path} exists already; --force replaces it by an empty one."]
    if document["mode"] != document["previous_mode"]:
        lines.append(SERVED_BY[document["mode"]])
    if document.get("shared_config_created"):
        lines.append(f"Created {visible(document['shared_config_file'])}")
    return "\n".join(lines)
