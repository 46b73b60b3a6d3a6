"""`agent-brain init`: create the state directory and its config.json."""

from typing import Literal

import click

from agent_brain_cli.options import Target, mode_option, target_options
from agent_brain_cli.output import Json, note, show, visible
from agent_brain_cli.servers import note_ignored, resolve_mode
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
    "project": "The project now has its own server, with its own index.",
    "shared": "The shared daemon now serves the project, with an index in its own home.",
}


@click.command()
@mode_option
@click.option("--force", is_flag=True, help="Replace an existing config.json with an empty one; keep its mode.")
@target_options
def init(target: Target, mode: Mode | None, force: bool) -> None:
    """Create the project's state directory and its config.json.

    Not needed before `start`, `index` or `query`. The file contains no defaults. In an existing file, only the mode is
    changed, and only if --mode is given. With --mode shared, the project uses the shared daemon, and the daemon's
    shared_config.json is created too.
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
    """Return the project's mode, whether or not a server is running."""
    return "shared" if resolve_mode(target).is_shared else "project"


def note_next_step(target: Target, document: Json) -> None:
    """Report the next command to run."""
    if not document["created"] and not document["changed"]:
        return
    if not is_stale(target.state_dir) and document["mode"] == "shared":
        note("The project's own server is still running and in use. Stop it with: agent-brain stop")
    if document["mode"] == "shared" and is_stale(brain_home()):
        note("Next: agent-brain start --mode shared")
    else:
        note("Next: agent-brain index, or search at once: agent-brain query TEXT")


def render_init(document: Json) -> str:
    """Return what was created or changed."""
    path = visible(document["config_file"])
    if document["created"]:
        lines = [f"Created {path}"]
    elif document["changed"]:
        lines = [f"Changed the mode to {document['mode']} in {path}"]
    else:
        lines = [f"{path} already exists; --force replaces it with an empty one."]
    if document["mode"] != document["previous_mode"]:
        lines.append(SERVED_BY[document["mode"]])
    if document.get("shared_config_created"):
        lines.append(f"Created {visible(document['shared_config_file'])}")
    return "\n".join(lines)
