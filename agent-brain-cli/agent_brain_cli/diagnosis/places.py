"""Checks of files and directories: settings, state directory, locks, what git sees of them."""

import fcntl
import os
import shlex
import stat
import tempfile
from pathlib import Path

from agent_brain_cli.diagnosis.finding import Finding, Patient
from agent_brain_server.config.daemon import DaemonSettings
from agent_brain_server.config.settings import load_settings
from agent_brain_server.errors import ConfigError, UnsafePathError
from agent_brain_server.storage_paths import (
    CONFIG_FILE,
    HOME_LINKS,
    IGNORE_FILE,
    LOG_DIR,
    PROJECTS_DIR,
    brain_home,
    runtime_path,
)
from agent_brain_server.support import git
from agent_brain_server.support.state_files import PRIVATE_DIR_MODE, read_file, require_safe_tree

MAX_RULES_BYTES = 100_000  # ours has two lines
FOR_OTHERS = 0o077  # what a mode must not hold: rights of the group and of everybody

NOT_MADE_YET = "{} does not exist yet; the first start makes it"


def check_settings(patient: Patient) -> Finding:
    """Can the settings be read, with nothing in them that is not allowed?"""
    try:
        ignored = load_settings(patient.target.state_dir).ignored
        DaemonSettings.load()
    except ConfigError as error:
        return Finding("settings", "failed", error.message, error.hint)
    if ignored:
        return Finding("settings", "warning", ignored.describe(), ignored.hint)
    return Finding("settings", "ok", "all are valid; see them with: agent-brain config")


def check_state_dir(patient: Patient) -> Finding:
    """Is the state directory this user's own, writable, and closed to others?"""
    place = patient.place
    if not place.exists():
        parent = next(path for path in place.parents if path.exists())
        if not os.access(parent, os.W_OK | os.X_OK):
            step = "Make it writable, or name another place with --state-dir."
            return Finding("state directory", "failed", f"{place} can't be made: {parent} is not writable", step)
        return Finding("state directory", "ok", NOT_MADE_YET.format(place))
    facts = place.stat()
    if not stat.S_ISDIR(facts.st_mode):
        return Finding("state directory", "failed", f"{place} is not a directory", "Move the file that is in the way.")
    if facts.st_uid != os.geteuid():
        step = "Work as that user, or name another place with --state-dir."
        return Finding("state directory", "failed", f"{place} belongs to user {facts.st_uid}", step)
    if not os.access(place, os.R_OK | os.W_OK | os.X_OK):
        return Finding("state directory", "failed", f"{place} is not writable", f"chmod 700 {shlex.quote(str(place))}")
    if facts.st_mode & FOR_OTHERS:
        mode = stat.S_IMODE(facts.st_mode)
        step = f"chmod {PRIVATE_DIR_MODE:o} {shlex.quote(str(place))}"
        return Finding("state directory", "failed", f"{place} is open to other users (mode {mode:o})", step)
    try:
        require_safe_tree(place, skip=(PROJECTS_DIR,), links_allowed=HOME_LINKS if place == brain_home() else ())
    except UnsafePathError as error:
        return Finding("state directory", "failed", error.message, error.hint)
    return Finding("state directory", "ok", f"{place} is writable and closed to others")


def check_modes(patient: Patient) -> Finding:
    """Are the files in the state directory closed to others? Settings and `.gitignore` are meant to be shared."""
    open_files = [path for path in list_private_files(patient) if path.lstat().st_mode & FOR_OTHERS]
    if open_files:
        step = f"chmod -R go-rwx {shlex.quote(str(patient.place))}"
        more = f" and {len(open_files) - 1} more" if len(open_files) > 1 else ""
        return Finding("file modes", "warning", f"other users have rights on {open_files[0]}{more}", step)
    return Finding("file modes", "ok", "nothing that the server wrote is open to others")


def list_private_files(patient: Patient) -> list[Path]:
    """Return what lies in the directories of the server, one level deep."""
    found: list[Path] = []
    for directory in (patient.place, patient.place / LOG_DIR, patient.data):
        if directory.is_dir() and os.access(directory, os.R_OK | os.X_OK):
            found += [path for path in sorted(directory.iterdir()) if not path.is_symlink()]
    return [path for path in found if path.name not in (CONFIG_FILE, IGNORE_FILE)]


def check_locks(patient: Patient) -> Finding:
    """Do two holders of a lock exclude each other on this file system? A file of its own is tried, and removed."""
    if not os.access(patient.place, os.W_OK | os.X_OK):
        return Finding("locks", "ok", NOT_MADE_YET.format(patient.place))
    with tempfile.NamedTemporaryFile(dir=patient.place, prefix=".doctor.") as held, open(held.name, "rb") as second:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            step = "Name a directory on a local disk with --state-dir."
            return Finding("locks", "failed", f"{patient.place} does not support locks: {error.strerror}", step)
        try:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return Finding("locks", "ok", f"a lock in {patient.place} excludes a second one")
    step = "Name a directory on a local disk with --state-dir."
    return Finding("locks", "failed", f"a lock in {patient.place} does not exclude a second one", step)


def check_gitignore(patient: Patient) -> Finding:
    """Check that `runtime.json`, which holds a token, is kept out of version control."""
    place = patient.target.state_dir
    if not place.exists():
        return Finding("version control", "ok", NOT_MADE_YET.format(place))
    secret = runtime_path(place)
    work_tree = git.find_own_work_tree(place)
    ignored = None if work_tree is None else git.is_ignored(work_tree, secret)
    rules = place / IGNORE_FILE
    if ignored is False:
        untrack = f"git rm --cached {shlex.quote(str(secret))}"
        step = f"{untrack} if it is tracked; remove {rules}: the next start writes it again."
        return Finding("version control", "failed", f"git does not ignore {secret}, which holds a token", step)
    if ignored is None and not ignores_all(rules):
        message = f"{rules} is missing or changed"
        return Finding("version control", "warning", message, f"Remove {rules}: the next start writes it again.")
    return Finding("version control", "ok", f"all of {place} but {CONFIG_FILE} is ignored")


def ignores_all(rules: Path) -> bool:
    """Whether a `.gitignore` leaves out everything but what it names."""
    try:
        return b"*" in read_file(rules, MAX_RULES_BYTES).split()
    except (FileNotFoundError, UnsafePathError):
        return False


def check_home(patient: Patient) -> Finding:
    """Is the user's own directory closed to others?"""
    home = brain_home()
    if not home.exists():
        return Finding("home", "ok", NOT_MADE_YET.format(home))
    if home.stat().st_mode & FOR_OTHERS:
        return Finding(
            "home", "failed", f"{home} is open to other users", f"chmod {PRIVATE_DIR_MODE:o} {shlex.quote(str(home))}"
        )
    return Finding("home", "ok", f"{home} is closed to others")
