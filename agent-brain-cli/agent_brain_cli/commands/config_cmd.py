"""`agent-brain config`: show every setting and where its value comes from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from agent_brain_cli.options import Target, mode_option, target_options
from agent_brain_cli.output import Json, format_setting, format_table, note, show
from agent_brain_cli.servers import note_ignored, resolve_mode
from agent_brain_server.config.settings import DaemonSettings, load_settings
from agent_brain_server.config.trust import SECRET_KEYS, Ignored
from agent_brain_server.locking import is_stale
from agent_brain_server.runtime import read_runtime
from agent_brain_server.storage_paths import brain_home, config_path, global_config_path, shared_config_path

HIDDEN = "(hidden)"


@click.command()
@mode_option
@target_options
def config(target: Target, mode: str | None) -> None:
    """Show every setting and where its value comes from.

    A value comes from an environment variable, a file or the defaults. A running server uses the values from when it
    was started. With --mode shared, show the settings of the shared daemon.
    """
    document = describe_daemon_settings() if mode == "shared" else describe_settings(target)
    show(document, render_config, as_json=target.as_json)
    if mode != "shared":
        note_ignored(target)
    if mode is None and resolve_mode(target).is_shared:
        note("This project uses the shared daemon. Show its settings with: agent-brain config --mode shared")
    running = document["running"]
    if running and any(running[key] != document["settings"][key]["value"] for key in differing_keys(document)):
        note(f"The running server was started with other settings: it listens at {running['base_url']}")


def describe_settings(target: Target) -> Json:
    """Return the settings with which the project's server would start."""
    settings = load_settings(target.state_dir)
    return {
        "mode": "project",
        "project_root": str(target.project_root),
        "state_dir": str(target.state_dir),
        "files": [str(config_path(target.state_dir)), str(global_config_path())],
        "running": None if is_stale(target.state_dir) else describe_running(target.state_dir),
        "settings": list_settings(settings.config.model_dump(mode="json"), settings.origins),
        "ignored": describe_ignored(settings.ignored),
    }


def describe_daemon_settings() -> Json:
    """Return the settings with which the shared daemon would start."""
    settings, home = DaemonSettings.load(), brain_home()
    return {
        "mode": "shared",
        "state_dir": str(home),
        "files": [str(shared_config_path()), str(global_config_path())],
        "running": None if is_stale(home) else describe_running(home),
        "settings": list_settings(settings.values(), settings.origins),
        "ignored": None,
    }


def describe_ignored(ignored: Ignored | None) -> Json | None:
    """Return the ignored settings of the project's file with the reason; `None` if none are."""
    if ignored is None:
        return None
    return {
        "file": str(ignored.path),
        "reason": ignored.reason,
        "settings": dict(ignored.values),
        "withheld": list(ignored.withheld),
    }


def describe_running(state_dir: Path) -> Json | None:
    """Return the address in a state directory's runtime file; `None` if there is none."""
    state = read_runtime(state_dir)
    return state.model_dump(mode="json", include={"base_url", "bind_host", "port"}) if state else None


def differing_keys(document: Json) -> list[str]:
    """Return the settings to compare with the running server; port 0 means any port."""
    return ["bind_host", "port"] if document["settings"]["port"]["value"] else ["bind_host"]


def list_settings(values: Mapping[str, Any], origins: Mapping[str, str]) -> Json:
    """Return value and origin of each setting; values of secrets are hidden."""
    shown = {key: HIDDEN if key in SECRET_KEYS and value is not None else value for key, value in values.items()}
    return {key: {"value": value, "origin": origins[key]} for key, value in shown.items()}


def render_config(document: Json) -> str:
    """Return a table of the settings, with values as in config.json."""
    ignored = document["ignored"] or {"settings": {}, "withheld": []}
    rows = []
    for key, setting in document["settings"].items():
        rows.append([key, format_setting(setting["value"]), setting["origin"]])
        if key in ignored["settings"]:
            rows.append(
                [key, format_setting(ignored["settings"][key]), f"ignored: {ignored['reason']}, {ignored['file']}"]
            )
        if key in ignored["withheld"]:
            rows.append([key, HIDDEN, f"withheld: {ignored['file']} is {ignored['reason']}"])
    return format_table(("SETTING", "VALUE", "FROM"), rows)
