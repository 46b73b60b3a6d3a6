"""The checks of `agent-brain doctor`.

Each check finds a fault that the user can correct and that no other command reports with its correction: a taken port,
a missing package or a server of another version is reported by the command that meets it. A check changes nothing,
starts no server and loads no native library.
"""

import fcntl
import functools
import os
import shlex
import shutil
import stat
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agent_brain_cli.client import Client
from agent_brain_cli.options import Target
from agent_brain_cli.output import Json
from agent_brain_server.config.settings import DaemonSettings, ProjectConfig, load_settings
from agent_brain_server.errors import AgentBrainError, ConfigError, UnsafePathError
from agent_brain_server.locking import is_stale, read_pid
from agent_brain_server.project_root import generate_project_id
from agent_brain_server.runtime import RuntimeState, read_runtime, validate_runtime
from agent_brain_server.storage_paths import (
    CONFIG_FILE,
    HOME_LINKS,
    IGNORE_FILE,
    PROJECTS_DIR,
    brain_home,
    runtime_path,
)
from agent_brain_server.support import git
from agent_brain_server.support.state_files import PRIVATE_DIR_MODE, read_file, require_safe_tree
from agent_brain_server.support.text import pluralize

Status = Literal["ok", "warning", "failed"]

MIN_FREE_BYTES = 100_000_000  # an index of a few thousand files, and room for its databases to work in
LOW_FREE_BYTES = 1_000_000_000  # an index of a large project

MAX_RULES_BYTES = 100_000  # ours has two lines
OTHERS = 0o077  # permission bits of the group and of all other users

ANSWER_TIMEOUT_S = 2.0  # a server answers within 60 ms even while it indexes
STATUS_TIMEOUT_S = 5.0

NOT_CREATED = "{} does not exist yet; the first start creates it"
USE_LOCAL_DISK = "Choose a directory on a local disk with --state-dir."
RAISE_LIMITS = "Raise the limits: sudo sysctl fs.inotify.max_user_watches=524288 fs.inotify.max_user_instances=1024"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check.

    Attributes:
        status: `warning` is worth knowing; `failed` keeps Agent Brain from working as promised.
        message: What was found.
        next_step: What to do, preferably a command; `None` if there is nothing to do.
    """

    status: Status
    message: str
    next_step: str | None = None


@dataclass(frozen=True)
class CheckContext:
    """The project and the server to check.

    Attributes:
        target: The project.
        config: Its settings, or the defaults if its settings are invalid.
        is_shared: The project uses the shared daemon.
        state_dir: The state directory of the server that serves the project: its own server or the daemon.
    """

    target: Target
    config: ProjectConfig
    is_shared: bool
    state_dir: Path

    @property
    def server_name(self) -> str:
        """The server in a message."""
        return "the shared daemon" if self.is_shared else "the project's server"

    @property
    def mode_option(self) -> str:
        """The option, with a leading space, that makes a command concern this server."""
        return " --mode shared" if self.is_shared else ""

    @functools.cached_property
    def server(self) -> RuntimeState | None:
        """The server that serves the project; `None` if none answers.

        Raises:
            UnknownSchemaError: The runtime file is of an unknown version.
        """
        state = None if is_stale(self.state_dir) else read_runtime(self.state_dir)
        if state is None or not validate_runtime(state, state_dir=self.state_dir, timeout=ANSWER_TIMEOUT_S):
            return None
        return state.model_copy(update={"project_id": generate_project_id(self.target.project_root)})

    @functools.cached_property
    def index_status(self) -> Json | None:
        """The server's `GET /health/status`; `None` if no server answers.

        Raises:
            AgentBrainError: The server cannot report the status.
        """
        return Client(self.server, timeout_s=STATUS_TIMEOUT_S).get("/health/status") if self.server else None


def check_git(context: CheckContext) -> CheckResult:
    """Check that git runs; without it, `.gitignore` files are read by slower means."""
    try:
        return CheckResult("ok", f"git version {git.read_version()}")
    except git.GitMissingError as error:
        return CheckResult("warning", str(error), "Install git; without it, files are listed more slowly.")


def check_disk(context: CheckContext) -> CheckResult:
    """Check that the disk has room for an index."""
    existing = _find_existing(context.state_dir)
    free = shutil.disk_usage(existing).free
    message = f"{free / 1e9:,.1f} GB free at {existing}"
    if free < MIN_FREE_BYTES:
        return CheckResult("failed", message, "Free some space, or choose another disk with --state-dir.")
    if free < LOW_FREE_BYTES:
        return CheckResult("warning", message, "Free some space before you index a large project.")
    return CheckResult("ok", message)


def check_settings(context: CheckContext) -> CheckResult:
    """Check that all settings files are valid and that nothing in the project's own file is ignored."""
    try:
        ignored = load_settings(context.target.state_dir).ignored
        DaemonSettings.load()
    except ConfigError as error:
        return CheckResult("failed", error.message, error.hint)
    if ignored:
        return CheckResult("warning", ignored.describe(), ignored.hint)
    return CheckResult("ok", "all settings are valid; list them with: agent-brain config")


def check_state_dir(context: CheckContext) -> CheckResult:
    """Check that the state directory and the user's home of Agent Brain are writable, private and free of links."""
    directories = list(dict.fromkeys((context.state_dir, brain_home())))
    results = [_check_directory(directory) for directory in directories]
    return next((result for result in results if result.status != "ok"), results[0])


def _check_directory(path: Path) -> CheckResult:
    if not path.exists():
        parent = _find_existing(path)
        if not os.access(parent, os.W_OK | os.X_OK):
            step = "Make it writable, or choose another directory with --state-dir."
            return CheckResult("failed", f"{path} cannot be created: {parent} is not writable", step)
        return CheckResult("ok", NOT_CREATED.format(path))
    facts = path.stat()
    quoted = shlex.quote(str(path))
    if not stat.S_ISDIR(facts.st_mode):
        return CheckResult("failed", f"{path} is not a directory", "Move the file out of the way.")
    if facts.st_uid != os.geteuid():
        step = "Run as that user, or choose another directory with --state-dir."
        return CheckResult("failed", f"{path} belongs to user {facts.st_uid}", step)
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        return CheckResult("failed", f"{path} is not writable", f"chmod {PRIVATE_DIR_MODE:o} {quoted}")
    if facts.st_mode & OTHERS:
        message = f"{path} is open to other users (mode {stat.S_IMODE(facts.st_mode):o})"
        return CheckResult("failed", message, f"chmod {PRIVATE_DIR_MODE:o} {quoted}")
    try:
        require_safe_tree(path, skip=(PROJECTS_DIR,), links_allowed=HOME_LINKS if path == brain_home() else ())
    except UnsafePathError as error:
        return CheckResult("failed", error.message, error.hint)
    return CheckResult("ok", f"{path} is writable and private")


def check_locks(context: CheckContext) -> CheckResult:
    """Check that the file system keeps a second process out of a lock, with a temporary file of this check."""
    if not os.access(context.state_dir, os.W_OK | os.X_OK):
        return CheckResult("ok", NOT_CREATED.format(context.state_dir))
    with tempfile.NamedTemporaryFile(dir=context.state_dir, prefix=".doctor.") as held, open(held.name, "rb") as second:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            message = f"{context.state_dir} does not support locks: {error.strerror}"
            return CheckResult("failed", message, USE_LOCAL_DISK)
        try:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return CheckResult("ok", f"locks work in {context.state_dir}")
    return CheckResult("failed", f"two processes can hold the same lock in {context.state_dir}", USE_LOCAL_DISK)


def check_gitignore(context: CheckContext) -> CheckResult:
    """Check that `runtime.json`, which contains a token, is kept out of version control."""
    state_dir = context.target.state_dir
    if not state_dir.exists():
        return CheckResult("ok", NOT_CREATED.format(state_dir))
    runtime = runtime_path(state_dir)
    rules = state_dir / IGNORE_FILE
    work_tree = git.find_own_work_tree(state_dir)
    is_ignored = None if work_tree is None else git.is_ignored(work_tree, runtime)
    if is_ignored is False:
        untrack = f"git rm --cached {shlex.quote(str(runtime))}"
        step = f"If it is tracked, run: {untrack}. Then remove {rules}: the next start creates it again."
        return CheckResult("failed", f"git does not ignore {runtime}, which contains a token", step)
    if is_ignored is None and not _ignores_everything(rules):
        return CheckResult("warning", f"{rules} is missing or changed", "Remove it: the next start creates it again.")
    return CheckResult("ok", f"everything in {state_dir} except {CONFIG_FILE} is ignored")


def _ignores_everything(rules: Path) -> bool:
    try:
        return b"*" in read_file(rules, MAX_RULES_BYTES).split()
    except (FileNotFoundError, UnsafePathError):
        return False


def check_server(context: CheckContext) -> CheckResult:
    """Check that the server answers if one is running, and that it serves this project."""
    if is_stale(context.state_dir):
        if context.is_shared:
            step = f"agent-brain start{context.mode_option}"
            return CheckResult("failed", f"{context.server_name}, which this project uses, is not running", step)
        return CheckResult("ok", f"{context.server_name} is not running; the first query starts it")
    state = read_runtime(context.state_dir)
    stop = f"agent-brain stop{context.mode_option} --force"
    if state is None:
        message = f"process {read_pid(context.state_dir)} holds the lock, but there is no runtime.json"
        return CheckResult("failed", message, f"Wait if it is starting, or end it with: {stop}")
    if context.server is None:
        message = f"{context.server_name} (pid {state.pid}) does not answer at {state.base_url}"
        return CheckResult("failed", message, f"See agent-brain logs{context.mode_option}, or end it with: {stop}")
    if not context.is_shared and state.project_root != str(context.target.project_root):
        message = f"the state directory is in use by the server of {state.project_root}"
        return CheckResult("failed", message, "Choose another directory with --state-dir.")
    return CheckResult("ok", f"{context.server_name} answers at {state.base_url} (pid {state.pid})")


def check_watching(context: CheckContext) -> CheckResult:
    """Check that the running server can watch every directory of the project."""
    if not context.config.watch:
        message = 'off, by the setting "watch"; changes are indexed by: agent-brain index'
        return CheckResult("ok", message)
    if context.index_status is None:
        return CheckResult("ok", "not checked: no server is running")
    watch = context.index_status["watch"]
    if watch["unwatched_directories"]:
        path, reason = next(iter(watch["unwatched"].items()))
        count = watch["unwatched_directories"]
        message = f"{count:,} of the directories cannot be watched, such as {path}: {reason}"
        step = f"Changes there are found within seconds. If a limit was reached: {RAISE_LIMITS}"
        return CheckResult("warning", message, step)
    return CheckResult("ok", f"{watch['directories']:,} directories are watched")


def check_index(context: CheckContext) -> CheckResult:
    """Check that the running server can use the index; the server itself repairs the stores when it opens them."""
    index = context.index_status
    if index is None:
        return CheckResult("ok", "not checked: no server is running")
    if index["vector_fault"]:
        return CheckResult("warning", index["vector_fault"], "Correct chroma_url, or start that Chroma server.")
    job = index["last_job"]
    if job and job["state"] == "failed" and not index["indexing_in_progress"]:
        return CheckResult("failed", f"the last job failed: {job['error']}", "agent-brain index")
    counts = f"{pluralize(index['total_documents'], 'file')}, {pluralize(index['total_chunks'], 'chunk')}"
    return CheckResult("ok", f"{counts}, {pluralize(index['total_vectors'], 'vector')}")


def _find_existing(path: Path) -> Path:
    """Return a path, or its nearest parent that exists."""
    return next(each for each in (path, *path.parents) if each.exists())


Check = Callable[[CheckContext], CheckResult]

CHECKS: dict[str, Check] = {
    "git": check_git,
    "disk": check_disk,
    "settings": check_settings,
    "state directory": check_state_dir,
    "locks": check_locks,
    "version control": check_gitignore,
    "server": check_server,
    "watching": check_watching,
    "index": check_index,
}
"""The checks by name, in the order in which they are reported."""


def run_check(name: str, context: CheckContext) -> CheckResult:
    """Run one check; a check that raises has failed."""
    try:
        return CHECKS[name](context)
    except AgentBrainError as error:
        return CheckResult("failed", error.message, error.hint)
    except (OSError, ValueError, LookupError) as error:
        return CheckResult("failed", f"the check failed: {error}", "Correct this, then run agent-brain doctor again.")
