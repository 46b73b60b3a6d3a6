"""`agent-brain init`: the state directory and its config.json."""

import click

from agent_brain_cli.options import Target, target_options
from agent_brain_cli.render import Json, note, show, visible
from agent_brain_server import registry
from agent_brain_server.config.settings import write_project_config
from agent_brain_server.storage_paths import config_path


@click.command()
@click.option("--mode", type=click.Choice(["project"]), default="project", help="One server for this project alone.")
@click.option("--force", is_flag=True, help="Write the defaults over a config.json that is there.")
@target_options
def init(target: Target, mode: str, force: bool) -> None:
    """Create the project's state directory and its config.json.

    A config.json that is there already is left as it is. This is not needed before `start`, `index` or `query`.
    """
    created = write_project_config(target.state_dir, force=force)
    registry.register(target.project_root, target.state_dir)
    document: Json = {
        "project_root": str(target.project_root),
        "state_dir": str(target.state_dir),
        "config_file": str(config_path(target.state_dir)),
        "mode": mode,
        "created": created,
    }
    show(document, render_init, as_json=target.as_json)
    if created:
        note("Next: agent-brain index, or ask at once: agent-brain query TEXT")


def render_init(document: Json) -> str:
    """Say what was made."""
    path = visible(document["config_file"])
    return (
        f"Created {path}" if document["created"] else f"{path} is there already; --force writes the defaults over it."
    )
