"""`agent-brain doctor`: everything that Agent Brain needs, checked on this machine, with what to do."""

import subprocess
from collections import Counter
from collections.abc import Callable

import click

from agent_brain_cli.diagnosis import machine, places, servers, stores
from agent_brain_cli.diagnosis.finding import Finding, Patient
from agent_brain_cli.options import Target, target_options
from agent_brain_cli.render import Json, colours_wanted, show, visible
from agent_brain_cli.servers import membership_of
from agent_brain_server.config.settings import ProjectConfig, load_settings
from agent_brain_server.errors import AgentBrainError, ConfigError
from agent_brain_server.project_root import generate_project_id
from agent_brain_server.storage_paths import DATA_DIR, brain_home, locate_below, shared_project_home
from agent_brain_server.support.text import count_noun

Check = Callable[[Patient], Finding]

CHECKS: dict[str, Check] = {
    "python": machine.check_python,
    "packages": machine.check_packages,
    "model": machine.check_model,
    "git": machine.check_git,
    "disk": machine.check_disk,
    "watching": machine.check_watching,
    "settings": places.check_settings,
    "state directory": places.check_state_dir,
    "file modes": places.check_modes,
    "home": places.check_home,
    "locks": places.check_locks,
    "version control": places.check_gitignore,
    "server": servers.check_server,
    "stale files": servers.check_stale_files,
    "port": servers.check_port,
    "registry": servers.check_registry,
    "versions": servers.check_versions,
    "index": stores.check_stores,
}
"""By the name that a check's finding has, in the order in which they are told."""

EXIT_FAILED = 1
COLOURS = {"ok": "green", "warning": "yellow", "failed": "red"}


@click.command()
@target_options
def doctor(target: Target) -> None:
    """Check everything that Agent Brain needs, and say what to do.

    One line for each check: ok, warning or failed, and the next step. Nothing is changed and nothing is started. Ends
    with exit code 1 where a check has failed.
    """
    patient = describe_patient(target)
    findings = [examine(name, check, patient) for name, check in CHECKS.items()]
    counts = Counter(finding.status for finding in findings)
    document: Json = {
        "project_root": str(target.project_root),
        "state_dir": str(patient.place),
        "mode": "shared" if patient.is_shared else "project",
        "checks": [
            {"check": each.check, "status": each.status, "message": each.message, "next_step": each.next_step}
            for each in findings
        ],
        "failed": counts["failed"],
        "warnings": counts["warning"],
    }
    show(document, render_findings, as_json=target.as_json)
    if counts["failed"]:
        raise click.exceptions.Exit(EXIT_FAILED)


def describe_patient(target: Target) -> Patient:
    """Return what is to be looked at."""
    shared = membership_of(target).is_shared
    try:
        config = load_settings(target.state_dir).config
    except ConfigError:  # told by its own check
        config = ProjectConfig()
    if shared:
        data = shared_project_home(generate_project_id(target.project_root)) / DATA_DIR
        return Patient(target, config, True, brain_home(), data)
    return Patient(target, config, False, target.state_dir, locate_below(target.state_dir, config.data_dir))


def examine(name: str, check: Check, patient: Patient) -> Finding:
    """Run one check; one that can't be run has failed."""
    try:
        return check(patient)
    except AgentBrainError as error:
        return Finding(name, "failed", error.message, error.hint)
    except (OSError, ValueError, LookupError, subprocess.SubprocessError) as error:
        return Finding(name, "failed", f"could not be checked: {error}", "Repair what is named, and look again.")


def render_findings(document: Json) -> str:
    """Return one line for each check, and how many have failed."""
    width = max(map(len, CHECKS))
    lines = []
    for each in document["checks"]:
        status = f"{each['status']:<7}"
        shown = click.style(status, fg=COLOURS[each["status"]]) if colours_wanted() else status
        step = f" → {each['next_step']}" if each["next_step"] else ""
        lines.append(f"{shown}  {each['check']:<{width}}  {visible(each['message'] + step)}")
    lines.append(f"{document['failed']} failed, {count_noun(document['warnings'], 'warning')}")
    return "\n".join(lines)
