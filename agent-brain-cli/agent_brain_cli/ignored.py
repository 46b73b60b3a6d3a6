"""The note on what of a project's config.json is ignored because the user does not trust the file."""

from agent_brain_cli.options import Target
from agent_brain_cli.render import note
from agent_brain_server.config.trust import may_need_trust
from agent_brain_server.errors import AgentBrainError
from agent_brain_server.storage_paths import config_path


def note_ignored(target: Target) -> None:
    """Report on stderr which settings of the project's file are ignored, and how to allow them."""
    if not may_need_trust(config_path(target.state_dir)):
        return
    from agent_brain_server.config.settings import load_settings  # noqa: PLC0415 - costs a query a tenth of its time

    try:
        ignored = load_settings(target.state_dir).ignored
    except AgentBrainError:
        return  # reported where the settings are used
    if ignored:
        note(f"Warning: {ignored.describe()} {ignored.hint}")
