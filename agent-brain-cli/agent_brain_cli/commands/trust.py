"""`agent-brain trust`: allow the project's own config.json to change every setting."""

from dataclasses import asdict, replace

import click

from agent_brain_cli.options import Target, target_options
from agent_brain_cli.output import Json, format_setting, format_table, note, show, visible
from agent_brain_cli.servers import resolve_mode
from agent_brain_server.config.settings import check_own_file, list_secrets, read_own_file
from agent_brain_server.config.trust import (
    RESTRICTED_KEYS,
    SECRET_ADDRESSES,
    ProjectFile,
    check_trusted,
    find_received,
    list_trusted,
    revoke_trust,
    trust_file,
)
from agent_brain_server.errors import ConfigError
from agent_brain_server.locking import is_stale
from agent_brain_server.storage_paths import brain_home, config_path


@click.command()
@click.option("--revoke", is_flag=True, help="Stop trusting the project's config.json.")
@click.option("--list", "listing", is_flag=True, help="List every config.json that you trust.")
@target_options
def trust(target: Target, revoke: bool, listing: bool) -> None:
    """Allow the project's own config.json to change every setting.

    The file comes with the repository, so until you trust it, it can only tune how the project is indexed: it cannot
    choose a remote model, an address or a directory elsewhere. This command shows what else the file sets, and records
    that you trust exactly this content. If the file changes, it has to be trusted again.
    """
    if revoke and listing:
        raise click.UsageError("--revoke and --list cannot be used together.")
    if listing:
        document: Json = {"trusted": [{**asdict(entry), "state": check_trusted(entry)} for entry in list_trusted()]}
        show(document, render_list, as_json=target.as_json)
        return
    document = revoke_own(target) if revoke else trust_own(target)
    show(document, render_revoked if revoke else render_trusted, as_json=target.as_json)
    if document["changed"]:
        note_restart(target)


def note_restart(target: Target) -> None:
    """Report how a running server applies the change."""
    if not is_stale(target.state_dir):
        note("The running server keeps its settings. Restart it with: agent-brain stop && agent-brain start")
    elif resolve_mode(target).is_shared and not is_stale(brain_home()):
        note("The shared daemon applies the change when it next opens the project's index, or when it is restarted.")


def trust_own(target: Target) -> Json:
    """Trust the current content of the project's file, and return what it may set.

    Raises:
        ConfigError: There is no file, or one of its values is not allowed.
        StateDirError: The list of trusted files cannot be written.
    """
    path = config_path(target.state_dir)
    file = read_own_file(path)
    if file is None:
        raise ConfigError(
            f"{path} does not exist.", hint="There is nothing to trust. Create the file with: agent-brain init"
        )
    secrets = find_received(file, list_secrets())
    trusted = replace(file, is_trusted=True, secrets=secrets)
    check_own_file(trusted)
    changed = bool(file.restricted) and not (file.is_trusted and file.secrets == secrets)
    if changed:
        trust_file(trusted, target.project_root)
    return describe_trust(target, trusted, changed=changed)


def describe_trust(target: Target, file: ProjectFile, *, changed: bool) -> Json:
    """Return what a trusted file may set."""
    return {
        "project_root": str(target.project_root),
        "config_file": str(file.path),
        "sha256": file.sha256,
        "trusted": bool(file.restricted),
        "changed": changed,
        "settings": {key: {"value": value, "effect": RESTRICTED_KEYS[key]} for key, value in file.restricted.items()},
        "secrets": {key: SECRET_ADDRESSES[key] for key in file.secrets},
    }


def revoke_own(target: Target) -> Json:
    """Stop trusting the project's file."""
    path = config_path(target.state_dir)
    changed = revoke_trust(path)
    return {"project_root": str(target.project_root), "config_file": str(path), "trusted": False, "changed": changed}


def render_trusted(document: Json) -> str:
    """Return what the file may set now."""
    path = visible(document["config_file"])
    if not document["trusted"]:
        return f"Nothing in {path} needs trust."
    rows = [[key, format_setting(each["value"]), each["effect"]] for key, each in document["settings"].items()]
    lines = [f"{'Trusted' if document['changed'] else 'Already trusted:'} {path} (SHA-256 {document['sha256'][:12]})"]
    lines.append(format_table(("SETTING", "VALUE", "EFFECT"), rows))
    lines += [f"{secret} is sent to {address}." for secret, address in document["secrets"].items()]
    return "\n".join(lines)


def render_revoked(document: Json) -> str:
    """Return whether the file was trusted."""
    path = visible(document["config_file"])
    return f"No longer trusted: {path}" if document["changed"] else f"{path} was not trusted."


def render_list(document: Json) -> str:
    """Return one line for each trusted file."""
    if not document["trusted"]:
        return "No config.json is trusted."
    rows = [[each["config_file"], each["state"], each["trusted_at"]] for each in document["trusted"]]
    return format_table(("FILE", "STATE", "SINCE"), rows)
