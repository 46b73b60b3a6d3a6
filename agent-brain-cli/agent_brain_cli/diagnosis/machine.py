"""Checks of the machine: interpreter, packages, model, git, disk, limits."""

import shutil
import sys

from agent_brain_cli.diagnosis.finding import Finding, Patient
from agent_brain_server.support import git

OLDEST_PYTHON = (3, 11)
NEWEST_PYTHON = (3, 13)  # the newest that the tests run on

LEAST_FREE_BYTES = 100_000_000  # an index of a few thousand files, and the room that its databases work in
SCARCE_FREE_BYTES = 1_000_000_000

RAISE_STEP = "Raise the limits: sudo sysctl fs.inotify.max_user_watches=524288 fs.inotify.max_user_instances=1024"

REINSTALL = "Install the packages again: pip install ./agent-brain-server ./agent-brain-cli"


def check_python(patient: Patient) -> Finding:
    """Is the interpreter one that the packages are made for?"""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < OLDEST_PYTHON:
        oldest = ".".join(map(str, OLDEST_PYTHON))
        return Finding("python", "failed", f"Python {version} is too old", f"Use Python {oldest} or newer.")
    if sys.version_info[:2] > NEWEST_PYTHON:
        return Finding("python", "warning", f"Python {version} is newer than what is tested", "Use it if it works.")
    return Finding("python", "ok", f"Python {version} at {sys.executable}")


def check_packages(patient: Patient) -> Finding:
    """Are all packages there, and can those with native code be loaded?"""
    found, error = patient.tried("packages")
    if error:
        return Finding("packages", "failed", error, REINSTALL)
    if found["missing"]:
        return Finding("packages", "failed", f"missing: {', '.join(found['missing'])}", REINSTALL)
    if found["broken"]:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in found["broken"].items())
        return Finding("packages", "failed", f"can't be loaded: {reasons}", REINSTALL)
    return Finding("packages", "ok", "all are installed and load")


def check_model(patient: Patient) -> Finding:
    """Does the embedding model make the vectors that it should?"""
    found, error = patient.tried("model")
    if error:
        step = f"{REINSTALL}, or name another model: agent-brain config shows where embedding_model is set"
        return Finding("model", "failed", f"{patient.config.embedding_model}: {error}", step)
    return Finding("model", "ok", f"{found['name']} embeds, {found['dimension']} numbers a vector")


def check_git(patient: Patient) -> Finding:
    """Check that git can be run; without it `.gitignore` files are read by other means."""
    try:
        version = git.read_version()
    except git.GitMissingError as error:
        return Finding("git", "warning", str(error), "Install git; the walk is slower without it.")
    return Finding("git", "ok", f"git version {version}")


def check_disk(patient: Patient) -> Finding:
    """Is there room for the index?"""
    place = next(path for path in (patient.place, *patient.place.parents) if path.exists())
    free = shutil.disk_usage(place).free
    message = f"{free / 1e9:,.1f} GB free at {place}"
    if free < LEAST_FREE_BYTES:
        return Finding("disk", "failed", message, "Make room, or name a place on another disk with --state-dir.")
    if free < SCARCE_FREE_BYTES:
        return Finding("disk", "warning", message, "Make room before a large project is indexed.")
    return Finding("disk", "ok", message)


def check_watching(patient: Patient) -> Finding:
    """Check that every directory of the project can be watched."""
    found, error = patient.tried("watching")
    if error:
        return Finding("watching", "failed" if patient.config.watch else "warning", error, RAISE_STEP)
    if found["unwatched"]:
        message = f"{found['unwatched']:,} directories cannot be watched, such as {found['example']}"
        step = f"Changes in them are noticed every few seconds. If a limit is reached: {RAISE_STEP}"
        return Finding("watching", "warning", message, step)
    return Finding("watching", "ok", f"{found['directories']:,} directories can be watched")
