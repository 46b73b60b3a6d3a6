"""The paths of all files and directories. Names are defined here and nowhere else.

Functions that end in `_path`, and `resolve_state_dir`, only compute a path. `prepare_state_dir` and
`resolve_storage_paths` create directories, and refuse links and files of other users.
"""

import os
import re
from pathlib import Path
from typing import TypedDict

from agent_brain_server.errors import InvalidRequestError, StateDirError, UnsafePathError
from agent_brain_server.support.state_files import (
    PRIVATE_DIR_MODE,
    create_file,
    is_own_path,
    make_private_dir,
    open_directory,
    require_safe_tree,
)

PRODUCT_DIR = "Agent Brain"
MARKER_DIR = ".claude"  # coding agents keep their files for a project here
RUNTIME_FILE = "runtime.json"
CONFIG_FILE = "config.json"
LOCK_FILE = "Agent Brain.lock"
PID_FILE = "Agent Brain.pid"
REGISTRY_FILE = "registry.json"
REGISTRY_LOCK_FILE = "registry.lock"
SHARED_CONFIG_FILE = "shared_config.json"
TRUSTED_FILE = "trusted.json"
TRUSTED_LOCK_FILE = "trusted.lock"
HOME_LINKS = (CONFIG_FILE, SHARED_CONFIG_FILE)
"""Settings in the home of Agent Brain, which may be links to files that the user keeps elsewhere."""

PROJECTS_DIR = "projects"
PROJECT_FILE = "project.json"
OWNER_FILE = "owner.json"
CRASH_FILE = "crash.json"
IGNORE_FILE = ".gitignore"
SERVER_LOG_FILE = "server.log"
PREVIOUS_LOG_FILE = "server.previous.log"
STDERR_FILE = "stderr.log"
DATA_DIR = "data"
LOG_DIR = "logs"
DOCUMENTS_DIR = "llamaindex"
VECTORS_DIR = "chroma_db"
KEYWORDS_DIR = "bm25_index"
DATA_DIRS = (DOCUMENTS_DIR, VECTORS_DIR, KEYWORDS_DIR)
ORIGIN_FILE = "origin.json"  # names the installation that created the stores
ORIGIN_KEY_FILE = "origin.key"
ORIGIN_KEY_LOCK_FILE = "origin.lock"
ROOTS_FILE = "scopes.json"  # beside the stores: what was indexed, for a document store that is lost

STATE_DIR_VARIABLE = "DOC_SERVE_STATE_DIR"
HOME_VARIABLE = "AGENT_BRAIN_HOME"
SINGLE_PROJECT_HINT = (
    f"It serves one project: unset {STATE_DIR_VARIABLE} if that names it, or give another --state-dir."
)

PROJECT_ID = re.compile(r"p_[0-9a-f]{8}")
"""Format of a project id. It names a directory, so nothing else is accepted."""

IGNORE_RULES = f"# only the settings are shared\n*\n!{CONFIG_FILE}\n"


class StoragePaths(TypedDict):
    """The directories of one project; every path is absolute and exists."""

    state_dir: Path
    data: Path
    llamaindex: Path
    chroma_db: Path
    bm25_index: Path
    logs: Path


def brain_home() -> Path:
    """Return the home of Agent Brain, `AGENT_BRAIN_HOME` or `~/.Agent Brain`: registry, global settings and daemon.

    Raises:
        StateDirError: This user has no home directory.
    """
    named = os.environ.get(HOME_VARIABLE)
    try:
        return _absolute(Path(named)) if named else Path.home() / f".{PRODUCT_DIR}"
    except RuntimeError as exc:  # the user of a container may have no entry in the user database
        raise StateDirError("This user has no home directory.", hint=f"Set HOME or {HOME_VARIABLE}.") from exc


def make_child_environment() -> dict[str, str]:
    """Return the environment for a child process in another directory, with an absolute `AGENT_BRAIN_HOME`."""
    home = os.environ.get(HOME_VARIABLE)
    return {**os.environ, HOME_VARIABLE: str(brain_home())} if home else dict(os.environ)


def registry_path() -> Path:
    """Return the file that lists the projects with a state directory."""
    return brain_home() / REGISTRY_FILE


def registry_lock_path() -> Path:
    """Return the lock file for writers of the registry."""
    return brain_home() / REGISTRY_LOCK_FILE


def origin_key_path() -> Path:
    """Return the file with the key that marks the indexes of this installation."""
    return brain_home() / ORIGIN_KEY_FILE


def origin_key_lock_path() -> Path:
    """Return the lock file for processes that create the key."""
    return brain_home() / ORIGIN_KEY_LOCK_FILE


def origin_path(data: Path) -> Path:
    """Return the file that marks a data directory as created by this installation."""
    return data / ORIGIN_FILE


def global_config_path() -> Path:
    """Return the settings file for all projects of this user, with links resolved."""
    return (brain_home() / CONFIG_FILE).resolve()


def shared_config_path() -> Path:
    """Return the settings file of the shared daemon, with links resolved."""
    return (brain_home() / SHARED_CONFIG_FILE).resolve()


def trusted_path() -> Path:
    """Return the file that lists the settings files of projects that the user trusts."""
    return brain_home() / TRUSTED_FILE


def trusted_lock_path() -> Path:
    """Return the lock file for writers of the list of trusted files."""
    return brain_home() / TRUSTED_LOCK_FILE


def projects_dir() -> Path:
    """Return the directory of the shared daemon's projects."""
    return brain_home() / PROJECTS_DIR


def require_project_id(project_id: str) -> None:
    """Refuse a text that is not a project id, such as a path.

    Raises:
        InvalidRequestError: It is not a project id.
    """
    if not PROJECT_ID.fullmatch(project_id):
        raise InvalidRequestError(
            f"project_id: {ascii(project_id[:40])} is not p_ and 8 hex digits.",
            code="invalid_project_id",
            hint="GET /projects lists the projects with their ids.",
        )


def shared_project_home(project_id: str) -> Path:
    """Return the daemon's directory of a project; nothing is created.

    Raises:
        InvalidRequestError: The id is not a project id.
    """
    require_project_id(project_id)
    return projects_dir() / project_id


def shared_project_file(project_id: str) -> Path:
    """Return the file that registers a project with the daemon."""
    return shared_project_home(project_id) / PROJECT_FILE


def resolve_shared_project_dir(project_id: str) -> Path:
    """Create the directory of a project's indexes in the shared daemon, and return it.

    Raises:
        InvalidRequestError: The id is not a project id.
        StateDirError: The directory cannot be created or written.
    """
    directory = shared_project_home(project_id) / DATA_DIR
    _make_private_dir(directory)
    return directory


def runtime_path(state_dir: Path) -> Path:
    """Return the file with the address of the running server."""
    return state_dir / RUNTIME_FILE


def owner_path(state_dir: Path) -> Path:
    """Return the file that records which project a state directory belongs to."""
    return state_dir / OWNER_FILE


def crash_path(state_dir: Path) -> Path:
    """Return the file that describes a server that crashed, until the next server has logged the crash."""
    return state_dir / CRASH_FILE


def config_path(state_dir: Path) -> Path:
    """Return the project's settings file."""
    return state_dir / CONFIG_FILE


def lock_path(state_dir: Path) -> Path:
    """Return the file that the server locks while it runs."""
    return state_dir / LOCK_FILE


def pid_path(state_dir: Path) -> Path:
    """Return the file with the pid of the process that holds the lock."""
    return state_dir / PID_FILE


def stderr_log_path(state_dir: Path) -> Path:
    """Return the file for stderr of a detached server, such as the report of a crash in native code."""
    return state_dir / LOG_DIR / STDERR_FILE


def resolve_state_dir(project_root: Path, state_dir: Path | None = None) -> Path:
    """Return the state directory of a project; nothing is created.

    Args:
        project_root: Canonical root of the project.
        state_dir: A directory that a flag names. It overrides `DOC_SERVE_STATE_DIR`, which overrides the default.

    Returns:
        An absolute path with symlinks resolved.

    Raises:
        StateDirError: The default directory is a symlink that leads out of the project.
    """
    named = state_dir or os.environ.get(STATE_DIR_VARIABLE)
    return _absolute(Path(named)) if named else default_state_dir(project_root)


def default_state_dir(project_root: Path) -> Path:
    """Return the default state directory of a project; nothing is created.

    `.claude` may be a link inside the project. The state directory itself may not: the link would decide which
    directory changes its mode and gets files.

    Raises:
        StateDirError: It is outside the project.
        UnsafePathError: It is a symbolic link.
    """
    root = _absolute(project_root)
    marker = _absolute(root / MARKER_DIR)
    path = marker / PRODUCT_DIR
    if not marker.is_relative_to(root) or not _absolute(path).is_relative_to(root):
        raise StateDirError(
            f"The state directory of {root} is a symlink that leaves the project, to {_absolute(path)}.",
            hint=f"To use that directory, name it with --state-dir or {STATE_DIR_VARIABLE}.",
        )
    if path.is_symlink():
        raise UnsafePathError(
            f"The state directory {path} is a symbolic link.",
            hint=f"Remove the link, or name the directory with --state-dir or {STATE_DIR_VARIABLE}.",
        )
    return path


def prepare_state_dir(state_dir: Path) -> None:
    """Create the state directory, private to this user and ignored by version control, and check its files.

    Raises:
        UnsafePathError: The directory, its `.claude` or a file in it is a link, not a regular file, or belongs to
            another user.
        StateDirError: It cannot be created or written; the message says which and why.
    """
    _require_absolute(state_dir)
    _require_own_marker(state_dir.parent)
    _make_private_dir(state_dir)
    try:
        with open_directory(state_dir) as descriptor:
            # version control may have created it, with config.json in it, open to all users
            os.fchmod(descriptor, PRIVATE_DIR_MODE)
        # in the home, each project's tree is checked when the project is opened, and the settings may be links
        links_allowed = HOME_LINKS if _is_brain_home(state_dir) else ()
        require_safe_tree(state_dir, skip=(PROJECTS_DIR,), links_allowed=links_allowed)
        create_file(state_dir / IGNORE_FILE, IGNORE_RULES.encode())
    except OSError as exc:
        raise StateDirError(f"The state directory {state_dir} cannot be written: {exc.strerror}.") from exc


def resolve_storage_paths(state_dir: Path, *, data_dir: str = DATA_DIR, log_dir: str = LOG_DIR) -> StoragePaths:
    """Create the directories of a project and return them.

    Args:
        state_dir: Absolute.
        data_dir: Location of the indexes; relative to `state_dir`, or absolute.
        log_dir: Location of the logs; relative to `state_dir`, or absolute.

    Raises:
        UnsafePathError: A file in them is a link, not a regular file, or belongs to another user.
        StateDirError: A directory cannot be created or written; the message says which and why.
    """
    prepare_state_dir(state_dir)
    data = locate_below(state_dir, data_dir)
    paths = StoragePaths(
        state_dir=state_dir,
        data=data,
        llamaindex=data / DOCUMENTS_DIR,
        chroma_db=data / VECTORS_DIR,
        bm25_index=data / KEYWORDS_DIR,
        logs=resolve_log_dir(state_dir, log_dir),
    )
    stores = (paths["llamaindex"], paths["chroma_db"], paths["bm25_index"])
    for directory in (data, *stores):
        _make_private_dir(directory)
    for store in stores:  # only the stores: a data directory that the user names may contain other files
        try:
            require_safe_tree(store)
        except OSError as exc:
            raise StateDirError(f"The directory {store} cannot be read: {exc.strerror}.") from exc
    return paths


def resolve_log_dir(state_dir: Path, log_dir: str = LOG_DIR) -> Path:
    """Create the directory of a server's logs and return it.

    Args:
        state_dir: Absolute; it exists.
        log_dir: Relative to `state_dir`, or absolute.

    Raises:
        StateDirError: The directory cannot be created or written.
    """
    directory = locate_below(state_dir, log_dir)
    _make_private_dir(directory)
    return directory


def locate_below(state_dir: Path, directory: str) -> Path:
    """Return the location of a directory that the settings name; nothing is created.

    Args:
        state_dir: Absolute, with symlinks resolved.
        directory: Relative to `state_dir`, or absolute. Links are followed only outside the state directory, for
            directories that the user names.

    Raises:
        UnsafePathError: The path inside the state directory contains a symbolic link.
    """
    path = Path(os.path.normpath(state_dir / Path(directory).expanduser()))
    if not path.is_relative_to(state_dir):
        return path.resolve()
    for step in (path, *path.parents):
        if step == state_dir:
            break
        if step.is_symlink():
            raise UnsafePathError(
                f"{step} is a symbolic link, which a state directory may not contain.",
                hint="Remove the link, or name the directory in the settings data_dir or log_dir.",
            )
    return path


def prepare_brain_home() -> Path:
    """Create the home of Agent Brain and return it.

    Raises:
        StateDirError: It cannot be created or written.
    """
    home = brain_home()
    _make_private_dir(home)
    return home


def _absolute(path: Path) -> Path:
    return path.expanduser().resolve()


def _require_absolute(path: Path) -> None:
    if not path.is_absolute():
        raise StateDirError(f"The state directory {path} is not an absolute path.")


def _require_own_marker(parent: Path) -> None:
    """Refuse a `.claude` of another user, who could replace the state directory in it at any time.

    Raises:
        UnsafePathError: It belongs to another user.
    """
    if parent.name == MARKER_DIR and os.path.lexists(parent) and not is_own_path(parent):
        raise UnsafePathError(
            f"{parent} belongs to another user (uid {parent.lstat().st_uid}).",
            hint="Run the command as that user, without sudo, or name another directory with --state-dir.",
        )


def _is_brain_home(directory: Path) -> bool:
    try:
        return directory == brain_home()
    except StateDirError:  # this user has no home
        return False


def _make_private_dir(directory: Path) -> None:
    try:
        make_private_dir(directory)
    except (FileExistsError, NotADirectoryError) as exc:
        raise StateDirError(
            f"{directory} is not a directory.", hint="Move that file, or name another directory with --state-dir."
        ) from exc
    except OSError as exc:
        raise StateDirError(f"The directory {directory} cannot be created: {exc.strerror}.") from exc
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        raise StateDirError(f"The directory {directory} is not writable.")
