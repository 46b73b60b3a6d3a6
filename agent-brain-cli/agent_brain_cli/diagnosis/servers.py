"""Checks of servers: the project's own or the daemon, what is written about them, ports, versions."""

import importlib.metadata
import socket

from agent_brain_cli.diagnosis.finding import Finding, Patient
from agent_brain_server import __version__
from agent_brain_server.config.daemon import DaemonSettings
from agent_brain_server.errors import AgentBrainError
from agent_brain_server.lifecycle import registry
from agent_brain_server.locking import is_stale, read_pid
from agent_brain_server.runtime import read_pointer, read_runtime, validate_runtime
from agent_brain_server.storage_paths import brain_home, lock_path, pid_path, runtime_path
from agent_brain_server.support.text import count_noun

CLI_DISTRIBUTION = "agent-brain-cli"
START = "agent-brain start"
ANSWER_LIMIT_S = 2.0  # a server answers within 60 ms even while it indexes


def check_server(patient: Patient) -> Finding:
    """Does the server that the files speak of answer, and as the one that they mean?"""
    option = " --mode shared" if patient.is_shared else ""
    who = "the shared daemon" if patient.is_shared else "the project's server"
    if is_stale(patient.place):
        if patient.is_shared:
            return Finding("server", "failed", f"{who}, which this project is meant for, does not run", START + option)
        return Finding("server", "ok", f"{who} does not run; the first question starts it")
    state = read_runtime(patient.place)
    if state is None:
        step = f"Wait if it is just starting, or end it with: agent-brain stop{option} --force"
        message = f"process {read_pid(patient.place)} holds the lock, and no runtime.json tells of it"
        return Finding("server", "failed", message, step)
    if not validate_runtime(state, state_dir=patient.place, timeout=ANSWER_LIMIT_S):
        step = f"See its last words with: agent-brain logs{option}; end it with: agent-brain stop{option} --force"
        return Finding("server", "failed", f"{who} (pid {state.pid}) does not answer at {state.base_url}", step)
    if not patient.is_shared and state.project_root != str(patient.target.project_root):
        step = "Name another directory with --state-dir."
        return Finding("server", "failed", f"the state directory is used by the server of {state.project_root}", step)
    return Finding("server", "ok", f"{who} answers at {state.base_url} (pid {state.pid})")


def check_stale_files(patient: Patient) -> Finding:
    """Is there anything that a server which was killed left behind?"""
    left = []
    for place in dict.fromkeys((patient.target.state_dir, patient.place)):
        if not is_stale(place) or (read_pointer(place) is not None and not is_stale(brain_home())):
            continue
        left += [path for path in (runtime_path(place), lock_path(place), pid_path(place)) if path.exists()]
    if left:
        names = ", ".join(str(path) for path in left)
        return Finding("stale files", "warning", f"left by a server that was killed: {names}", "agent-brain stop")
    return Finding("stale files", "ok", "none")


def check_port(patient: Patient) -> Finding:
    """Is the port free that a server would listen at?"""
    settings = DaemonSettings.load().server if patient.is_shared else patient.config
    if not is_stale(patient.place):
        return Finding("port", "ok", "the server that runs has it")
    if not settings.port:
        return Finding("port", "ok", "the system chooses a free one")
    name = f"port {settings.port} at {settings.bind_host}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.bind_host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        step = 'Set "port" to 0 or to another one; agent-brain config shows where it is set.'
        return Finding("port", "failed", f"{name} can't be listened at: {error}", step)
    return Finding("port", "ok", f"{name} is free")


def check_registry(patient: Patient) -> Finding:
    """Are there projects in the registry that no longer exist?"""
    entries = registry.entries()
    gone = [entry for entry in entries if not entry.project_root.is_dir()]
    if gone:
        message = f"{len(gone):,} of {count_noun(len(entries), 'project')} gone, such as {gone[0].project_root}"
        return Finding("registry", "warning", message, "agent-brain list forgets them.")
    return Finding("registry", "ok", f"{count_noun(len(entries), 'project')} known")


def check_versions(patient: Patient) -> Finding:
    """Are command, installed server and running server of the same version?"""
    command = importlib.metadata.version(CLI_DISTRIBUTION)
    if command != __version__:
        message = f"agent-brain-cli {command} works with agent-brain-server {__version__}"
        return Finding("versions", "warning", message, "Install both of one version.")
    try:
        state = None if is_stale(patient.place) else read_runtime(patient.place)
    except AgentBrainError as error:
        return Finding("versions", "failed", error.message, error.hint)
    if state is not None and state.version != __version__:
        option = " --mode shared" if patient.is_shared else ""
        message = f"the server that runs is of version {state.version}, the command of {__version__}"
        step = f"agent-brain stop{option} && agent-brain start{option}"
        return Finding("versions", "warning", message, step)
    return Finding("versions", "ok", f"command and server are of version {__version__}")
